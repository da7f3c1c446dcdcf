"""Random perturbations of a sample: Gaussian noise, removed squares, removed features, a removed stretch of time.

Each draw is keyed by (seed, sample, draw index): all algorithms are measured on the same draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.draws import Draws
from xbench.core.masking import require_features


class Draw(ABC):
    """One perturbation x' = x - I of every sample; its three forms are computed on demand."""

    @property
    @abstractmethod
    def perturbed(self) -> Tensor:
        """x', (n, d)."""

    @property
    @abstractmethod
    def shift(self) -> Tensor:
        """I, (n, d), the factor of a local map (a slope)."""

    @property
    @abstractmethod
    def share(self) -> Tensor:
        """I / (x - x0), (n, d), the factor of a global map (already multiplied by x - x0)."""


@dataclass(frozen=True)
class _Around:
    """What all noise of the same samples shares."""

    x: Tensor
    x0: Tensor

    @cached_property
    def difference(self) -> Tensor:
        """x - x0, (n, d). As in Captum: where the sample equals its baseline, a global map is not divided."""
        difference = self.x - self.x0
        return torch.where(difference == 0, torch.ones_like(difference), difference)


@dataclass(frozen=True)
class _Noise(Draw):
    """x' = x - noise."""

    around: _Around
    noise: Tensor

    @property
    def perturbed(self) -> Tensor:
        return self.around.x - self.noise

    @property
    def shift(self) -> Tensor:
        return self.noise

    @property
    def share(self) -> Tensor:
        return self.noise / self.around.difference


@dataclass(frozen=True)
class _Removed(Draw):
    """The baseline where `mask` (n, d) is True: I = x - x0 there, 0 elsewhere."""

    x: Tensor
    x0: Tensor
    mask: Tensor

    @property
    def perturbed(self) -> Tensor:
        return torch.where(self.mask, self.x0, self.x)

    @property
    def shift(self) -> Tensor:
        return torch.where(self.mask, self.x - self.x0, torch.zeros_like(self.x))

    @property
    def share(self) -> Tensor:
        return self.mask.to(self.x.dtype)


class Perturbation(ABC):
    """Base of the perturbations."""

    @abstractmethod
    def draw(self, case: Case, x: Tensor, index: int) -> Draw:
        """Perturbation number `index` of every sample."""

    def draws(self, case: Case, x: Tensor, count: int) -> Iterator[Draw]:
        """Perturbations 0, ..., count - 1 of every sample, in order."""
        return (self.draw(case, x, index) for index in range(count))

    @property
    @abstractmethod
    def label(self) -> str:
        """The perturbation's name in tables."""

    def describe(self, case: Case) -> str:
        """The perturbation's effect on these samples, for tables."""
        return self.label


@dataclass(frozen=True)
class GaussianNoise(Perturbation):
    """I = stdev * range * N(0, 1) per element, the noisy-copy perturbation of Yeh et al. 2019.

    Elements outside any feature (padding) stay as they are.

    Args:
        stdev: standard deviation as a share of each sample's range max - min (absolute when `relative` is False).
        relative: whether `stdev` is a share of the range.
    """

    stdev: float = 0.2
    relative: bool = True

    def __post_init__(self) -> None:
        if not self.stdev > 0:
            raise ValueError(f"stdev: expected a positive number, got {self.stdev}")

    @property
    def label(self) -> str:
        return f"Gaussian noise, sd {self.stdev:g}{' of the range' if self.relative else ''}"

    def draw(self, case: Case, x: Tensor, index: int) -> Draw:
        return next(self._drawn(case, x, range(index, index + 1)))

    def draws(self, case: Case, x: Tensor, count: int) -> Iterator[Draw]:
        return self._drawn(case, x, range(count))

    def _drawn(self, case: Case, x: Tensor, indices: range) -> Iterator[Draw]:
        require_continuous(case, "Gaussian noise")
        scale = self.stdev * case.ranges(x) if self.relative else self.stdev
        real, around = case.features >= 0, _Around(x, case.baseline(x))
        for index in indices:
            yield _Noise(around, scale * _NORMAL.of(case.draws, index, x) * real)


class Removal(Perturbation):
    """Base of the perturbations that put a region at its baseline: I = x - x0 there, 0 elsewhere."""

    @abstractmethod
    def mask(self, case: Case, x: Tensor, index: int) -> Tensor:
        """The mask of removed elements, (n, d) bool."""

    def draw(self, case: Case, x: Tensor, index: int) -> Draw:
        return _Removed(x, case.baseline(x), self.mask(case, x, index))


@dataclass(frozen=True)
class SquareRemoval(Removal):
    """A random square (all channels) set to the baseline, the image perturbation of Yeh et al. 2019.

    Args:
        sizes: side lengths to draw from; None is 1 up to a third of the image's shorter side (1 to 10 at 28 pixels).
    """

    sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None and (not self.sizes or any(int(s) != s or s < 1 for s in self.sizes)):
            raise ValueError(f"sizes: expected positive whole side lengths, got {self.sizes}")

    @property
    def label(self) -> str:
        sides = f" of side {', '.join(map(str, self.sizes))}" if self.sizes else ""
        return f"removed squares{sides}"

    def mask(self, case: Case, x: Tensor, index: int) -> Tensor:
        shapes = case.layout.shapes
        if len(shapes) != 1 or len(shapes[0]) < 2:
            raise ValueError(f"square removal needs one image-like input (..., H, W), got shapes {list(shapes)}")
        height, width = shapes[0][-2:]
        short = min(height, width)
        sizes = self.sizes or tuple(range(1, max(1, -(-short // 3)) + 1))
        if max(sizes) > short:
            raise ValueError(f"sizes: a square of side {max(sizes)} is larger than the image {height}x{width}")
        top, left, side = _squares(case.draws, index, sizes, height, width).T[:, :, None]
        rows, columns = (
            (start <= place) & (place < start + side)
            for start, place in ((top, torch.arange(height)), (left, torch.arange(width)))
        )
        square = (rows[:, :, None] & columns[:, None, :]).to(x.device)
        channels = shapes[0][:-2].numel()
        erased: Tensor = square[:, None].expand(len(x), channels, height, width).flatten(1)
        return erased


@dataclass(frozen=True)
class FeatureRemoval(Removal):
    """A random set of features (masked tokens, patches, columns, dropped edges) set to the baseline.

    Args:
        share: share of a sample's features to remove, at least one; None: the size of the set is uniform on 1..K.
    """

    share: float | None = None

    def __post_init__(self) -> None:
        _check_share(self.share)

    @property
    def label(self) -> str:
        return f"removed features{_much(self.share)}"

    def describe(self, case: Case) -> str:
        return f"removed {case.called}{_much(self.share)}"

    def mask(self, case: Case, x: Tensor, index: int) -> Tensor:
        require_features(case)
        removed = _subsets(case.draws, index, tuple(case.counts.tolist()), self.share).to(x.device)
        return removed.gather(1, case.features.clamp(min=0).expand(len(x), -1)) & (case.features >= 0)


@dataclass(frozen=True)
class TimeRemoval(Removal):
    """One stretch of time, all channels, set to the baseline: time masking.

    For series and waveforms (C, T), clips (C, T, H, W), token ids (T,) and their vectors (T, D), without padding.
    Source: Park et al. 2019, "SpecAugment" (arXiv 1904.08779).

    Args:
        share: share of the steps to remove, at least one; None: their number is uniform on 1..T.
    """

    share: float | None = None

    def __post_init__(self) -> None:
        _check_share(self.share)

    @property
    def label(self) -> str:
        return "a removed stretch of time" + ("" if self.share is None else f", {100 * self.share:g}% of it")

    def mask(self, case: Case, x: Tensor, index: int) -> Tensor:
        require_features(case)
        shape, axis = _time(case)
        steps = torch.arange(shape[axis]).reshape(-1, *[1] * (len(shape) - 1 - axis)).expand(shape).flatten()
        real = torch.zeros(len(x), shape[axis], dtype=torch.bool)
        members = (case.features >= 0).cpu().expand(len(x), -1)
        real = real.scatter_reduce(1, steps.expand(len(x), -1), members, "amax")
        removed = torch.zeros_like(real)
        for row, rng in enumerate(case.draws.of_samples("perturbation", index)):
            places = real[row].nonzero().flatten()
            size = _size(rng, len(places), self.share)
            start = int(rng.integers(len(places) - size + 1))
            removed[row, places[start : start + size]] = True
        return removed[:, steps].to(x.device) & (case.features >= 0)


# All algorithms of a comparison use the same draws, so the latest draws are cached.
class NormalDraws:
    """Standard normal numbers: of the latest samples, as many draws as fit into `most` bytes are kept."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[tuple[Draws, int, torch.Size, torch.dtype], Tensor] = {}
        self._latest: Draws | None = None

    def of(self, draws: Draws, index: int, like: Tensor) -> Tensor:
        """Draw `index`, with the shape, type and device of `like`."""
        if draws != self._latest:
            self._kept, self._latest = {}, draws
        key = draws, index, like.shape, like.dtype
        found = self._kept.get(key)
        if found is None:
            found = draws.normal("perturbation", index, torch.empty_like(like, device="cpu"))
            # The first draws stay: if each pushed out an older one, none would be left for the next algorithm.
            if sum(kept.nbytes for kept in self._kept.values()) + found.nbytes <= self.most:
                self._kept[key] = found
        return found.to(like.device)


_NORMAL = NormalDraws(64 * 2**20)


@lru_cache(maxsize=256)
def _squares(draws: Draws, index: int, sizes: tuple[int, ...], height: int, width: int) -> Tensor:
    """A square for every sample: top, left and side, (n, 3)."""
    drawn = []
    for rng in draws.of_samples("perturbation", index):
        side = sizes[rng.integers(len(sizes))]
        drawn.append((rng.integers(height - side + 1), rng.integers(width - side + 1), side))
    return torch.tensor(drawn)


@lru_cache(maxsize=256)
def _subsets(draws: Draws, index: int, counts: tuple[int, ...], share: float | None) -> Tensor:
    """A random set of every sample's features, (n, K) bool."""
    chosen = np.zeros((len(counts), max(counts)), dtype=bool)
    for row, rng in enumerate(draws.of_samples("perturbation", index)):
        size = _size(rng, counts[row], share)
        chosen[row, rng.permutation(counts[row])[:size]] = True
    return torch.from_numpy(chosen)


def _time(case: Case) -> tuple[torch.Size, int]:
    """The shape of the single tensor, and the index of its time dimension."""
    shapes = case.layout.shapes
    axis = {1: 0, 2: 0 if case.channels_last else 1, 4: 1}.get(len(shapes[0])) if len(shapes) == 1 else None
    if axis is None:
        raise ValueError(
            f"time removal needs one series, waveform, text or clip, got shapes {list(map(tuple, shapes))}"
        )
    return shapes[0], axis


def _size(rng: np.random.Generator, most: int, share: float | None) -> int:
    """The number to remove out of `most`."""
    return int(rng.integers(1, most + 1)) if share is None else max(1, round(share * most))


def _check_share(share: float | None) -> None:
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share: expected a number in (0, 1] or null, got {share}")


def _much(share: float | None) -> str:
    return "" if share is None else f", {100 * share:g}% of them, at least one"


def require_continuous(case: Case, what: str) -> None:
    """Raise ValueError if samples are integers: a token id has no neighbours."""
    if not case.layout.differentiable:
        types = ", ".join(map(str, case.layout.dtypes))
        raise ValueError(
            f"{what} cannot be added to inputs of type {types}; name a layer such as the embedding as site"
        )


def by_name(given: Perturbation | str | None, known: Mapping[str, Callable[[], Perturbation]]) -> Perturbation | None:
    """A perturbation given as an object or by name. Raises ValueError for an unknown name."""
    if not isinstance(given, str):
        return given
    if given not in known:
        raise ValueError(f"perturbation: expected {', '.join(known)} or null, got {given!r}")
    return known[given]()


def default_for(case: Case) -> Perturbation:
    """Squares for an image (C, H, W), random sets of features for everything else."""
    image = len(case.layout.shapes) == 1 and len(case.layout.shapes[0]) == 3
    return SquareRemoval() if image else FeatureRemoval()
