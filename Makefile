# Two commands do everything: make demo, make test. See README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PORTS := rp2 esp32 stm32

.PHONY: demo test check types firmware micropython32 sunspec clean help

help:
	@echo "make demo      four retired packs are charged, discharged, collected and graded"
	@echo "make test      the whole test suite, with lint, types and import rules"
	@echo "make firmware  cross-compile the firmware for boards and print the sizes"
	@echo "make micropython32  build MicroPython with a board's 32 bits for the tests (Debian)"
	@echo "make sunspec   write common/sunspec/*.json and docs/registers.md from the register map"
	@echo "make clean     remove what the others made"

$(VENV)/demo.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "echelon needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

typings/%: $(VENV)/dev.stamp
	@rm -rf $@
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
	    --target $@ micropython-$*-stubs
	@touch $@

demo: $(VENV)/demo.stamp
	@$(BIN)/echelon demo $(ARGS)

test: check types
	$(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadfile --no-loadscope-reorder)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

# The firmware with the stubs of the reference board's port, the other boards with their own.
types: $(VENV)/dev.stamp $(PORTS:%=typings/%)
	$(BIN)/mypy
	@for port in $(PORTS); do \
	    what="firmware/boards/$$port.py"; \
	    if [ $$port = rp2 ]; then what="-p common -p firmware"; fi; \
	    MYPYPATH=typings/$$port $(BIN)/mypy --config-file tests/firmware/mypy-micropython.ini \
	        --custom-typeshed-dir typings/$$port --cache-dir .mypy_cache/$$port $$what; \
	done | grep -E '^(common|firmware)/.*: error:' && exit 1 || exit 0

firmware: $(VENV)/dev.stamp
	$(BIN)/python tests/benchmarks/firmware_size.py

MICROPYTHON32 := build/micropython32/micropython

$(MICROPYTHON32): $(wildcard tests/tools/micropython32/*)
	tests/tools/micropython32/build.sh $(SOURCE)

micropython32: $(MICROPYTHON32)

sunspec: $(VENV)/dev.stamp
	$(BIN)/echelon registers --sunspec common/sunspec
	$(BIN)/echelon registers --markdown > docs/registers.md

clean:
	rm -rf $(VENV) build dist typings *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
