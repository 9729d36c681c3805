# Every target sets up what it needs in $(VENV); set-up is repeated only when pyproject.toml changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-input --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint dist clean

help:
	@echo "make demo [AUDIO=speech.wav] [OUT=demo]   install, and show what the shipped models do"
	@echo "make test                                 install with test extras, and run the tests"
	@echo "make lint                                 ruff and mypy"
	@echo "make dist                                 a wheel in dist/"
	@echo "make clean                                remove what the other targets made"

demo: $(VENV)/.installed
	$(BIN)/vqaudio demo $(if $(AUDIO),"$(AUDIO)") --out "$(OUT)"

# Where a worker crashes, the run ends and names the test: with a new worker, pytest-xdist waits for ever.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: $(VENV)/.installed
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist demo screenshots *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find vqaudio tests benchmarks egs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing vqaudio and what it needs in $(VENV) (some gigabytes the first time) ..."
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing vqaudio with its test extras in $(VENV) (some gigabytes the first time) ..."
	$(PIP) --editable ".[test]"
	@touch $(VENV)/.installed $@
