# make demo    install what runs on a CPU, then run the whole pipeline on the embedded default
# make test    install that and the test tools, then run all tests
# make setup   install only; LOCK=worker-gpu for machines with GPUs
# make bench   compare ours with a reference, side by side; TOPIC=dag or TOPIC=engine for one topic
# make check   lint and formatting only
# make slurm-test   what a run survives on a real Slurm, made on this machine (root, Debian)
# make slurm-up     that Slurm, to try things on
# make slurm-down   end it

PYTHON ?= python3
TOPIC ?= all
# Which lock .venv holds, or is to hold.
LOCK ?= $(or $(notdir $(firstword $(wildcard .venv/worker-*))),worker-cpu)

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Keep compiled modules, whatever this machine's default: every job starts Python, twice on a cluster.
unexport PYTHONDONTWRITEBYTECODE
# No usage reports from the tools themselves.
export DO_NOT_TRACK := 1

.PHONY: demo test setup bench check clean docs slurm-test slurm-up slurm-down

demo: .venv/$(LOCK)
	snakemake
	@[ results/demo/report.html -nt results/demo/tables/summary.csv ] || \
	  snakemake --quiet all --report results/demo/report.html
	@echo "Table: results/demo/tables/summary.csv   figure: results/demo/figures/accuracy.svg   report: results/demo/report.html"
	@echo "Debates to read: .venv/bin/agentark show-debate results/demo"

# Files side by side, in their order.
test: .venv/test check
	pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not long"

check: .venv/test
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

bench: .venv/test
	python -m tests.benchmarks $(TOPIC)

# The config's schema, the tables of its keys and of what reruns, conda's files: made from what they describe.
docs: .venv/$(LOCK)
	agentark docs
	python envs/conda.py
	python -m tests.workflow.rerun_matrix

setup: .venv/$(LOCK)

.venv/$(LOCK): envs/$(LOCK).txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo '#include <Python.h>' | cc -E -I"$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')" - >/dev/null 2>&1 \
	  || { echo "A C compiler and Python's headers are needed, since pycosat has no wheel; Debian: apt install gcc python3-dev"; exit 1; }
	$(PYTHON) -m venv .venv
	python -m pip install --no-compile --progress-bar off "$$(grep '^torch==' envs/$(LOCK).txt)"
	python -m pip install --no-compile --progress-bar off --no-deps -r envs/$(LOCK).txt
	python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv/test: .venv/$(LOCK) envs/test.txt
	python -m pip install --no-compile --progress-bar off --no-deps -r envs/test.txt
	touch $@

slurm-test: .venv/test
	pytest tests/slurm

slurm-up: .venv/test
	python -m tests.slurm.cluster up

slurm-down:
	python -m tests.slurm.cluster down

clean:
	rm -rf .venv .snakemake results
