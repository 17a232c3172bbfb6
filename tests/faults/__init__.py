"""Breaks real runs in every way that can be thought of, and looks whether the same command makes them whole again.

`python -m faults` (with `tests` on the path; `make faults`) tries them all and writes docs/explanation/faults.md; the
tests take a sample of each. Every case has a name and draws from a generator seeded with it, so `--only NAME` repeats
it.
"""
