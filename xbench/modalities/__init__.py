"""The kinds of data, one file each: a file here that holds a `MODALITY` is a modality of the file's name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from xbench.modalities.record import Modality

_OTHERS = ("record", "late")


def _found() -> Mapping[str, Modality]:
    names = sorted(each.name for each in iter_modules(__path__) if not each.ispkg and each.name not in _OTHERS)
    return MappingProxyType({name: import_module(f"{__name__}.{name}").MODALITY for name in names})


MODALITIES = _found()
FEATURES = tuple(dict.fromkeys(name for modality in MODALITIES.values() for name in modality.features))

__all__ = ["FEATURES", "MODALITIES", "Modality"]
