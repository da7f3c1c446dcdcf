"""Score-CAM: the channels of a layer, each weighted by the output for the sample masked with the channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.cam import ActivationMap, weighted
from xbench.algorithms.parts.positions import onto_samples
from xbench.core.case import Case
from xbench.core.masking import blend
from xbench.core.needs import Need, NotApplicable
from xbench.core.plan import Plan, Steps, Want, values


@dataclass(frozen=True)
class ScoreCam(ActivationMap):
    """phi = relu(sum_k w_k A_k), w = softmax over k of f(m_k x + (1 - m_k) x0), m_k = A_k enlarged, scaled to [0, 1].

    A constant channel has mask 0. (The paper's x0 is black, and the score of x0 that it subtracts cancels in the
    softmax. f is a logit unless `output` is set.)
    Rows per sample: 1 + the channels of the layer. The arguments are those of `ActivationMap`.
    Source: Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu 2020, "Score-CAM: Score-Weighted Visual Explanations for
    Convolutional Neural Networks" (arXiv 1910.01279), algorithm 1.
    """

    @property
    def facts(self) -> Facts:
        return Facts(
            "Score-CAM",
            "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu 2020, Score-CAM: Score-Weighted Visual Explanations for "
            "Convolutional Neural Networks, arXiv 1910.01279",
            needs=self.needs(Need.NUMBERS),
            reads_elsewhere=True,
        )

    def check(self, case: Case) -> None:
        super().check(case)
        shapes = self.shapes(case)
        if len(shapes) > 1 or len(shapes[0]) < 2:
            raise NotApplicable(
                f"needs one tensor of channels with positions, as masks: {self.site(case)} gives "
                f"{', '.join(str(tuple(shape)) for shape in shapes)}"
            )

    def plan(self, case: Case, x: Tensor) -> Steps:
        read = yield Plan([x], 1, Want.ACTIVATION, lambda answers: next(answers).level, read=self.site(case))
        (levels,) = self.unflat(case, read)
        shown = (blend(case, x, self._mask(case, levels[:, k])) for k in range(levels.shape[1]))
        scores = yield Plan(shown, levels.shape[1], Want.VALUE, values)
        return self.finished(case, [weighted(levels, scores.softmax(1).to(levels.dtype))])

    def _mask(self, case: Case, channel: Tensor) -> Tensor:
        """One channel (n, positions...) as a mask of the samples, (n, d)."""
        large = onto_samples(case, channel, self.interpolate_mode)
        low, high = large.amin(1, keepdim=True), large.amax(1, keepdim=True)
        span = high - low
        shows = span > 16 * torch.finfo(span.dtype).eps * torch.maximum(high.abs(), low.abs())  # more than rounding
        return torch.where(shows, (large - low) / torch.where(shows, span, 1), 0)
