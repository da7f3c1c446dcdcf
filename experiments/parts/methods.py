"""Every method that both libraries have: how each is called, what it costs by its definition, whether maps must agree.

`peer` names Captum's class, its arguments and its chunk argument (None: it has none). `rows` is the nominal cost per
sample, in rows through the model, with or without a backward pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

import xbench
from experiments.parts.workloads import Workload
from xbench import algorithms as ours
from xbench.rules.lrp import epsilon_only

Chunk = Literal["internal_batch_size", "perturbations_per_eval", "nt_samples_batch_size"] | None


@dataclass(frozen=True)
class Method:
    """One method on one workload.

    Attributes:
        algorithm: xbench's.
        peer: the name of Captum's class.
        options: Captum's arguments of `attribute`.
        rows: nominal rows per sample; backward: whether each is also differentiated.
        given: xbench's further arguments of `attribute`.
        chunk: Captum's argument for the size of a pass.
        same: both define the same numbers; False: different random draws or estimators.
        whole: the nominal rows pass the whole model, so that efficiency has a meaning.
    """

    algorithm: ours.Algorithm
    peer: str
    options: Mapping[str, object]
    rows: int
    backward: bool
    given: Mapping[str, object] = field(default_factory=dict)
    chunk: Chunk = None
    same: bool = True
    whole: bool = True


def methods(w: Workload) -> dict[str, Method]:
    """The methods that make sense on a workload, by xbench's names."""
    steps, draws, k = w.steps, w.draws, w.n_features
    by_feature: dict[str, object] = {"features": w.features}
    masked: dict[str, object] = {"feature_mask": w.features}
    at_layer: dict[str, object] = {"layer": w.layer}
    read: dict[str, object] = {"read": w.layer}
    own = {"baselines": w.references}
    permutations = max(1, draws // 10)
    found = {
        "saliency": Method(ours.Saliency(), "Saliency", {}, 1, True),
        "input_x_gradient": Method(ours.InputXGradient(), "InputXGradient", {}, 1, True),
        "ig": Method(
            ours.IntegratedGradients(steps), "IntegratedGradients", {"n_steps": steps}, steps, True,
            chunk="internal_batch_size",
        ),
        "gradient_shap": Method(
            ours.GradientShap(draws), "GradientShap", {"n_samples": draws, **own}, draws, True, own, same=False
        ),
        "smoothgrad": Method(
            ours.NoiseTunnel(nt_samples=draws, stdevs=0.1), "NoiseTunnel",
            {"nt_samples": draws, "stdevs": 0.1, "abs": False}, draws, True,
            chunk="nt_samples_batch_size", same=False,
        ),
        "deeplift": Method(ours.DeepLift(), "DeepLift", {}, 2, True),
        "deeplift_shap": Method(ours.DeepLiftShap(), "DeepLiftShap", own, 2 * len(w.references), True, own),
        "guided_backprop": Method(ours.GuidedBackprop(), "GuidedBackprop", {}, 1, True),
        "deconvolution": Method(ours.Deconvolution(), "Deconvolution", {}, 1, True),
        "lrp": Method(ours.LRP(epsilon_only()), "LRP", {}, 1, True),
        "occlusion": Method(
            ours.Occlusion(w.windows, w.strides), "Occlusion",
            {"sliding_window_shapes": w.windows, "strides": w.strides}, w.n_windows + 1, False,
            chunk="perturbations_per_eval",
        ),
        "feature_ablation": Method(
            ours.FeatureAblation(), "FeatureAblation", masked, k + 1, False, by_feature, "perturbations_per_eval"
        ),
        "feature_permutation": Method(
            ours.FeaturePermutation(1), "FeaturePermutation", masked, k + 1, False, by_feature,
            "perturbations_per_eval", same=False,
        ),
        "shapley_sampling": Method(
            ours.ShapleyValueSampling(permutations), "ShapleyValueSampling", {"n_samples": permutations, **masked},
            2 + permutations * (k - 1), False, by_feature, "perturbations_per_eval", same=False,
        ),
        "kernel_shap": Method(
            ours.KernelShap(draws), "KernelShap", {"n_samples": draws, **masked}, draws, False, by_feature,
            "perturbations_per_eval", same=False,
        ),
        "lime": Method(
            ours.Lime(draws), "Lime", {"n_samples": draws, **masked}, draws, False, by_feature,
            "perturbations_per_eval", same=False,
        ),
        "layer_ig": Method(
            ours.IntegratedGradients(steps), "LayerIntegratedGradients", {"n_steps": steps}, steps, True, at_layer,
            "internal_batch_size", whole=False,
        ),
        "conductance": Method(
            ours.Conductance(steps, "riemann_left"), "LayerConductance", {"n_steps": steps}, steps + 1, True, read,
            "internal_batch_size", same=False, whole=False,
        ),
        "internal_influence": Method(
            ours.InternalInfluence(steps), "InternalInfluence", {"n_steps": steps}, steps, True, read,
            "internal_batch_size", whole=False,
        ),
    }  # fmt: skip
    if w.convolution is not None:
        found["gradcam"] = Method(
            ours.GradCam(layer=w.convolution), "LayerGradCam", {"relu_attributions": True}, 1, True, whole=False
        )
    return found


def chunks(method: Method, n: int) -> list[int]:
    """Values of Captum's chunk argument worth a try: from what it is by default to all at once."""
    if method.chunk == "internal_batch_size":
        candidates = [n * 2**i for i in range(9)]
        return [size for size in candidates if size < n * method.rows] + [n * method.rows]
    return [size for size in (1, 2, 4, 8, 16, 32, 64, 128) if size < method.rows] + [method.rows]


def ours_call(w: Workload, method: Method, further: Mapping[str, object]) -> Callable[[], Tensor]:
    """xbench's maps; `further` arguments of `attribute` are the same for all methods."""
    arguments = {"target": w.target, **method.given, **further}

    def run() -> Tensor:
        maps = xbench.attribute(w.model, w.x, method.algorithm, **arguments)  # type: ignore[arg-type]
        assert isinstance(maps, Tensor)
        return maps

    return run


def captums(w: Workload, method: Method, chunk: int | None) -> tuple[Any, dict[str, object]]:
    """Captum's object and the arguments of its `attribute`, with its own default chunk for None."""
    from captum import attr

    options = {"target": w.target, **method.options}
    if chunk is not None:
        assert method.chunk is not None
        options[method.chunk] = chunk
    kind = getattr(attr, method.peer)
    if method.peer == "NoiseTunnel":
        return kind(attr.Saliency(w.model)), options
    if method.peer.startswith("Layer") or method.peer == "InternalInfluence":
        layer = w.model.get_submodule(w.convolution or "" if method.peer == "LayerGradCam" else w.layer)
        return kind(w.model, layer), options
    return kind(w.model), options


def captums_call(w: Workload, method: Method, chunk: int | None) -> Callable[[], Tensor]:
    """Captum's maps, always from the same draws."""
    from captum import attr

    peer, options = captums(w, method, chunk)

    def run() -> Tensor:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            maps = peer.attribute(w.x, **options)
        if method.peer == "LayerGradCam":
            maps = attr.LayerAttribution.interpolate(maps, w.x.shape[2:], "bilinear")
        return maps[0] if isinstance(maps, tuple) else maps

    return run


def difference(mine: Tensor, theirs: Tensor) -> float:
    """Largest difference of the maps by the largest value of Captum's; NaN for other shapes."""
    if mine.dim() == theirs.dim():
        try:
            mine, theirs = torch.broadcast_tensors(mine.detach(), theirs.detach())
            return float((mine - theirs).abs().max() / theirs.abs().max())
        except RuntimeError:
            pass
    return float("nan")
