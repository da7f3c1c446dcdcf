"""How xbench is told to leave the model as it is."""

from __future__ import annotations

import xbench


def rewrites(wanted: bool) -> dict[str, object]:
    """Arguments of `xbench.attribute` with or without verified faster forms of the model; with is what users get."""
    return {} if wanted else {"speed": xbench.Speed(rewrites=False)}
