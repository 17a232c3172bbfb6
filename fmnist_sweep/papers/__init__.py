"""Papers as data: their configurations, claims and verdicts."""

from fmnist_sweep.engine.metrics import GAPS
from fmnist_sweep.papers.claims import Claim
from fmnist_sweep.papers.paper import ALL, DEFAULT, Figure, Paper, find, read

__all__ = ["ALL", "DEFAULT", "GAPS", "Claim", "Figure", "Paper", "find", "read"]
