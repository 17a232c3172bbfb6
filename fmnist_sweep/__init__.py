"""Sweeps of small feed-forward networks on Fashion-MNIST, configured with Hydra."""

import os

# Without it Intel MKL's rounding depends on memory alignment, and so on what a model is stacked with.
# It is read when torch first computes, so it must be in place before torch is loaded.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
