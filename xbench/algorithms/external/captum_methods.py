"""Facts about Captum's methods, which Captum does not expose, and conversions to the forms it takes."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xbench.core.needs import Need
from xbench.core.question import Question

PERMUTED = 8  # maximum number of features: 8! orders take 322,561 evaluations
KNOWN_WARNINGS = (  # harmless: changes to the model are undone, and several samples are explained one by one
    r"Setting (forward, )?backward hooks",
    r"(?s).*You are providing multiple inputs for Lime",
)


@dataclass(frozen=True)
class CaptumMethod:
    """Facts about a method, see `Facts`. `grouped`: one value per feature, repeated for its elements."""

    label: str
    source: str
    needs: tuple[Need, ...] = (Need.NUMBERS, Need.GRADIENT)
    local: bool = False
    stochastic: bool = False
    complete: bool = False
    distribution: bool = False
    grouped: bool = False
    required: tuple[str, ...] = ()


_MODULE = (Need.NUMBERS, Need.GRADIENT, Need.MODULE)
METHODS = {
    "IntegratedGradients": CaptumMethod("Integrated Gradients", "Sundararajan et al. 2017", complete=True),
    # Not complete: Captum gives functional operations and products plain gradients (see docs/captum.md).
    "DeepLift": CaptumMethod("DeepLIFT", "Shrikumar et al. 2017", _MODULE),
    "DeepLiftShap": CaptumMethod("DeepLiftShap", "Lundberg, Lee 2017", _MODULE, distribution=True),
    "GradientShap": CaptumMethod("Gradient SHAP", "Erion et al. 2021", stochastic=True, distribution=True),
    "Saliency": CaptumMethod("Saliency", "Simonyan et al. 2013", local=True),
    "InputXGradient": CaptumMethod("Input x gradient", "Shrikumar et al. 2016"),
    "GuidedBackprop": CaptumMethod("Guided Backprop", "Springenberg et al. 2014", _MODULE, local=True),
    "Deconvolution": CaptumMethod("Deconvolution", "Zeiler, Fergus 2014", _MODULE, local=True),
    "LRP": CaptumMethod("LRP", "Bach et al. 2015", _MODULE),
    "FeatureAblation": CaptumMethod("Feature Ablation", "Zeiler, Fergus 2014", (), grouped=True),
    "FeaturePermutation": CaptumMethod(
        "Feature Permutation", "Breiman 2001", (Need.SAMPLES,), stochastic=True, grouped=True
    ),
    "Occlusion": CaptumMethod("Occlusion", "Zeiler, Fergus 2014", (), required=("sliding_window_shapes",)),
    "ShapleyValueSampling": CaptumMethod(
        "Shapley sampling", "Castro et al. 2009", (), stochastic=True, complete=True, grouped=True
    ),
    "ShapleyValues": CaptumMethod("Shapley values", "Shapley 1953", (), complete=True, grouped=True),
    "KernelShap": CaptumMethod("Kernel SHAP", "Lundberg, Lee 2017", (), stochastic=True, grouped=True),
    "Lime": CaptumMethod("LIME", "Ribeiro et al. 2016", (), stochastic=True, grouped=True),
}


def neutral(question: Question) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Baselines and ids for a library without "no feature": such elements form one feature with baseline x."""
    outside = max(int(f.max()) for f in question.features) + 1
    inside = [f >= 0 for f in question.features]
    if all(bool(i.all()) for i in inside):
        return question.baselines, question.features
    baselines = zip(inside, question.baselines, question.inputs, strict=True)
    ids = zip(inside, question.features, strict=True)
    return tuple(torch.where(i, b, x) for i, b, x in baselines), tuple(f.where(i, outside) for i, f in ids)


def target_form(target: Any) -> Any:  # noqa: ANN401  (the user's form)
    """A target in Captum's form: the same as xbench's, except for a matrix and a list of one."""
    rows = target.tolist() if isinstance(target, Tensor) and target.dim() == 2 else target
    rows = rows[0] if isinstance(rows, list) and len(rows) == 1 else rows  # one for all samples
    return [tuple(row) if isinstance(row, list) else row for row in rows] if isinstance(rows, list) else rows


def version() -> str:
    """Captum's version. Raises ImportError with advice if it is not installed."""
    try:
        return importlib.metadata.version("captum")
    except importlib.metadata.PackageNotFoundError:
        line = "Captum is not installed, and xbench needs it nowhere else: pip install 'xbench[captum]'"
        raise ImportError(line) from None


def imported(method: str) -> Any:  # noqa: ANN401  (Captum ships no types)
    """The class of that name."""
    import captum.attr  # imported only on use

    return getattr(captum.attr, method)


def check_names(place: str, function: Callable[..., object], given: Mapping[str, Any]) -> None:
    """Raise ValueError if `given` has a name that the function does not take."""
    taken = [name for name in inspect.signature(function).parameters if name not in ("self", "kwargs")]
    for name in given:
        if name not in taken:
            raise ValueError(f"{place}: Captum's has no {name!r}; it takes {', '.join(taken)}")
