"""Runs plans: rows from a memory budget, out-of-memory recovery, counting. The only place that calls the model."""

from xbench.engine.counters import Counters
from xbench.engine.engine import Engine, MakePlan
from xbench.engine.evaluation import NonFiniteError
from xbench.engine.memory import OutOfMemory, parse_bytes
from xbench.engine.subject import NoGradientError, Subject, follows

__all__ = [
    "Counters",
    "Engine",
    "MakePlan",
    "NoGradientError",
    "NonFiniteError",
    "OutOfMemory",
    "Subject",
    "follows",
    "parse_bytes",
]
