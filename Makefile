# Every target sets up .venv by itself; a fresh machine needs only make and Python 3.10 or newer.
# Another interpreter:  make demo PYTHON=python3.12
# Other pytest flags:   make test PYTEST_FLAGS="-x tests/core"

PYTHON ?= python3
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder
VENV := .venv
BIN := $(VENV)/bin
PRETRAINED := ssm_metarl/pretrained
# One core per test process: results do not depend on the machine, and two workers share two cores.
# What Python has compiled is kept: the tests start dozens of processes.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo app browser screenshots space pretrained test check lint types layout docs format mutants bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo  ## meta-train on CartPoles, adapt to unseen ones, show that it helped
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: $(VENV)/.installed-test browser  ## run the whole test suite
	$(TEST_ENV) $(BIN)/python -m pytest $(PYTEST_FLAGS)

# Debian's browser, for the tests of the page; where it cannot be had they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && { apt-get install -yq chromium || { apt-get update -q && apt-get install -yq chromium; }; } >/dev/null 2>&1; } \
	  || echo "NO BROWSER: the tests of the page in a browser will be skipped (apt install chromium)" >&2

app: $(VENV)/.installed-app  ## open the web page on http://localhost:7860
	$(BIN)/python app.py

space: $(VENV)/.installed-app  ## build the folder of a Hugging Face Space, build/space
	$(BIN)/python deploy/space.py build/space

screenshots: $(VENV)/.installed-test browser  ## take pictures of every tab of the page
	$(BIN)/python docs/screenshots.py

pretrained: $(VENV)/.installed-demo  ## train the agents that come with the page anew
	rm -rf $(PRETRAINED)
	$(BIN)/ssm-metarl train --env CartPole-v1 --experience 20000 --run_dir $(PRETRAINED)/cartpole
	$(BIN)/ssm-metarl train --mode rl2 --env CartPole-v1 --run_dir $(PRETRAINED)/cartpole-in-context
	rm -rf $(PRETRAINED)/*/figures $(PRETRAINED)/*/.lock

check: lint types layout docs  ## lint, formatting, types, the import-direction rule and the site

lint: $(VENV)/.installed-dev  ## ruff only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## pyright only
	$(BIN)/pyright

layout: $(VENV)/.installed-dev  ## the import-direction rule only
	$(TEST_ENV) $(BIN)/python -m pytest -q tests/test_layout.py

docs: $(VENV)/.installed-docs  ## build the site, build/site/index.html; a warning is an error
	$(BIN)/python -m sphinx -qnW --keep-going docs build/site

format: $(VENV)/.installed-dev  ## let ruff rewrite the files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(VENV)/.installed-mutants  ## break the core on purpose, a thousand ways, and see which no test notices (hours)
	$(TEST_ENV) $(BIN)/mutmut run
	$(BIN)/mutmut results

bench: $(VENV)/.installed-bench  ## install what the benchmarks compare with, and list them
	@echo "Each benchmark is one command, and says so in its first lines; run it with $(BIN)/python:"
	@echo "benchmarks/README.md says what each shows:"; ls benchmarks/*.py

clean:  ## remove .venv, caches and build output (runs/ stays)
	rm -rf $(VENV) build dist mutants .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null \
	  || { echo "$(PYTHON) was not found: install Python 3.10 or newer, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "$$($(PYTHON) --version 2>&1) is too old: name Python 3.10 or newer with PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# .installed-EXTRA: the package, editable, with that extra; redone when the requirements change.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[$*]"
	@touch $@
