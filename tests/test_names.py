"""One name, one idea: no class or type has the name of another one in the package."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "xbench"


def named(tree: ast.Module) -> Iterator[str]:
    """The classes and type aliases of a module; a type variable is its module's own business."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            variable = isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"
            if name[0].isupper() and not name.isupper() and not variable:
                yield name


def test_no_class_or_type_is_named_twice() -> None:
    places = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in named(ast.parse(path.read_text())):
            places[name].append(str(path.relative_to(PACKAGE)))
    assert len(places) > 300
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
