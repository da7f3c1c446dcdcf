"""Finds external functions and determines the arguments that they take."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from xbench.config import sources

OFFERED = ("target", "baselines", "extra", "features", "seed")


def as_tuples(value: Any) -> Any:  # noqa: ANN401  (any YAML value)
    """Convert YAML's lists to the tuples that libraries expect."""
    if isinstance(value, Mapping):
        return {key: as_tuples(inner) for key, inner in value.items()}
    return tuple(as_tuples(inner) for inner in value) if isinstance(value, (list, tuple)) else value


def passed(function: Callable[..., object], kwargs: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How many of (model, inputs, target) are passed by position, and which offered arguments by name.

    Arguments that `kwargs` or a partial already fix are not passed.
    """
    try:
        known = list(inspect.signature(function).parameters.values())
    except ValueError:  # a builtin without a signature
        return 3, []
    fixed = {*kwargs, *(function.keywords if isinstance(function, partial) else ())}
    named = [p.name for p in known if p.name in OFFERED and p.name not in fixed and p.kind is not p.POSITIONAL_ONLY]
    positional = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    third = positional[2] if len(positional) > 2 else next((p for p in known if p.kind is p.VAR_POSITIONAL), None)
    if third is None or third.name in (*named, *fixed) or third.default is not third.empty or "target" in named:
        return 2, named
    return 3, named


def find(path: str) -> Any:  # noqa: ANN401  (any object)
    """The object named by "package.module:name"."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"function: expected 'package.module:name', got {path!r}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # as under `python -m xbench`
    sources.note(module)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # an import inside the module failed
        where = "neither installed nor in the working directory"
        raise ImportError(f"function: there is no module {error.name!r} (in {path!r}): it is {where}") from None
    sources.check()
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"function: {module} has no {name!r}")
        found = getattr(found, part)
    return found
