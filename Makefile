# `make help` lists the targets. PAPER chooses the paper, SEEDS=0,1,2,3,4 the seeds, RUNS the folder of the runs.
PYTHON ?= python3
OLDEST := 3.10
PAPER ?= caprari2024
SEEDS ?= 0,1,2,3,4
MAX_SEEDS ?= 40
BUDGET ?=
RUNS ?= multirun
REPORT ?= report
REPORT_LANG ?= en

VENV := .venv
# The versions to install; empty: the newest of everything.
PINS ?= constraints.txt
READY := $(VENV)/.ready
BIN := $(VENV)/bin/python
UV := $(VENV)/bin/uv
PINNED = $(if $(PINS),--constraint $(PINS),--upgrade)
# With progress on a terminal, else only what goes wrong.
INSTALL := $(UV) pip install $(if $(MAKE_TERMERR),,--quiet) --python $(BIN) $(PINNED) --editable
define SWEEP
@echo "planning and training in $(RUNS), where nothing that is done is trained again; the plan takes some seconds"
$(BIN) -m fmnist_sweep -m hydra.sweep.dir=$(RUNS) paper=$(PAPER)
endef
define WRITE_REPORT
@echo "judging and drawing what is in $(RUNS); it takes up to half a minute"
$(BIN) -m fmnist_sweep.report $(RUNS) --paper $(PAPER) --output $(REPORT) --lang $(REPORT_LANG)
endef
# What came out, in a few lines: of one figure, or of all.
define VERDICTS
@$(BIN) -m fmnist_sweep verdicts $(REPORT)
endef
FIGURES := fig1 fig2 fig3 fig4 fig5
# uv leaves compiling to the first import; where that may not be kept, every process would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup data $(FIGURES) figures settle grid report site reference docs test test-newest test-browser test-cluster test-trackers test-slow faults lint bench pins dist clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9 -]*:.*## /{printf "  %-13s %s\n", $$1, $$2} /^\$$\(FIGURES\):.*## /{printf "  %-13s %s\n", "fig1 … fig5", $$2}' $(MAKEFILE_LIST)
	@echo "  PAPER=$(PAPER) is the paper, a file of conf/paper/."
	@echo "  SEEDS=$(SEEDS) chooses the seeds of figures, from 5 on with verdicts on single numbers; RUNS=$(RUNS) is where the runs are."

setup: $(READY)  ## make .venv with the tested versions of everything

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))' || { echo "Python $(OLDEST) or newer is needed; choose one with PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@$(BIN) -m pip install --quiet $(PINNED) uv

$(READY): pyproject.toml constraints.txt | $(UV)
	@echo "installing into $(VENV): some 15 s, but the first time up to 3 GB are downloaded (torch's CUDA build)"
	$(INSTALL) '.[dev]'
	@touch $@

data: $(READY)  ## find or fetch Fashion-MNIST and verify it
	$(BIN) -m fmnist_sweep.data

$(FIGURES): $(READY)  ## train what one figure needs, and draw what the runs give
	$(SWEEP) figure=$@ seed=$(SEEDS)
	$(WRITE_REPORT)
	$(VERDICTS) --figure $@

figures: $(READY)  ## train what the paper's figures and claims need, draw and judge them
	$(SWEEP) figure=paper seed=$(SEEDS)
	$(WRITE_REPORT)
	$(VERDICTS)

settle: $(READY)  ## add seeds where claims are open until each has a verdict, at most MAX_SEEDS or for BUDGET; judge them
	$(SWEEP) until=settled max_seeds=$(MAX_SEEDS) $(if $(BUDGET),budget=$(BUDGET))
	$(WRITE_REPORT)
	$(VERDICTS)

grid: $(READY)  ## train every combination of what the paper varies
	$(SWEEP) figure=grid seed=$(SEEDS)

report: $(READY)  ## figures, tables and claims from the runs there are
	$(WRITE_REPORT)
	$(VERDICTS)

site: $(READY)  ## a page a paper and the front page docs/papers.html, from the tables of the reports in docs/
	$(BIN) -m fmnist_sweep.report.site docs

reference: $(READY)  ## the pages of docs/ that are made from code and data: keys, the format of a paper's file, verdicts
	PYTHONPATH=. $(BIN) docs/generate.py

docs: reference  ## the documentation as a site in site/, from docs/; needs Python 3.11
	$(INSTALL) '.[docs]'
	$(VENV)/bin/zensical build --clean --strict
	@echo "open site/index.html"

test: $(READY)  ## the tests
	$(BIN) -m pytest -q -n 2 --dist worksteal -m "not slow and not browser and not cluster and not tracker" \
		$(if $(PINS),,--deselect tests/test_pins.py::test_everything_that_is_installed_is_pinned_at_its_version)

test-newest:  ## the tests with the newest versions of everything, in .venv-newest
	@rm -f .venv-newest/.ready  # something newer may be out
	$(MAKE) test VENV=.venv-newest PINS=

test-browser: $(READY)  ## the tests of the report's page, in Debian's chromium
	$(BIN) -m pytest -q -m browser

test-cluster: $(READY)  ## the tests on a real Slurm and a real Ray: Debian's slurm-wlm and munge, as root
	$(INSTALL) '.[slurm,ray]'
	$(BIN) -m pytest -q -m cluster

test-trackers: $(READY)  ## the tests with a real TensorBoard, a real MLflow server and W&B offline
	$(INSTALL) '.[tensorboard,mlflow,wandb]'
	$(BIN) -m pytest -q -m tracker

test-slow: $(READY)  ## the tests that take minutes
	$(BIN) -m pytest -q -n 2 --dist loadfile -m slow

faults: $(READY)  ## break runs in every way there is, and write docs/explanation/faults.md; as root, for it mounts small disks
	HOSTILE_SHARE=1 $(BIN) -m pytest -q -m slow tests/store/test_hostile_input.py
	PYTHONPATH=.:tests OMP_NUM_THREADS=1 $(BIN) -m faults

lint: $(READY)  ## style, types and directions of imports
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy
	$(VENV)/bin/lint-imports --no-logo

bench: $(READY)  ## speed against the loops that a user would write, JAX and torch.func
	$(INSTALL) '.[bench]'
	$(BIN) -m benchmark

pins: $(UV)  ## pin in constraints.txt what it lacks, for every Python; a line that is there stays
	$(UV) pip compile --quiet --universal --python-version $(OLDEST) --all-extras --no-annotate \
		--custom-compile-command "make pins" --output-file constraints.txt pyproject.toml

dist: $(READY)  ## make sdist and wheel in dist/, and check them
	$(BIN) -m build --no-isolation
	$(BIN) -m twine check --strict dist/*

clean:  ## remove the environment and caches; runs and reports stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
