# make serve    install the serving dependencies and run the service; Ctrl-C stops it
# make demo     the same, then run the strategies with generated traffic, and stop; KEEP=1 leaves
#               the service running
# make test     install everything and run all tests
# make unit     run the unit tests, in under a minute
# make check    check formatting, lint and types
# make fix      fix formatting and lint where possible
# make docs     update the generated parts of the documentation and build it in build/docs
# make bench    measure the cost of a request, compared with other servers, and of each rule;
#               QUICK=1 takes five minutes
# make evidence simulate the intervals and e-values next to other packages, and write
#               docs/evidence-checks.md, in six minutes
# make fuzz     try 100,000 random images, requests and configurations, and 10,000 cases of the OpenAPI
#               documents, in ten minutes; SEED=N for others
# make chaos    kill, freeze, damage and overload parts of a running service, and write
#               docs/reliability.md, in 14 minutes; QUICK=1 takes two and writes nothing
# make train DATA=DIR    train and publish the shipped versions again; NOTICE=FILE is a text on the
#               origin and licence of the images

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install serve demo test unit check fix docs bench evidence chaos fuzz train clean

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

# Compile on all cores, because pip compiles on one. A start imports the same modules in ten
# processes and takes 9 s instead of 21. Some files of other packages are templates and do not compile.
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

# On interruption, it stops only the service that it started; with KEEP=1, none.
demo: $(VENV)/.serving
	@$(PYTHON) -m serve_app up --detach && { \
	  trap 'exit 130' INT TERM; \
	  trap '$(if $(KEEP),echo "The service runs on. To stop it:") $(PYTHON) -m serve_app down' EXIT; \
	  $(PYTHON) -m serve_app demo; }

install: $(VENV)/.developing

# The e2e tests run one at a time, because their services use the same ports.
test: install
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses logical --dist loadfile \
	  tests/unit tests/contract tests/integration
	$(PYTHON) -m pytest tests/e2e

unit: install
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses logical --dist loadfile -m "not slow" tests/unit

check: install
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

fix: install
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs: install
	cd docs && ../$(PYTHON) -m cogapp -r -P -I . *.md adr/README.md
	$(PYTHON) -m sphinx --builder html --fail-on-warning --quiet docs build/docs
	@echo "build/docs/index.html"

bench: install
	$(PYTHON) -m benchmarks $(if $(QUICK),--quick)

evidence: install
	$(PYTHON) -m benchmarks.evidence --write

fuzz: install
	$(PYTHON) -m tests.fuzz images --seed $(or $(SEED),1) --count 20000
	$(PYTHON) -m tests.fuzz requests --seed $(or $(SEED),1) --count 40000
	$(PYTHON) -m tests.fuzz configurations --seed $(or $(SEED),1) --count 40000
	SERVE_APP_EXAMPLES=200 $(PYTHON) -m pytest --numprocesses logical tests/contract/test_openapi.py

chaos: install
	$(PYTHON) -m benchmarks.chaos $(if $(QUICK),--quick,--write)
	$(if $(QUICK),,$(PYTHON) -m benchmarks.overload --write)

train: install
	@test -d "$(DATA)" || { echo "DATA is missing: make train DATA=DIR (DIR/train, DIR/val, DIR/test)"; exit 2; }
	@for version in v1 v2; do \
	  $(PYTHON) -m training fit training/configs/$$version.yaml --data "$(DATA)" && \
	  $(PYTHON) -m training publish training/configs/$$version.yaml --data "$(DATA)" \
	    $(if $(NOTICE),--notice "$(NOTICE)") || exit 1; \
	done

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
