"""Folds batch-norms into the convolution before them, which saves one step in every forward and backward pass.

In evaluation mode y = (W x + b - mean) / sqrt(var + eps) * g + h is itself a convolution, with weights
W g / sqrt(var + eps). Pairs are found by watching one forward pass: the batch-norm's input is the convolution's output.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from xbench.core.plan import Rule
from xbench.engine.rewrites.twin import sites, twin, watch_once
from xbench.engine.subject import Subject

_CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(subject: Subject, samples: Tensor, rule: Rule | None) -> list[Subject]:
    """The subject with batch-norms folded, unless a site lies in between; empty if there is nothing to fold."""
    if subject.create_graph or not (rule is None or getattr(rule, "merges_affine", False)):
        return []
    if not any(type(module) in _NORMS for module in subject.model.modules()):
        return []
    model = twin(subject.model)
    watched = {(site.module(model), site.at) for site in sites(subject)}
    pairs = _pairs(replace(subject, model=model), samples[:1])
    pairs = [
        (first, norm) for first, norm in pairs if not {(first, "input"), (first, "output"), (norm, "input")} & watched
    ]
    if not pairs:
        return []
    identities: dict[nn.Module, nn.Module] = {}
    for first, norm in pairs:
        _fold(first, norm)
        identities[norm] = nn.Identity()
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if child is not None and child in identities:
                module._modules[name] = identities[child]  # names are kept: sites at the batch-norm are still found
    return [replace(subject, model=model)]


@dataclass
class _Calls:
    """The input and output of a module's calls, as (tensor, version); in-place writes raise the version."""

    took: list[tuple[Tensor, int]] = field(default_factory=list)
    gave: list[tuple[Tensor, int]] = field(default_factory=list)


def _pairs(subject: Subject, sample: Tensor) -> list[tuple[nn.Module, nn.Module]]:
    """(convolution or linear, batch-norm) that follow each other, each called once."""
    calls: dict[nn.Module, _Calls] = {}
    handles = []
    for module in subject.model.modules():
        if type(module) in (*_CONVOLUTIONS, nn.Linear, *_NORMS):
            seen = calls[module] = _Calls()

            def ended(_module: nn.Module, args: tuple[Tensor], output: Tensor, seen: _Calls = seen) -> None:
                seen.took.append((args[0], args[0]._version))
                seen.gave.append((output, output._version))

            handles.append(module.register_forward_hook(ended))
    watch_once(subject, sample, handles)
    once = {module: seen for module, seen in calls.items() if len(seen.gave) == 1}
    found = []
    for norm, seen in once.items():
        (took, version), *_ = seen.took
        before = [m for m, other in once.items() if other.gave[0][0] is took and other.gave[0][1] == version]
        if type(norm) in _NORMS and len(before) == 1 and _foldable(before[0], norm, took):
            found.append((before[0], norm))
    return found


def _foldable(first: nn.Module, norm: nn.Module, between: Tensor) -> bool:
    """Whether the batch-norm uses running statistics, and its channels are the first module's."""
    if type(first) in _NORMS or norm.running_mean is None:
        return False
    return type(first) in _CONVOLUTIONS or between.dim() == 2


def _fold(first: nn.Module, norm: nn.Module) -> None:
    assert isinstance(first, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear))
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    scale = torch.ones_like(var) if norm.weight is None else norm.weight  # without affine parameters
    shift = torch.zeros_like(mean) if norm.bias is None else norm.bias
    fuse = fuse_linear_bn_weights if isinstance(first, nn.Linear) else fuse_conv_bn_weights
    with torch.no_grad():
        weight, bias = fuse(first.weight, first.bias, mean, var, norm.eps, scale, shift)
    first.weight, first.bias = (nn.Parameter(t.detach(), requires_grad=False) for t in (weight, bias))
