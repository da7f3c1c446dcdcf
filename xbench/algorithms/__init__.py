"""Attribution algorithms, one file each; names and parameters are Captum's where the meaning is."""

from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.controls import Constant, Random
from xbench.algorithms.deeplift import DeepLift
from xbench.algorithms.feature_ablation import FeatureAblation
from xbench.algorithms.gradient_shap import GradientShap
from xbench.algorithms.input_x_gradient import InputXGradient
from xbench.algorithms.integrated_gradients import IntegratedGradients
from xbench.algorithms.kernel_shap import KernelShap
from xbench.algorithms.noise_tunnel import NoiseTunnel
from xbench.algorithms.occlusion import Occlusion
from xbench.algorithms.saliency import Saliency

__all__ = [
    "Algorithm",
    "Constant",
    "DeepLift",
    "Facts",
    "FeatureAblation",
    "GradientShap",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "NoiseTunnel",
    "Occlusion",
    "Random",
    "Saliency",
]
