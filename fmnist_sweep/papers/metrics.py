"""Name the metrics that a claim can be about, and refuse the others with a reason."""

import re

from fmnist_sweep.errors import nearest

METRICS = {
    "train_loss": "training loss after the epoch, dropout off",
    "train_accuracy": "training accuracy after the epoch, dropout off",
    "running_loss": "training loss while the batches go by, dropout on",
    "running_accuracy": "training accuracy while the batches go by, dropout on",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "test_loss": "test loss; only with `data.validation: split`, else the test images validate or are kept for the end",
    "test_accuracy": "test accuracy; only with `data.validation: split`",
    "loss_gap": "`val_loss - train_loss`",
    "accuracy_gap": "`train_accuracy - val_accuracy`",
    "running_gap": "`running_accuracy - val_accuracy`",
    "epoch": "the number of the epoch that `at_best` or `at_stop` chooses",
}
DIFFERENCE = "train_accuracy - test_accuracy"
_TIME = re.compile(r"second|minute|hour|time|duration|speed", re.IGNORECASE)


def metric(value: object) -> str:
    """Return a metric in its usual spelling; `ValueError` says in one line what is allowed."""
    said = " ".join(str(value).split())
    if said in METRICS:
        return said
    if _TIME.search(said):
        raise ValueError(
            f"{said:.60}: there is no verdict on how long training takes: that depends on the machine, and on the runs "
            "that train beside it; leave this claim out and say so under departs"
        )
    first, *rest = (term.strip() for term in said.split("-"))
    units = {term.rpartition("_")[2] for term in (first, *rest)}
    if len(rest) == 1 and units <= {"loss", "accuracy"} and {first, rest[0]} <= METRICS.keys():
        if len(units) == 1 and first != rest[0]:
            return f"{first} - {rest[0]}"
        raise ValueError(f"{said:.60}: must subtract one loss from another, or one accuracy from another")
    allowed = f"{', '.join(METRICS)}, or the difference of two losses or accuracies"
    raise ValueError(f"must be one of {allowed}, not {said:.60}{nearest(said, METRICS)}")
