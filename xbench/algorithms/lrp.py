"""Layer-wise relevance propagation: distributes the output backwards layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.needs import Need
from xbench.core.plan import Answer, Plan, Want
from xbench.rules.lrp import Composite, LayerwiseRelevance, epsilon_plus


@dataclass(frozen=True)
class LRP(Algorithm):
    """R_i = sum_j R_j z_ij / sum_k z_kj, from the explained scalar down to where points enter.

    The rule of each layer defines z_ij, and the composite assigns rules to layers. Functions of one variable pass
    relevance on unchanged; a batch norm right after a layer is merged into it; sums distribute in proportion, products
    of two activations in halves. The map sums to the explained scalar minus the shares of biases, epsilon and softmax;
    the method has no baseline. An operation that combines the samples of a batch (x - x.max()) is refused if its result
    takes relevance. Rows per sample: 1 forward, 1 backward.
    Source: Bach et al. 2015, "On Pixel-wise Explanations for Non-Linear Classifier Decisions by Layer-wise Relevance
    Propagation" (PLOS ONE 10(7)); the papers of the rules are in `xbench.rules.lrp`.

    Args:
        composite: the assignment of rules to layers, such as `epsilon_plus()`, `attn_lrp()` or your own
            `Composite(...)`; on the command line `algorithm.lrp.composite._target_=xbench.rules.lrp.epsilon_plus_flat`.
        unknown: `raise` on an operation without a rule, or `warn` and distribute in proportion to x times gradient.
    """

    composite: Composite = field(default_factory=epsilon_plus)
    unknown: Literal["raise", "warn"] = "raise"

    def __post_init__(self) -> None:
        if not isinstance(self.composite, Composite):
            hint = "expected a composite such as epsilon_plus(), or Composite(convolution=rule, dense=rule)"
            raise TypeError(f"composite: {hint}, got {self.composite!r}")
        LayerwiseRelevance(self.composite, self.unknown)  # checks the parameter

    @property
    def facts(self) -> Facts:
        origin = (
            "Bach et al. 2015, On Pixel-wise Explanations for Non-Linear Classifier Decisions by Layer-wise Relevance "
            "Propagation, PLOS ONE 10(7)"
        )
        return Facts(
            self.composite.title,
            f"{origin}; {self.composite.source}" if self.composite.source else origin,
            needs=(Need.GRADIENT, Need.MODULE),
        )

    def plan(self, case: Case, x: Tensor) -> Plan:
        def relevance(answers: Iterator[Answer]) -> Tensor:
            answer = next(answers)
            return answer.slope * answer.value.unsqueeze(1)  # the rule starts at 1, relevance starts at f(x)

        return Plan([x], 1, Want.GRADIENT, relevance, rule=LayerwiseRelevance(self.composite, self.unknown))
