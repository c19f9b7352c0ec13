# All targets use .venv, a virtual environment in this checkout, which is created when it is first needed.
# Requirements: make and Python 3.11 or newer (to choose another one: make PYTHON=/path/to/python test).

PYTHON ?= $(firstword $(shell command -v python3.11 || command -v python3))
BIN := .venv/bin
TORCH := $(shell grep '^torch==' constraints.txt)
PROCESSES ?= 2

.PHONY: help demo test slow bench lint format clean

help:
	@echo "make demo    pre-train, adapt, fit and compare on generated reviews, about two minutes"
	@echo "make test    run the tests, a few minutes on two cores"
	@echo "make slow    run the tests that take minutes each"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make format  ruff format"
	@echo "make bench   benchmark against other libraries (installs them, see benchmarks/)"
	@echo "make clean   remove .venv and everything built"

demo: .venv/.package
	$(BIN)/unfreeze demo

# One thread per worker, because PROCESSES workers share the cores.
test: .venv/.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES)

slow: .venv/.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) -m slow

lint: .venv/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src/unfreeze
	PYTHONPATH=src $(BIN)/lint-imports --no-logo

format: .venv/.tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Uses an environment of its own with the other libraries and this package. Options: make bench BENCH="--data DATA --only parity"
bench:
	benchmarks/setup $(PYTHON)
	benchmarks/.peers/bin/python -m benchmarks $(BENCH)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/.peers benchmarks/.joeynmt
	find src tests -name __pycache__ -type d -exec rm -rf {} +

# torch first and alone, in its exact version: together with the rest, pip may choose a build with several GB of CUDA.
.venv/.package: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=..."'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.tools: .venv/.package
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
