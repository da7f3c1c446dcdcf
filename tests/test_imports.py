"""Imports point one way: formulas do not know the engine, tables and report do not know torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "xbench"
FORMULAS = [*PACKAGE.glob("algorithms/**/*.py"), *PACKAGE.glob("metrics/**/*.py"), *PACKAGE.glob("rules/*.py")]
RENDERING = [
    *PACKAGE.glob("report/*.py"),
    *(PACKAGE / f"{name}.py" for name in ("tables", "stats", "comparison", "typeset", "latex", "store", "outcomes")),
]
MACHINERY = ("xbench.engine", "xbench.explain", "xbench.runner", "xbench.store", "xbench.cli", "hydra", "torch.cuda")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FORMULAS, ids=name)
def test_formulas_do_not_know_how_they_are_run(path: Path) -> None:
    assert not [module for module in imported(path) if module.startswith(MACHINERY)]


@pytest.mark.parametrize("path", RENDERING, ids=name)
def test_what_renders_the_store_does_not_know_torch(path: Path) -> None:
    assert not [module for module in imported(path) if module.split(".")[0] in ("torch", "hydra")]
