"""The importance of features over a whole data set: the change of a score of the model's outputs without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from xbench.algorithms.base import Algorithm
from xbench.core.plan import Plan, Want
from xbench.core.plan import values as scores_of
from xbench.explain.explainer import Explainer
from xbench.explain.problem import AnyModel, Baselines, Inputs, OneOrMany
from xbench.explain.request import Request, as_module, on_device

Score = Callable[..., Tensor]
EXPLAINED, GIVEN, KEPT = 0, 1, 2  # Captum's InputRole


@dataclass(frozen=True)
class Importance:
    """The features' mean contribution to a score, each in the shape of one sample.

    Attributes:
        values: mean over samples of score - score without the feature; every element carries its feature's value.
        errors: standard errors of `values` (from the spread between samples).
        score: the mean score of the unchanged data.
        n: number of samples.
    """

    values: OneOrMany
    errors: OneOrMany
    score: float
    n: int


class Scored(nn.Module):
    """A model followed by a score of its outputs: (parts of a batch, by role) -> (rows,)."""

    def __init__(self, model: nn.Module, score: Score, roles: Sequence[int]) -> None:
        super().__init__()
        self.model, self.score, self.roles = model, score, tuple(roles)

    def forward(self, *parts: Tensor) -> Tensor:
        order = sorted(range(len(self.roles)), key=lambda place: self.roles[place])
        by_place = dict(zip(order, parts, strict=True))
        output = self.model(*[by_place[i] for i, role in enumerate(self.roles) if role != KEPT])
        made = self.score(output, *[by_place[i] for i, role in enumerate(self.roles) if role == KEPT])
        rows = len(parts[0])
        if not isinstance(made, Tensor) or made.shape[:1] != (rows,) or made.numel() != rows:
            got = f"shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(f"score: gave {got} for {rows} samples; expected a number for each, which are averaged")
        return made.reshape(rows) if made.is_floating_point() else made.reshape(rows).to(torch.get_default_dtype())


def importance(
    model: AnyModel,
    data: Iterable[object],
    algorithm: Algorithm | str = "feature_permutation",
    *,
    score: Score,
    input_roles: Sequence[int] | None = None,
    baselines: Baselines = None,
    features: Inputs | None = None,
    seed: int = 0,
    memory: int | str | None = None,
    devices: str | torch.device | None = None,
    rows: int | None = None,
    pool: int = 1024,
) -> Importance:
    """The contribution of each feature to the mean score of a data set.

    With `FeaturePermutation` it is permutation importance, with `FeatureAblation` the score's drop at a baseline; any
    other algorithm explains each sample's score. Batches are read twice and not kept: memory does not grow with the
    data. Source: Breiman 2001, "Random Forests"; Fisher, Rudin, Dominici 2019 (arXiv 1801.01489).

    Args:
        model: a module or a function of tensors.
        data: batches, a `DataLoader` or any repeatable iterable: tensors, or tuples or lists of them.
        algorithm: an instance, or a name in conf/.
        score: `score(output, *labels)` returns a number per sample, (m,), such as
            `lambda output, y: output.argmax(1) == y`; if lower is better (a loss), importances are negative.
        input_roles: roles of the parts of a batch, as in Captum: 0 is explained, 1 is passed to the model only, 2 to
            `score` only. None: the last of several parts is the label, the others are explained.
        baselines: as in `xbench.attribute`: numbers or tensors (1, ...).
        features: integer group ids (1, ...) per explained input.
        seed, memory, devices, rows: as in `xbench.attribute`.
        pool: number of random samples of the whole data set that provide features in permutations, in addition to the
            batch. A data set of at most this size is permuted as a whole.

    Raises:
        ValueError, TypeError: there is no data, a batch does not fit the roles, or the score is not a number per
        sample.
    """
    from xbench.api import as_algorithm

    chosen = as_algorithm(algorithm)
    if chosen.facts.per_feature:
        raise ValueError("return_input_shape=False gives values of features; importances have the shape of a sample")
    total, kept = _pool(data, pool, seed)
    whole = total <= len(kept[0])
    roles = _roles(kept, input_roles)
    scored = Scored(on_device(as_module(model), devices), score, roles)
    order = sorted(range(len(roles)), key=lambda place: roles[place])
    explained = roles.count(EXPLAINED)
    means, value, layout, done = _Mean(), _Mean(), None, 0
    for batch in [kept] if whole else _batches(data):
        m = len(batch[0])
        parts = [batch[i] if whole else torch.cat([batch[i], kept[i]]) for i in order]
        ids = [str(done + i) for i in range(m)] + [f"pool {i}" for i in range(len(parts[0]) - m)]
        setting = Request(
            scored, tuple(parts[:explained]), baselines=baselines, extra=tuple(parts[explained:]), features=features,
            seed=seed, ids=tuple(ids), memory=memory, rows=rows,
        )  # fmt: skip
        explainer = Explainer(setting)
        layout = explainer.subject.layout
        means.add(explainer.attribute(chosen, share=slice(0, m)))
        plain = explainer.case(distribution=False)
        value.add(explainer.run(_as_they_are, plain, explainer.x, share=slice(0, m)))
        done += m
    assert layout is not None, "a pool is never empty"
    shaped = [tuple(t[0] for t in layout.maps(flat[None])) for flat in (means.mean, means.error)]
    values, errors = (each[0] if explained == 1 else each for each in shaped)
    return Importance(values, errors, float(value.mean), done)


def _as_they_are(_: object, x: Tensor) -> Plan:
    return Plan([x], 1, Want.VALUE, scores_of)


class _Mean:
    """Mean and standard error over batches of rows, by the recurrence of Chan, Golub and LeVeque 1979."""

    def __init__(self) -> None:
        self.n, self.mean, self._square = 0, torch.zeros(()), torch.zeros(())

    def add(self, rows: Tensor) -> None:
        rows = rows.detach().double().cpu()
        m, mean = len(rows), rows.mean(0)
        step, n = mean - self.mean, self.n + m
        self._square = self._square + (rows - mean).square().sum(0) + step.square() * self.n * m / n
        self.mean, self.n = self.mean + step * m / n, n

    @property
    def error(self) -> Tensor:
        """The standard error; NaN for one row."""
        return (self._square / (self.n - 1) / self.n).sqrt() if self.n > 1 else torch.full_like(self.mean, torch.nan)


def _batches(data: Iterable[object]) -> Iterator[tuple[Tensor, ...]]:
    for batch in data:
        parts = (batch,) if isinstance(batch, Tensor) else tuple(batch) if isinstance(batch, (tuple, list)) else ()
        if not parts or any(not isinstance(p, Tensor) or p.dim() == 0 or len(p) != len(parts[0]) for p in parts):
            raise TypeError(
                "data: expected batches of tensors with the samples in their first dimension, or tuples or lists of "
                f"them, got {type(batch).__name__}"
            )
        yield parts


def _pool(data: Iterable[object], size: int, seed: int) -> tuple[int, tuple[Tensor, ...]]:
    """The number of samples, and `size` of them drawn uniformly (all if there are fewer)."""
    if size < 1:
        raise ValueError(f"pool: expected at least 1 sample, got {size}")
    draws, kept, total = np.random.default_rng(seed), list[tuple[Tensor, ...]](), 0
    for batch in _batches(data):
        for sample in zip(*batch, strict=True):
            place = total if total < size else int(draws.integers(total + 1))
            total += 1
            if place < len(kept):
                kept[place] = tuple(part.clone() for part in sample)
            elif place < size:
                kept.append(tuple(part.clone() for part in sample))
    if not total:
        raise ValueError("data: there is no sample (an iterator is used up by its first reading: give a DataLoader)")
    return total, tuple(torch.stack(parts) for parts in zip(*kept, strict=True))


def _roles(batch: Sequence[Tensor], given: Sequence[int] | None) -> list[int]:
    roles = [EXPLAINED] * max(1, len(batch) - 1) + [KEPT] * (len(batch) > 1) if given is None else list(given)
    if len(roles) != len(batch) or EXPLAINED not in roles or not set(roles) <= {EXPLAINED, GIVEN, KEPT}:
        raise ValueError(
            f"input_roles: expected 0, 1 or 2 for each of the {len(batch)} parts of a batch, 0 among them, got {roles}"
        )
    return roles
