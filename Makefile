# make demo: set up and run the main job. make test: set up and pass every check. Nothing else is needed first.
# make test-torchtext: the same in an environment of its own (several GB), since torchtext needs torch 2.3.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-torchtext lint clean

demo: .venv/installed
	$(BIN)/xbench algorithm=ig,deeplift dataset=sst2 name=demo -m

test: .venv/installed lint
	$(BIN)/python -m pytest -n 2

test-torchtext: .venv-torchtext/installed
	.venv-torchtext/bin/python -m pytest tests/with_torchtext
	.venv-torchtext/bin/xbench algorithm=ig,deeplift dataset=sst2_torchtext name=torchtext -m

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xbench needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv-torchtext/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and "torchtext needs Python 3.11 or 3.12; set PYTHON=")'
	$(PYTHON) -m venv .venv-torchtext
	.venv-torchtext/bin/python -m pip install --quiet --editable '.[torchtext]' 'pytest>=8'
	touch $@

clean:
	rm -rf .venv .venv-torchtext results
