"""Models: each source is a cheap dataclass named by `_target_` whose `load(dataset)` gives a `Model`."""

from xbench.models.record import Encoded, Model

__all__ = ["Encoded", "Model"]
