"""RISE: the mean of random masks, weighted by the output for the masked sample."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Size, Tensor
from torch.nn.functional import interpolate

from xbench.algorithms.base import Facts, at_least
from xbench.algorithms.parts.on_features import OnFeatures
from xbench.core.case import Case
from xbench.core.masking import blend, coalition, to_elements, value_dtype
from xbench.core.plan import Answer, Plan, Want


@dataclass(frozen=True)
class Rise(OnFeatures):
    """phi = E[f(x * m + x0 * (1 - m)) m] / p over random masks m with mean p.

    Images (C, H, W) are masked by a coarse random grid, enlarged bilinearly and shifted by a random part of a cell;
    other samples by switching features. To allow for the shift, the grid has one cell more along each side than fits
    the image. (The paper stretches a grid of `cells` to that length, and its f is a confidence: `output="probability"`
    here.) Rows per sample: n_samples.
    Source: Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation" (arXiv 1806.07421).

    Args:
        n_samples: number of masks per sample.
        cells: number of cells along each side of the coarse grid.
        p: probability that a cell, or a feature, is kept.
    """

    n_samples: int = 1000
    cells: int = 7
    p: float = 0.5

    def __post_init__(self) -> None:
        at_least("n_samples", self.n_samples, 1)
        at_least("cells", self.cells, 1)
        if not 0 < self.p < 1:
            raise ValueError(f"p: expected a probability between 0 and 1, got {self.p}")

    @property
    def facts(self) -> Facts:
        return Facts("RISE", "Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box "
                     "Models, arXiv 1806.07421", stochastic=True)  # fmt: skip

    def density(self, case: Case, maps: Tensor) -> Tensor:
        return maps if _images(case) else super().density(case, maps)

    def plan(self, case: Case, x: Tensor) -> Plan:
        waiting: deque[Tensor] = deque()

        def points() -> Iterator[Tensor]:
            for draw in range(self.n_samples):
                if _images(case):
                    mask = torch.cat([self._grid(case, draw, shape) for shape in case.layout.shapes], 1).to(x)
                    waiting.append(mask)
                    yield blend(case, x, mask)
                else:
                    present = self._kept(case, draw).to(x.device)
                    waiting.append(present)
                    yield coalition(case, x, present)

        def mean(answers: Iterator[Answer]) -> Tensor:
            total: Tensor | None = None
            for answer in answers:
                share = waiting.popleft() * answer.value.to(value_dtype(x))[:, None]
                total = share if total is None else total.add_(share)
            assert total is not None, "there is at least one mask"
            total /= self.n_samples * self.p
            return total.masked_fill(case.features < 0, 0) if _images(case) else to_elements(case, total, x)

        return Plan(points(), self.n_samples, Want.VALUE, mean)

    def _grid(self, case: Case, draw: int, shape: Size) -> Tensor:
        """Masks of the samples for one tensor (C, H, W), (n, C H W)."""
        channels, height, width = shape
        cell = -(-height // self.cells), -(-width // self.cells)
        masks = []
        for generator in case.draws.of_samples("grid", draw):
            grid = torch.from_numpy((generator.random((self.cells + 1,) * 2) < self.p).astype(np.float64))
            down, right = (int(generator.integers(side)) for side in cell)
            size = [(self.cells + 1) * side for side in cell]
            large = interpolate(grid[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
            masks.append(large[down : down + height, right : right + width])
        return torch.stack(masks).unsqueeze(1).expand(-1, channels, -1, -1).flatten(1)

    def _kept(self, case: Case, draw: int) -> Tensor:
        """The mask of kept features, (n, K)."""
        counts = case.counts.tolist()
        kept = np.zeros((len(counts), max(counts)), dtype=bool)
        for row, k, generator in zip(kept, counts, case.draws.of_samples("kept", draw), strict=True):
            row[:k] = generator.random(k) < self.p
        return torch.from_numpy(kept)


def _images(case: Case) -> bool:
    return case.layout.differentiable and all(len(shape) == 3 for shape in case.layout.shapes)
