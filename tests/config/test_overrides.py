"""Numbers choose options of a group where they name one, and are values everywhere else."""

from dataclasses import asdict

import composed
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_sweep.config.overrides import NUMBERS, as_typed, is_sweep, rewrite, words
from fmnist_sweep.config.schema import flat
from fmnist_sweep.config.validation import parse
from fmnist_sweep.errors import ConfigError

OPTIONS = {
    "batch_size": {100: "100", 500: "500", 1000: "1000"},
    "epochs": {30: "30", 100: "100"},
    "dropout": {0.2: "0.2", 0.05: "0.05"},
}


def rewritten(line):
    (result,) = rewrite([line], composed.loader())
    return result


def read(line):
    """The key of an override and its values."""
    (override,) = OverridesParser.create(composed.loader()).parse_overrides([line])
    return override.key_or_group, words(override)


# What a number means


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("batch_size=100", [100]),
        ("batch_size=100,500,1000", [100, 500, 1000]),
        ("batch_size=100,64", [100, 64]),
        ("batch_size=+64", [64]),
        ("batch_size='100'", [100]),
        ('batch_size="100",500', [100, 500]),
        ("batch_size=choice(500,'64')", [500, 64]),
        ("batch_size=range(1,4)", [1, 2, 3]),
        ("batch_size=range(500,1001,500)", [500, 1000]),
        ("batch_size=range(start=100,stop=301,step=100)", [100, 200, 300]),
        ("batch_size=glob(*)", [100, 1000, 500]),
        ("batch_size=glob(1*)", [100, 1000]),
        ("batch_size=glob(*,exclude=*000)", [100, 500]),
        ("batch_size=sort(500,64,100)", [64, 100, 500]),
        ("batch_size=sort(range(1,4),reverse=true)", [3, 2, 1]),
        ("batch_size=tag(big,choice(500,1000))", [500, 1000]),
        ("batch_size=int('64')", [64]),
        ("batch_size=str(choice(500,64))", [500, 64]),
        ("batch_size=1e2", [100]),
        ("batch_size=1_000", [1000]),
        ("batch_size=100.0,6.4e1", [100, 64]),
        ("training.batch_size=100,64", [100, 64]),
        ("epochs=1e1", [10]),
        ("dropout=0.2,0.05", [0.2, 0.05]),
        ("dropout=0.20", [0.2]),
        ("dropout=5e-2,2E-1", [0.05, 0.2]),
        ("dropout=0", [0.0]),
        ("dropout='0.3',0.2", [0.3, 0.2]),
        ("dropout=range(0,0.5,0.2)", [0.0, 0.2, 0.4]),
    ],
)
def test_a_number_works_in_every_form_that_hydra_has(typed, values):
    group = typed.partition("=")[0].rpartition(".")[2]
    compositions = composed.compose(typed)
    section, key = NUMBERS[group].split(".")
    assert [job[section][key] for job in compositions] == values
    assert {type(flat(asdict(parse(job)[0]))[f"{section}.{key}"]) for job in compositions} == {type(values[0])}


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        ("batch_size=100,500", ["100", "500"]),
        ("batch_size='500'", ["500"]),
        ("batch_size=1e3", ["1000"]),
        ("batch_size=range(100,101)", ["100"]),
        ("dropout=0.20,0.050", ["0.2", "0.05"]),
        ("epochs=100", ["100"]),
        ("optimizer=adam,sgd", ["adam", "sgd"]),
        ('optimizer="adam",sgd', ["adam", "sgd"]),
        ("optimizer=choice(sgd,adam)", ["sgd", "adam"]),
        ("optimizer=glob(sgd*)", ["sgd", "sgd_momentum"]),
        ("optimizer=glob([a*,s*],exclude=*w)", ["adam", "sgd", "sgd_momentum"]),
    ],
)
def test_what_names_options_chooses_them(typed, choices):
    group = typed.partition("=")[0]
    assert [job.hydra.runtime.choices[group] for job in composed.compose(typed)] == choices


@pytest.mark.parametrize("sizes", ["100,500,1000", "range(1,9)"])
def test_a_shuffled_sweep_has_the_same_jobs(sizes):
    found, expected = composed.compose(f"batch_size=shuffle({sizes})"), composed.compose(f"batch_size={sizes}")
    assert sorted(job.training.batch_size for job in found) == [job.training.batch_size for job in expected]


@pytest.mark.parametrize("sweep", ["interval(0,0.5)", "tag(a,interval(0,0.5))"])
def test_an_interval_goes_to_the_value_for_sweepers_that_take_one(sweep):
    assert rewritten(f"dropout={sweep}") == f"model.dropout={sweep}"


def spellings(number):
    """Ways to write a number on the command line."""
    plain = repr(number)
    forms = [plain, f"'{plain}'", f'"{plain}"', f"{number:.17e}", f"'{number:.17e}'"]
    return st.sampled_from([*forms, f"{plain}.0", f"{plain}.00e0"] if isinstance(number, int) else forms)


def lists_of(numbers):
    spelled = numbers.flatmap(lambda number: st.tuples(st.just(number), spellings(number)))
    return st.lists(spelled, min_size=1, max_size=5)


WHOLE = st.one_of(st.sampled_from([30, 100, 500, 1000]), st.integers(1, 60_000))
FRACTIONS = st.one_of(st.sampled_from([0.2, 0.05]), st.floats(0, 1, exclude_max=True))
TYPED = st.one_of(
    st.tuples(st.sampled_from(["batch_size", "epochs"]), lists_of(WHOLE)),
    st.tuples(st.just("dropout"), lists_of(FRACTIONS)),
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(TYPED, st.sampled_from(["{}", "choice({})"]))
def test_rewriting_keeps_the_numbers_and_their_order(typed, form):
    group, spelled = typed
    numbers = [number for number, _ in spelled]
    line = rewritten(f"{group}={form.format(','.join(word for _, word in spelled))}")
    key, values = read(line)
    if set(numbers) <= set(OPTIONS[group]):
        assert key == group
        assert values == [OPTIONS[group][number] for number in numbers]
    else:
        assert key == NUMBERS[group]
        assert list(map(float, values)) == numbers
    assert rewritten(line) == line


# Figures


@pytest.mark.parametrize("values", ["fig1,fig2", "'fig1',fig2", "choice(fig1,fig2)", "glob([*1,*2])", "[fig1,fig2]"])
def test_several_figures_are_one_sweep_over_all_their_grids(values):
    assert rewritten(f"figure={values}") == "figure@hydra.sweeper=[fig1,fig2]"


# Everything else


UNCHANGED = """figure@hydra.sweeper=fig1 seed=0,1,2 seed=range(0,5) model.hidden=[128,64],[32]
    data.dir=/some/folder data.mean=0.2860 device=cpu workers=null hydra.sweep.dir=/some/where hydra/launcher=basic
    ~optimizer.lr +optimizer.momentum=0.9 optimizer=${oc.env:OPTIMIZER}"""


@pytest.mark.parametrize("line", UNCHANGED.split())
def test_what_is_no_number_of_a_group_stays_as_it_is(line):
    assert rewritten(line) == line


def test_an_argument_of_the_optimizer_needs_no_plus():
    (job,) = composed.compose("optimizer=sgd", "optimizer.momentum=0.9")
    assert job.optimizer == {"name": "SGD", "lr": 0.01, "momentum": 0.9}
    (job,) = composed.compose("optimizer=sgd", "optimizer.lr=0.1")
    assert job.optimizer == {"name": "SGD", "lr": 0.1}
    assert [job.optimizer.lr for job in composed.compose("optimizer.lr=0.1,0.01")] == [0.1, 0.01]


def test_the_order_of_the_arguments_stays():
    typed = ["seed=1", "batch_size=64", "optimizer=sgd", "epochs=30"]
    assert rewrite(typed, composed.loader()) == ["seed=1", "training.batch_size=64", "optimizer=sgd", "epochs='30'"]


def test_options_of_the_users_own_folder_count(tmp_path):
    for name, text in {
        "batch_size/250.yaml": "# @package training\nbatch_size: 250\n",
        "batch_size/whole.yaml": "# @package training\nbatch_size: 60000\n",
        "optimizer/mine.yaml": "name: Adagrad\nlr: 0.05\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    jobs = composed.compose("batch_size=250,100,whole", "optimizer=mine", config_dir=tmp_path)
    assert [job.training.batch_size for job in jobs] == [250, 100, 60_000]
    assert [job.hydra.runtime.choices.batch_size for job in jobs] == ["250", "100", "whole"]
    assert {job.optimizer.name for job in jobs} == {"Adagrad"}
    with pytest.raises(ConfigError, match=r"^batch_size=whole,64: the option whole cannot be combined"):
        rewrite(["batch_size=whole,64"], composed.loader(tmp_path))


@pytest.mark.parametrize(
    ("lines", "several"),
    [
        (["seed=1", "epochs=5"], None),
        (["figure=[fig1,fig2]"], None),
        (["model.hidden=[1,2]"], None),
        (["seed=1", "training.epochs=5,6"], "training.epochs=5,6"),
        (["optimizer=glob(*)"], "optimizer=glob(*)"),
    ],
)
def test_several_values_are_told_from_one(lines, several):
    assert is_sweep(lines) == several


# What names nothing is refused in one line that says what there is


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("optmizer=adam", "optmizer=adam: there is no optmizer; .*did you mean optimizer?"),
        ("batchsize=100", "batchsize=100: there is no batchsize; .*did you mean batch_size?"),
        ("optimizr.lr=1", "optimizr.lr=1: there is no optimizr.lr; .*did you mean optimizer.lr?"),
        ("lr=0.1", "lr=0.1: there is no lr; .*did you mean optimizer.lr?"),
        ("model.depth=3", "model.depth=3: there is no model.depth; .*did you mean model.dropout?"),
        ("training.epoch=3", "training.epoch=3: there is no training.epoch; .*did you mean training.epochs?"),
        ("zzz=3", "zzz=3: there is no zzz; --help lists all keys$"),
        ("optimizer=adm", "optimizer=adm: must be one of adam, adamw, rmsprop, sgd, sgd_momentum; did you mean adam?"),
        ("optimizer=Adam", "optimizer=Adam: must be one of .*did you mean adam?"),
        ("optimizer=adam,adm", "optimizer=adm: must be one of .*did you mean adam?"),
        ("optimizer=3", "optimizer=3: must be one of adam, "),
        ("optimizer=null", "optimizer=null: must be one of adam, "),
        ("optimizer=glob(z*)", "optimizer=glob.z..: matches none of the options adam, "),
        ("batch_size=abc", "batch_size=abc: must be one of 100, 1000, 500, or any number"),
        ("batch_size=100,abc,64", "batch_size=abc: must be one of"),
        ("batch_size=", "batch_size=: must be one of"),
        ("batch_size=null", "batch_size=null: must be one of"),
        ("batch_size=[100]", "batch_size=.100.: must be one of"),
        ("figure=fig9", "figure=fig9: must be one of fig1, fig2, fig3, fig4, fig5, grid, paper; did you mean fig"),
        ("figure=fig1,fig9", "figure=fig9: must be one of"),
        ("batch_size", "batch_size: overrides are written key=value, several values key=a,b$"),
        ("=5", "=5: overrides are written key=value, several values key=a,b$"),
        ("", "'': overrides are written key=value, several values key=a,b$"),
        ("seed=1 2 =", "seed=1 2 =: contains a special character; write \"seed='1 2 ='\"$"),
        ("batch_size=100,", "batch_size=100,: a value is missing beside a comma; .*, as in batch_size=a,b$"),
        ("hydra.sweep.dir=~/x", "hydra.sweep.dir=~/x: .*; write hydra.sweep.dir=.HOME/x$"),
        ("seed=1\r", "seed=1\r: holds a carriage return, as lines of a file made on Windows end with; take it out$"),
        ("model.hidden=[8", r"model.hidden=\[8: \[ and \] do not match"),
        ("seed=rnage(5)", r"seed=rnage\(5\): Unknown function 'rnage'; overrides are written"),
        ("seed=choice()", r"seed=choice\(\): empty choice is not legal; overrides are written"),
        (" seed=1", " seed=1: has a space beside the key; write seed=1$"),
        (
            "n_trials=4",
            "n_trials=4: there is no n_trials here; it belongs to a search, so add -m hydra/sweeper=search$",
        ),
        ("budget=1h", "budget=1h: .*; it belongs to until=settled, so add that and paper=NAME$"),
        ("+widths=[3]", r".widths=\[3\]: there is no widths; a group of your own needs --config-dir=FOLDER"),
        ("+seed=3", ".seed=3: seed is there already; write it without .$"),
        ("hydra.launcher=basic", "hydra.launcher=basic: choose an option with a slash; write hydra/launcher=basic$"),
        ("hydra/launcher=null", "hydra/launcher=null: must be one of basic, "),
        ("+batch_size=64", ".batch_size=64: batch_size is there already; write it without .$"),
        ("++optimizer=sgd", "..optimizer=sgd: optimizer is there already; write it without .$"),
    ],
)
def test_what_names_nothing_is_refused(typed, message):
    with pytest.raises(ConfigError, match=f"^{message.replace('?', '[?]')}") as error:
        rewrite([typed], composed.loader())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "typed",
    [
        ["batch_size=200", "batch_size=100"],
        ["training.batch_size=200", "batch_size=100"],
        ["batch_size=100", "training.batch_size=200"],
        ["dropout=0.1", "seed=1", "dropout=0.2"],
    ],
)
def test_a_number_given_twice_is_refused(typed):
    with pytest.raises(ConfigError, match=f"^{typed[-1]}: given twice, see {typed[0]}; give it once$"):
        rewrite(typed, composed.loader())


@pytest.mark.parametrize(
    ("message", "typed", "quoted"),
    [
        ("training.batch_size=10.5: must", "batch_size=10.5", "batch_size=10.5: must"),
        ("batch_size=0: must", "training.batch_size=0", "training.batch_size=0: must"),
        ("++optimizer.lr=0,1: several", "optimizer.lr=0,1", "optimizer.lr=0,1: several"),
        ("++optimizer.lr=0,1: several", "++optimizer.lr=0,1", "++optimizer.lr=0,1: several"),
        ("hydra.sweeper.n_trials=x: must", "n_trials=x", "n_trials=x: must"),
        ("model.dropout=2: must", "seed=3", "model.dropout=2: must"),
    ],
)
def test_a_message_quotes_what_was_typed(message, typed, quoted):
    assert as_typed(message, [typed]) == quoted
