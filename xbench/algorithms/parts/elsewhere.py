"""The base of algorithms that are code from elsewhere."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from xbench.algorithms.base import Algorithm
from xbench.core.case import Case
from xbench.core.plan import Steps
from xbench.core.question import Asking, Question, flat_maps


class ExternalAlgorithm(Algorithm):
    """Base of algorithms that are no plan of evaluations: code from elsewhere, which calls the model itself.

    It is handed the model in evaluation mode, with gradients switched on, seeded global generators and counted
    rows: forward rows are those that pass the model, backward rows those whose gradient comes back through its
    output. Chunking and recovery from out-of-memory errors are its own business.
    """

    @abstractmethod
    def explain(self, question: Question) -> object:
        """The maps, a tensor (or numpy array) in the shape of each of the question's inputs."""

    def plan(self, case: Case, x: Tensor) -> Steps:
        yield from ()  # it evaluates the model itself
        if not isinstance(case.places, Asking):
            raise TypeError(f"{self.facts.label} is no plan: it is explained by an Explainer")
        return flat_maps(case.places.ask(case, x, self.explain), case.layout, x, self.facts.label)
