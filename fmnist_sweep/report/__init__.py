"""What the runs of a store show: tables, the paper's figures, comparisons.

The report reads run directories and nothing else. It never trains, never loads a checkpoint and never
executes or unpickles what it finds there.
"""

from fmnist_sweep.report.collect import Collection, collect, predictions
from fmnist_sweep.report.paper import missing

__all__ = ["Collection", "collect", "missing", "predictions"]
