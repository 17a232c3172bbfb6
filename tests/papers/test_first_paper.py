"""The verdicts on the first paper from runs like the measured ones."""

import numpy as np
from made_up_runs import write_run

from fmnist_sweep import papers
from fmnist_sweep.papers.nearest import nearest_configuration, quoted
from fmnist_sweep.papers.verdicts import judge
from fmnist_sweep.store.curves import Curves
from fmnist_sweep.store.tables import collect

# Training loss and accuracy, then validation's, at the first and the last epoch; how far a value strays between epochs.
MEASURED = {
    ("adam", 100, 0.2, 100): ((0.468, 0.833, 0.504, 0.821), (0.338, 0.873, 0.50, 0.844), 0.012),
    ("adam", 100, 0.2, 30): ((0.468, 0.833, 0.504, 0.821), (0.374, 0.863, 0.463, 0.842), 0.012),
    ("adam", 500, 0.2, 30): ((0.43, 0.845, 0.46, 0.835), (0.286, 0.893, 0.381, 0.864), 0.006),
    ("adam", 1000, 0.2, 30): ((0.45, 0.838, 0.48, 0.83), (0.245, 0.907, 0.352, 0.879), 0.004),
    ("adam", 100, 0.05, 30): ((0.45, 0.838, 0.49, 0.825), (0.348, 0.877, 0.463, 0.852), 0.012),
    ("sgd", 100, 0.2, 30): ((0.75, 0.743, 0.76, 0.735), (0.306, 0.890, 0.364, 0.868), 0.003),
    ("sgd", 100, 0.05, 30): ((0.74, 0.745, 0.75, 0.737), (0.298, 0.893, 0.361, 0.869), 0.003),
    ("sgd", 500, 0.2, 30): ((1.6, 0.6, 1.6, 0.6), (0.455, 0.835, 0.485, 0.820), 0.001),
    ("sgd", 1000, 0.2, 30): ((2.0, 0.5, 2.0, 0.5), (0.54, 0.80, 0.567, 0.790), 0.001),
}
REPRODUCED = """adam-train-loss-first adam-val-accuracy-final sgd-train-loss-final sgd-val-loss-final sgd-more-accurate
    sgd-train-accuracy-final sgd-train-loss-slower sgd-wider-range adam-more-volatile-accuracy adam-faster
    sgd-500-loss-falls sgd-500-val-loss-final large-batches-worse-sgd"""
NOT_REPRODUCED = """sgd-more-variable sgd-higher-loss adam-500-val-accuracy-final adam-1000-val-accuracy-final
    adam-1000-worse-than-100 adam-1000-worse-than-500 sgd-1000-similar-loss sgd-1000-similar-accuracy
    epochs-100-train-loss-final epochs-100-train-accuracy-final epochs-100-val-loss-final"""


def measured(store, seeds):
    """The collection of the runs of `MEASURED`."""
    store.mkdir()
    for number, (row, (first, last, wobble)) in enumerate(MEASURED.items()):
        values = dict(zip(("optimizer", "batch_size", "dropout", "epochs"), row, strict=True))
        epoch = np.arange(values["epochs"])[:, None]
        left = np.exp(-epoch / (values["epochs"] / (6 if values["optimizer"] == "adam" else 12)))
        for seed in range(seeds):
            noise = np.random.default_rng([seed, number]).normal(0, wobble, (len(epoch), 4)) * [1, 0.3, 1, 0.3]
            curve = np.array(last) + (np.array(first) - last) * left + noise
            write_run(store, **values, seed=seed, curve=np.insert(curve, [2, 2], 0.5, axis=1))
    return collect(store)


def test_five_seeds(tmp_path):
    paper, collection = papers.read(papers.DEFAULT), measured(tmp_path / "runs", 5)
    verdicts = {verdict.claim.id: verdict.verdict for verdict in judge(paper, Curves(collection))}
    for verdict, names in (("reproduced", REPRODUCED), ("not reproduced", NOT_REPRODUCED)):
        assert {name: verdicts[name] for name in names.split()} == dict.fromkeys(names.split(), verdict)
    assert "not run" not in verdicts.values()
    table = nearest_configuration(quoted(paper)["fig5", "adam-100-epochs"], paper, collection, Curves(collection))
    assert len(table) == len(MEASURED) and table["distance"][0] > 1
    assert (table["optimizer"][0], table["batch_size"][0]) == ("Adam", 1000)


def test_one_seed_and_none(tmp_path):
    paper = papers.read(papers.DEFAULT)
    verdicts = judge(paper, Curves(measured(tmp_path / "runs", 1)))
    assert {(v.verdict, v.seeds_needed) for v in verdicts} == {("open", 5)}
    (tmp_path / "empty").mkdir()
    assert {v.verdict for v in judge(paper, Curves(collect(tmp_path / "empty")))} == {"not run"}
