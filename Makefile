# make serve    installs what serving needs, starts the service, says what to try; Ctrl-C ends it
# make demo     the same, then plays the strategies with generated traffic, and ends it
# make test     installs everything and runs every test this machine can
# make check    formatting, lint, types
# make bench    what a request costs, beside what else one could pick, and what each rule adds;
#               QUICK=1 in five minutes
# make train DATA=DIR    trains and publishes the shipped versions again; NOTICE=FILE says whose
#               the images are

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install serve demo test check bench train clean

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

# Compiled on every core: a start imports the same modules in ten processes, and takes 9 s instead
# of 21. pip compiles on one core; a few files of other packages are templates that do not compile.
COMPILE := $(PYTHON) -m compileall -qq -j 0 $(VENV)/lib serve_app models training || true

$(VENV)/.serving: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(PIP) --no-compile --editable .
	@$(COMPILE)
	@touch $@

$(VENV)/.developing: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(PIP) --no-compile --editable '.[dev]'
	@$(COMPILE)
	@touch $@ $(VENV)/.serving

serve: $(VENV)/.serving
	@exec $(PYTHON) -m serve_app up

# Also when interrupted, it ends what it started, and nothing else.
demo: $(VENV)/.serving
	@$(PYTHON) -m serve_app up --detach && { \
	  trap 'exit 130' INT TERM; trap '$(PYTHON) -m serve_app down' EXIT; \
	  $(PYTHON) -m serve_app demo; }

install: $(VENV)/.developing

# What needs no service of its own runs on every core, one thread each; services share their ports.
test: install
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses logical --dist loadfile \
	  tests/unit tests/contract tests/integration
	$(PYTHON) -m pytest tests/e2e

check: install
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

bench: install
	$(PYTHON) -m benchmarks $(if $(QUICK),--quick)

train: install
	@test -d "$(DATA)" || { echo "Name the images: make train DATA=DIR (DIR/train, DIR/val, DIR/test)"; exit 2; }
	@for version in v1 v2; do \
	  $(PYTHON) -m training fit training/configs/$$version.yaml --data "$(DATA)" && \
	  $(PYTHON) -m training publish training/configs/$$version.yaml --data "$(DATA)" \
	    $(if $(NOTICE),--notice "$(NOTICE)") || exit 1; \
	done

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
