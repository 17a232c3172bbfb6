"""Imported by the process from which others are forked: what each of them would else load and compute for itself."""

import os

from faults import work

os.environ.pop("FAULTS_EPOCHS", None)  # of the case for which that process was started
work.undisturbed()
