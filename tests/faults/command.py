"""`python -m fmnist_sweep` with a checkpoint after every epoch, and every epoch noted, in its workers too."""

import sys

from faults import work
from fmnist_sweep.__main__ import main
from fmnist_sweep.sweeps import worker

# The processes that Python starts for workers import this module again, under another name.
worker.CHECKPOINT_SECONDS = -1.0
work.note_epochs()

if __name__ == "__main__":
    sys.exit(main())
