"""Models: each source is a cheap dataclass, named by `_target_`, whose `load(dataset)` returns a `Model`."""

from xbench.models.record import Encoded, Model

__all__ = ["Encoded", "Model"]
