"""What must be known of Captum's methods, which do not tell it themselves."""

from __future__ import annotations

from dataclasses import dataclass

from xbench.algorithms.base import Need


@dataclass(frozen=True)
class Method:
    """What must be known of a method: see `Facts`. `grouped`: one value per feature, given to all its elements."""

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
    "IntegratedGradients": Method("Integrated Gradients", "Sundararajan et al. 2017", complete=True),
    # Not complete: functional operations and products get plain gradients there (reference: docs/captum.md).
    "DeepLift": Method("DeepLIFT", "Shrikumar et al. 2017", _MODULE),
    "DeepLiftShap": Method("DeepLiftShap", "Lundberg, Lee 2017", _MODULE, distribution=True),
    "GradientShap": Method("Gradient SHAP", "Erion et al. 2021", stochastic=True, distribution=True),
    "Saliency": Method("Saliency", "Simonyan et al. 2013", local=True),
    "InputXGradient": Method("Input x gradient", "Shrikumar et al. 2016"),
    "GuidedBackprop": Method("Guided Backprop", "Springenberg et al. 2014", _MODULE, local=True),
    "Deconvolution": Method("Deconvolution", "Zeiler, Fergus 2014", _MODULE, local=True),
    "LRP": Method("LRP", "Bach et al. 2015", _MODULE),
    "FeatureAblation": Method("Feature Ablation", "Zeiler, Fergus 2014", (), grouped=True),
    "Occlusion": Method("Occlusion", "Zeiler, Fergus 2014", (), required=("sliding_window_shapes",)),
    "ShapleyValueSampling": Method(
        "Shapley sampling", "Castro et al. 2009", (), stochastic=True, complete=True, grouped=True
    ),
    "ShapleyValues": Method("Shapley values", "Shapley 1953", (), complete=True, grouped=True),
    "KernelShap": Method("Kernel SHAP", "Lundberg, Lee 2017", (), stochastic=True, grouped=True),
    "Lime": Method("LIME", "Ribeiro et al. 2016", (), stochastic=True, grouped=True),
}
