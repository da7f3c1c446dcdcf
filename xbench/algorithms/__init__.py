"""Attribution algorithms, one file each; names and parameters are Captum's where the meaning is."""

from xbench.algorithms.base import Algorithm, Facts, Need, NotApplicable
from xbench.algorithms.controls import Constant, Random
from xbench.algorithms.deconvolution import Deconvolution
from xbench.algorithms.deeplift import DeepLift
from xbench.algorithms.deeplift_shap import DeepLiftShap
from xbench.algorithms.feature_ablation import FeatureAblation
from xbench.algorithms.gradient_shap import GradientShap
from xbench.algorithms.guided_backprop import GuidedBackprop
from xbench.algorithms.input_x_gradient import InputXGradient
from xbench.algorithms.integrated_gradients import IntegratedGradients
from xbench.algorithms.kernel_shap import KernelShap
from xbench.algorithms.lrp import LRP
from xbench.algorithms.noise_tunnel import NoiseTunnel
from xbench.algorithms.occlusion import Occlusion
from xbench.algorithms.saliency import Saliency

__all__ = [
    "LRP",
    "Algorithm",
    "Constant",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "Facts",
    "FeatureAblation",
    "GradientShap",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "Need",
    "NoiseTunnel",
    "NotApplicable",
    "Occlusion",
    "Random",
    "Saliency",
]
