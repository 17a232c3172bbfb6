"""Write the reference of the format of a paper's file from its schema, and the file that a new paper starts from."""

from collections.abc import Iterable, Mapping

from fmnist_sweep.config.keys import keys
from fmnist_sweep.config.overrides import NUMBERS
from fmnist_sweep.config.schedules import ARGUMENTS
from fmnist_sweep.config.schema import CONFIG_FOLDER
from fmnist_sweep.papers.claims import Claim, Expectation, Resolution
from fmnist_sweep.papers.configurations import KEYS
from fmnist_sweep.papers.metrics import METRICS
from fmnist_sweep.papers.paper import Departure, Figure, Finding, Paper
from fmnist_sweep.papers.reductions import KINDS
from fmnist_sweep.papers.yaml_file import Plain, flow

STARTER = """\
# A paper as data. This file works as it is; python -m fmnist_sweep.papers format explains every key.
title: On the learning rate
authors: [A. Author, B. Author]
year: 2026
language: en   # of its quotes
protocol: {data.validation: test, model.hidden: [32], batch_size: 1000, dropout: 0}   # what all its runs share
configurations:   # what it trained, by names of yours
  slow: {optimizer: sgd, optimizer.lr: 0.01, epochs: 2}
  fast: {optimizer: sgd, optimizer.lr: 0.1, epochs: 2}
departs:   # where these runs differ from the paper's; delete it if they do not
  - text: {en: The paper does not state its batch size. These runs take 1000 images.}
figures:
  rates: {number: Figure 1, title: {en: Two learning rates}, rows: [slow, fast], measures: [accuracy]}
claims:
  - id: "{name}-accuracy"   # a claim for each mapping in `each`, which gives {name} and {value}
    section: "4"
    figure: rates
    quote: "{name}: {value}"
    statement: {en: "The {name} model ends at a validation accuracy of {value}."}
    kind: run   # a number that one run gave: judged from 5 seeds on
    of: "{name}"
    metric: val_accuracy
    reduce: last
    expect: {about: "{value}", tolerance: 0.005}
    why: {en: The paper quotes whole percents.}
    each: [{name: slow, value: 0.67}, {name: fast, value: 0.78}]
  - id: fast-beats-slow
    section: "4"
    quote: The higher rate wins.
    statement: {en: The fast model ends at a higher validation accuracy than the slow one.}
    kind: comparison   # tested over seeds, paired by seed
    of: fast
    than: slow
    metric: val_accuracy
    reduce: last
    expect: {above: 0, margin: 0.005}
    why: {en: Only a direction is claimed. Less than half a percent does not count.}
"""

_HEAD = """\
<!-- Written by `python -m fmnist_sweep.papers format`; change the docstrings in fmnist_sweep/papers/ instead. -->

# The format of a paper's file

Look up the keys of a paper's file here; [check a paper](../tutorials/paper.md) teaches how to write one. A paper is one
YAML file: what it trained, its figures, and what it says.

    python -m fmnist_sweep.papers new NAME           # writes conf/paper/NAME.yaml, which works as it is
    python -m fmnist_sweep.papers check NAME --config-dir conf              # checks the file, and counts its claims
    python -m fmnist_sweep -m --config-dir conf paper=NAME dry_run=true     # says what it would train
    python -m fmnist_sweep -m --config-dir conf paper=NAME seed=0,1,2,3,4   # trains what figures and claims need
    python -m fmnist_sweep.report --config-dir conf --paper NAME            # judges the claims

In a clone of this project you can leave out `--config-dir conf`. `new NAME --config-dir FOLDER` writes
`FOLDER/paper/NAME.yaml`. If the file has a mistake, one line names the place, says what is wrong and gives a correct
example. The files in `conf/paper/` are complete examples. Texts "by language" are mappings such
as `{en: ..., es: ...}`; the report can be written in the languages that all texts have.
"""

_EACH = """\
## Tables: `each`

An item of `claims` with a key `each` stands for several claims, one for each mapping in that list. In the rest of the
item, `{name}` is replaced by the value of `name`. Quote a text that begins with a brace. Inside a text, a number stays
as it is written there: 0.90 stays 0.90.

    - id: "{of}-epoch-{epoch}"
      quote: "{of}: {value}"
      of: "{of}"
      reduce: {at: "{epoch}"}
      expect: {about: "{value}", tolerance: 0.005}
      each: [{of: adam, epoch: 1, value: 0.82}, {of: adam, epoch: 30, value: 0.90}]
      ...

## Configurations that share values

YAML can repeat a mapping: `&base` names it, `<<: *base` takes its values, and further values replace them. A file may
give each name once.

    base: &base {optimizer: adam, batch_size: 256, epochs: 20}
    tanh: {<<: *base, model.activation: tanh}

## Other images than the study's

Where a study validates on random images, these runs validate on others. Then half a unit of the last digit is too
narrow a tolerance. For an accuracy `p` over `n` images, take two standard errors, `2 sqrt(p (1 - p) / n)`. For a loss,
take the difference between two splits (`data.split.seed=0,1`). All seeds of a configuration train on the same images,
so their interval does not show what other images would change. Say so under `departs`.

## Some configurations only

`figure=NAME` trains what one figure shows. To train some configurations alone, give them a figure of their own.

## What no file can state

There is no verdict on training time: it depends on the machine and on the runs that train beside it. A run records
neither losses within an epoch nor accuracies of single classes. Say under `departs`, or in a comment, what the file
leaves out.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    metrics = _table(["metric", "meaning"], ([_code(name), meaning] for name, meaning in METRICS.items()))
    reductions = _table(["example", "gives"], ([_code(kind.example), kind.meaning] for kind in KINDS.values()))
    parts = [
        _HEAD,
        _section("The whole file", Paper),
        _configuration_keys(),
        _section("Each item of `departs`", Departure),
        _section("Each of `figures`", Figure),
        _section("Each item of `claims`", Claim),
        _section("Each item of `findings`", Finding),
        _section("`expect`", Expectation),
        _section("`resolution`, and each of `resolutions`", Resolution),
        f"## Metrics\n\nA difference is written {_code('train_accuracy - test_accuracy')}.\n\n{metrics}",
        f"## Reductions\n\n`from` and `to` are epochs, by default the first and the last one.\n\n{reductions}",
        _EACH,
    ]
    return "\n".join(parts)


def _section(title: str, model: type[Plain]) -> str:
    rows = []
    for key, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = _code(flow(value) if isinstance(value, list) else f"{value}") if value else ""
        examples = "<br>".join(_code(flow(example)) for example in field.examples or [])
        meaning = " ".join((field.description or "").split())
        rows.append([_code(key), "**needed**" if field.is_required() else default, meaning, examples])
    about = (model.__doc__ or "").strip().replace("\n    ", "\n")
    return f"## {title}\n\n{about}\n\n{_table(['key', 'default', 'meaning', 'example'], rows)}"


def _configuration_keys() -> str:
    options = sorted(path.stem for path in (CONFIG_FOLDER / "optimizer").glob("*.yaml"))
    said = described()
    short = {name: key for key, name in NUMBERS.items()}  # a key with a short name is listed under that
    names = dict.fromkeys(
        short.get(key, key) for key in [*KEYS, *(key for key in said if key.startswith("optimizer."))]
    )
    return (
        "## Keys of `protocol` and `configurations`\n\n"
        "They are those of the command line, with one value each; a list only where the key takes one. Any argument of "
        "the optimizer's class can be set, such as `optimizer.momentum` or `optimizer.weight_decay`. Options of "
        "`optimizer`: "
        f"{', '.join(options)}.\n\n{keys_table(names, said)}"
    )


def described() -> dict[str, tuple[str, str]]:
    """Return the default and the meaning of each key, from the comments in `conf/`."""
    schedules = [f"{name} ({', '.join(takes)})" if takes else name for name, takes in ARGUMENTS.items()]
    return {key.name: (key.default, key.words) for key in keys()} | {
        "optimizer.name": (
            "",
            "a class of torch.optim, in place of `optimizer`; its arguments have torch's defaults",
        ),
        "optimizer.lr": ("", "learning rate; by default that of the optimizer's file"),
        "optimizer.decay": ("all", "weights: biases and a normalisation's parameters have no weight decay"),
        "optimizer.schedule.name": ("constant", f"learning rate by epoch: {' | '.join(schedules)}"),
        "optimizer.schedule.warmup": ("0", "epochs of warm-up; a schedule's other arguments are written like this one"),
    }


def keys_table(names: Iterable[str], said: Mapping[str, tuple[str, str]]) -> str:
    """Return a Markdown table of keys with their defaults and meanings."""
    rows = []
    for key in names:
        default, meaning = said.get(key, ("", ""))
        rows.append([_code(key), _code(default) if default else "", meaning])
    return _table(["key", "default", "meaning"], rows)


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"
