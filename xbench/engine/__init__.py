"""Runs plans: rows from a memory budget, out-of-memory recovery, counting. The only place that calls the model."""

from xbench.engine.counters import Counters
from xbench.engine.engine import Engine, NonFiniteError
from xbench.engine.memory import OutOfMemory, parse_bytes
from xbench.engine.subject import NoGradientError, Subject

__all__ = ["Counters", "Engine", "NoGradientError", "NonFiniteError", "OutOfMemory", "Subject", "parse_bytes"]
