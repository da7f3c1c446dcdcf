"""The plan of the house: which room may import which, no circle of modules, no torch where the table says so."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import xbench

PACKAGE = Path(__file__).parents[1] / "xbench"
# The rooms from the ground up, each with the rooms that it may import. A room imports no room above it.
FLOORS: dict[str, set[str]] = {
    "boundary": set(),
    "core": {"boundary"},
    "modalities": {"boundary", "core"},
    "config": {"boundary", "core", "modalities"},
    "rules": {"core"},
    "store": {"boundary", "config"},
    "engine": {"boundary", "core"},
    "algorithms": {"config", "core", "rules"},
    "metrics": {"core"},
    "datasets": {"boundary", "modalities"},
    "models": {"boundary", "config", "core", "datasets", "engine", "modalities"},
    "explain": {"algorithms", "boundary", "config", "core", "engine", "metrics", "rules"},
    "inputs": {"core", "datasets", "engine", "explain", "modalities", "models"},
    "tables": {"boundary", "config", "store"},
    "report": {"boundary", "modalities", "store", "tables"},
    "run": {"algorithms", "boundary", "config", "core", "datasets", "engine", "explain", "inputs", "metrics",
            "modalities", "models", "store", "tables"},
    "cli": {"algorithms", "boundary", "config", "metrics", "report", "run", "store", "tables"},
    "api": {"algorithms", "config", "core", "explain", "metrics"},
    "over_data": {"algorithms", "api", "core", "explain"},
    "xbench": {"api", "engine", "over_data", "tables"},
    "__main__": {"boundary", "cli", "config", "report"},
}  # fmt: skip
# Rooms without torch: their modules answer before a second has passed, and on machines that only read results.
WITHOUT_TORCH = ("boundary", "modalities", "config", "store", "tables", "report", "cli")
USES_TORCH = {
    "config.devices",  # where a function needs it
    "modalities.record",  # for the types
    "modalities.parts.drawings", "modalities.parts.graphs", "modalities.parts.groups", "modalities.parts.spectral",
}  # fmt: skip
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
FORMULAS = ("algorithms", "metrics", "rules", "core")


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "xbench"


MODULES = {module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imported(name: str) -> frozenset[str]:
    """What a module imports, anywhere in its text: of xbench without that prefix."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {each for each in inner if each.removeprefix("xbench.") in MODULES}
            found |= modules
            if modules != inner:
                found.add(node.module)
    return frozenset(each.removeprefix("xbench.") for each in found if each.removeprefix("xbench.") != name)


def ours(name: str) -> set[str]:
    return {each for each in imported(name) if each in MODULES}


def room(name: str) -> str:
    return name.partition(".")[0]


def test_the_table_names_every_room() -> None:
    assert {room(name) for name in MODULES} == set(FLOORS)


@pytest.mark.parametrize("name", FLOORS)
def test_a_room_imports_what_the_table_says(name: str) -> None:
    found = {room(each) for inner in MODULES if room(inner) == name for each in ours(inner)} - {name}
    assert found == FLOORS[name]


def test_no_room_imports_one_above_it() -> None:
    rooms = list(FLOORS)
    for name, below in FLOORS.items():
        assert below <= set(rooms[: rooms.index(name)])


def test_no_modules_import_each_other_in_a_circle() -> None:
    # A package that gathers its members' names imports them, and they import it for none of their own.
    TopologicalSorter({name: ours(name) for name in MODULES}).prepare()


def test_every_import_of_a_module_names_one() -> None:
    # `xbench` gives its public names lazily, so a type checker takes any name for one of them.
    public = set(xbench.__all__)
    for path in (
        each for folder in ("xbench", "tests", "experiments") for each in (PACKAGE.parent / folder).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "xbench":
                names = {alias.name for alias in node.names}
                assert not {name for name in names - public if name not in MODULES and name not in ROOMS}, path


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in WITHOUT_TORCH])
def test_rooms_without_torch_import_none(name: str) -> None:
    roots = {each.partition(".")[0] for each in imported(name)}
    assert "torch" not in roots or name in USES_TORCH


def test_names_are_read_without_torch() -> None:
    # What these import must not import it either: the command checks its arguments and prints stored tables with them.
    names = (
        "config.keys",
        "config.compose",
        "core.names",
        "modalities",
        "store.store",
        "tables.stored",
        "report.build",
    )
    code = "".join(f"import xbench.{name}\n" for name in names) + "import sys\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_python_functions_leave_the_rooms_of_the_command_alone() -> None:
    # The command caches data sets and models in `run`; a notebook that explains a model keeps none of them.
    code = (
        "import sys, torch, xbench\nmodel, x = torch.nn.Linear(2, 2), torch.ones(3, 2)\n"
        "maps = xbench.attribute(model, x, 'saliency', target=0)\n"
        "assert torch.equal(maps, model.weight[0].detach().abs().expand(3, 2))\n"
        "xbench.measure(model, x, 'saliency', 'infidelity', target=0)\n"
        "print({name.split('.')[1] for name in sys.modules if name.startswith('xbench.')})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known = {"api", *FLOORS["api"]}
    for _ in FLOORS:
        known |= {below for name in known for below in FLOORS[name]}
    assert ast.literal_eval(done.stdout) <= known


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in FORMULAS])
def test_formulas_do_not_know_how_they_are_run(name: str) -> None:
    assert not [each for each in imported(name) if each.startswith(("hydra", "omegaconf", "torch.cuda"))]
