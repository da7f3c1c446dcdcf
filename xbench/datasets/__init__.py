"""Data sets: each source is a cheap dataclass, named by `_target_`, whose `load()` returns a `Dataset`."""

from xbench.datasets.record import Dataset, Split

__all__ = ["Dataset", "Split"]
