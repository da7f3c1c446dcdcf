"""Switches features between the sample and its baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from xbench.core.case import Case
from xbench.core.needs import NotApplicable


def coalition(case: Case, x: Tensor, present: Tensor) -> Tensor:
    """The sample's value where a feature is present, the baseline's where it is absent, (n, d).

    `present`: (n, K) bool. Elements outside any feature keep the sample's value. Values are selected, not computed, so
    an infinite or NaN baseline of a present feature has no effect.
    """
    feature, outside = case.membership
    keep = present.gather(1, feature.expand(len(x), -1))
    return torch.where(keep if outside is None else keep | outside, x, case.baseline(x))


def blend(case: Case, x: Tensor, mask: Tensor) -> Tensor:
    """Interpolate: the sample where the mask (n, d) is 1, its baseline where it is 0, a mixture in between, (n, d).

    Elements outside any feature keep the sample's value. An infinite baseline has no effect where the mask is 1.
    """
    mask = mask.masked_fill(case.features < 0, 1)
    x0 = case.baseline(x)
    return torch.where(mask == 1, x, torch.where(mask == 0, x0, x0 + mask * (x - x0)))


def to_elements(case: Case, values: Tensor, x: Tensor) -> Tensor:
    """Expand values of features, (n, K), to their elements, (n, d); 0 outside any feature."""
    spread = values.gather(1, case.features.clamp(min=0).expand(len(x), -1))
    return torch.where(case.features >= 0, spread, torch.zeros_like(spread))


def value_dtype(x: Tensor) -> torch.dtype:
    """The type of maps computed from model outputs: the sample's type, or float32 for integer samples."""
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()


def numbers(values: Tensor, label: str) -> Tensor:
    """Model outputs for arithmetic outside torch. Raises ValueError under create_graph, as the graph would be lost."""
    if values.requires_grad:
        raise ValueError(f"create_graph: {label} computes outside of torch, its maps have no gradient")
    return values.double().cpu()


def require_few_features(case: Case, limit: int) -> None:
    """NotApplicable where every sample has more features than the limit of a method that evaluates each of them."""
    least = int(case.counts.min())
    if least > limit:
        raise NotApplicable(f"needs at most {limit} features (max_features): every sample has {least} or more")


def require_features(case: Case) -> None:
    """Raise ValueError if a sample has no feature to switch."""
    empty = (case.counts == 0).nonzero().flatten().tolist()
    if empty:
        names = ", ".join(case.draws.ids[i] for i in empty[:5])
        raise ValueError(f"{len(empty)} sample(s) have no features ({names}): every group id is negative")
