"""The base of external algorithms."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.core.case import Case
from xbench.core.plan import ExternalCall
from xbench.core.question import Question


class ExternalAlgorithm(Algorithm):
    """Base of external algorithms: code that calls the model itself instead of giving a plan of evaluations.

    The code gets the model in evaluation mode, with gradients enabled, seeded global generators and counted rows:
    forward rows pass the model, backward rows return a gradient through its output. The code does its own chunking and
    out-of-memory recovery.
    """

    @abstractmethod
    def explain(self, question: Question) -> object:
        """The maps, a tensor (or numpy array) in the shape of each of the question's inputs."""

    def plan(self, case: Case, x: Tensor) -> ExternalCall:
        return ExternalCall(self.facts.label, case, x, self.explain)
