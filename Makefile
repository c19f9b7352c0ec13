# Everything happens in .venv, a virtual environment in this checkout; the first target that needs it makes it.
# Needed beforehand: make and Python 3.11 or newer (another one: make PYTHON=/path/to/python test).

PYTHON ?= $(firstword $(shell command -v python3.11 || command -v python3))
BIN := .venv/bin
TORCH := $(shell grep '^torch==' constraints.txt)
PROCESSES ?= 2

.PHONY: help demo test slow bench lint format clean

help:
	@echo "make demo    the main job on generated reviews, about two minutes"
	@echo "make test    the tests, a few minutes on two cores"
	@echo "make slow    the tests that take minutes each"
	@echo "make lint    ruff, mypy"
	@echo "make format  ruff format"
	@echo "make bench   ratios against other libraries (installs them, see benchmarks/)"
	@echo "make clean   remove .venv and everything built"

demo: .venv/.package
	$(BIN)/unfreeze demo

# One thread a worker: PROCESSES workers share the cores.
test: .venv/.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES)

slow: .venv/.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) -m slow

lint: .venv/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src/unfreeze

format: .venv/.tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# With the peers' own environment, which this package is installed in too. Options: make bench BENCH="--data DATA --only parity"
bench:
	benchmarks/setup $(PYTHON)
	benchmarks/.peers/bin/python -m benchmarks $(BENCH)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/.peers
	find src tests -name __pycache__ -type d -exec rm -rf {} +

# The exact torch alone and first: asked for together with the rest, pip may take a build with several GB of CUDA.
.venv/.package: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=..."'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.tools: .venv/.package
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
