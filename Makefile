# make demo: set up and run the main job, with what that needs alone. make test: set up, with developers' tools, and
# pass every check. Nothing else is needed first; both install the versions of constraints.txt into .venv.
# make quick: lint, types and the tests that are not marked slow.
# make test-newest: every check with the newest releases that pyproject.toml allows, in .venv-newest.
# make wheel: builds the wheel in dist/ and runs the command from it in .venv-wheel, with runtime dependencies only.
# make test-torchtext: the same in an environment of its own (several GB), since torchtext needs torch 2.3.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo quick test test-newest test-torchtext lint wheel clean

demo: .venv/installed
	$(BIN)/xbench algorithm=ig,deeplift dataset=sst2 name=demo -m

quick: .venv/developer lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test: .venv/developer lint
	$(BIN)/python -m pytest -n 2 --durations=20

test-newest: .venv-newest/developer
	$(MAKE) lint BIN=.venv-newest/bin
	.venv-newest/bin/python -m pytest -n 2 --durations=20

test-torchtext: .venv-torchtext/installed
	.venv-torchtext/bin/python -m pytest tests/with_torchtext
	.venv-torchtext/bin/xbench algorithm=ig,deeplift dataset=sst2_torchtext name=torchtext -m

wheel:
	rm -rf dist
	$(PYTHON) -m venv --clear .venv-wheel
	.venv-wheel/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	.venv-wheel/bin/python -m pip install --quiet --constraint constraints.txt dist/xbench-*.whl
	.venv-wheel/bin/python -P -c 'import pathlib, xbench; assert (pathlib.Path(xbench.__file__).parent / "py.typed").is_file()'
	cd "$$(mktemp -d)" && $(CURDIR)/.venv-wheel/bin/xbench 'algorithm=[saliency,ig]' n=8

lint: $(BIN:bin=developer)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/developer: pyproject.toml constraints.txt | .venv/bin/python
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/installed $@

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xbench needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv-newest/developer: pyproject.toml
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv-torchtext/installed: pyproject.toml constraints-torchtext.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and "torchtext needs Python 3.11 or 3.12; set PYTHON=")'
	$(PYTHON) -m venv .venv-torchtext
	.venv-torchtext/bin/python -m pip install --quiet --constraint constraints-torchtext.txt --editable '.[torchtext]' pytest
	touch $@

clean:
	rm -rf .venv .venv-newest .venv-torchtext .venv-wheel dist results
