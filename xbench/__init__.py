"""xbench compares attribution methods for PyTorch models.

The calls for a notebook are `attribute`, `measure`, and `inconsistencies`, which checks whether a model can be
explained; everything else is one command, `python -m xbench`.
Names are resolved on first use, so that `xbench --help` and tab completion do not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xbench.api import attribute, attribute_with_notes, inconsistencies, measure
    from xbench.engine.speed import Speed
    from xbench.over_data import importance
    from xbench.tables.stored import load_maps, results

__all__ = [
    "Speed", "attribute", "attribute_with_notes", "importance", "inconsistencies", "load_maps", "measure", "results",
]  # fmt: skip
_HOMES = {
    "Speed": "xbench.engine.speed",
    "attribute": "xbench.api",
    "attribute_with_notes": "xbench.api",
    "importance": "xbench.over_data",
    "inconsistencies": "xbench.api",
    "load_maps": "xbench.tables.stored",
    "measure": "xbench.api",
    "results": "xbench.tables.stored",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (a module attribute may be anything)
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("algorithms", "metrics", "datasets", "models"):
        return import_module(f"xbench.{name}")
    raise AttributeError(f"module 'xbench' has no attribute {name!r}")
