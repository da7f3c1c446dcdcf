"""Attribution algorithms, one file each; names and parameters are Captum's where the meaning is."""

from xbench.algorithms.ablation_cam import AblationCam
from xbench.algorithms.activation import Activation
from xbench.algorithms.attention_gradient_rollout import AttentionGradientRollout
from xbench.algorithms.attention_rollout import AttentionRollout
from xbench.algorithms.base import Algorithm, Facts
from xbench.algorithms.blur_ig import BlurIG
from xbench.algorithms.conductance import Conductance
from xbench.algorithms.controls import Constant, Edges, ExactMap, Inverse, Random, TrueMap
from xbench.algorithms.deconvolution import Deconvolution
from xbench.algorithms.deeplift import DeepLift
from xbench.algorithms.deeplift_shap import DeepLiftShap
from xbench.algorithms.external.base import ExternalAlgorithm
from xbench.algorithms.external.captum import Captum
from xbench.algorithms.external.external import External
from xbench.algorithms.feature_ablation import FeatureAblation
from xbench.algorithms.feature_permutation import FeaturePermutation
from xbench.algorithms.gradcam import GradCam
from xbench.algorithms.gradcam_plusplus import GradCamPlusPlus
from xbench.algorithms.gradient_shap import GradientShap
from xbench.algorithms.gradient_x_activation import GradientXActivation
from xbench.algorithms.guided_backprop import GuidedBackprop
from xbench.algorithms.guided_gradcam import GuidedGradCam
from xbench.algorithms.guided_ig import GuidedIG
from xbench.algorithms.hirescam import HiResCam
from xbench.algorithms.idgi import IDGI
from xbench.algorithms.input_x_gradient import InputXGradient
from xbench.algorithms.integrated_gradients import IntegratedGradients
from xbench.algorithms.internal_influence import InternalInfluence
from xbench.algorithms.kernel_shap import KernelShap
from xbench.algorithms.layercam import LayerCam
from xbench.algorithms.lime import Lime
from xbench.algorithms.lrp import LRP
from xbench.algorithms.noise_tunnel import NoiseTunnel
from xbench.algorithms.occlusion import Occlusion
from xbench.algorithms.partition_shap import PartitionShap
from xbench.algorithms.rise import Rise
from xbench.algorithms.saliency import Saliency
from xbench.algorithms.scorecam import ScoreCam
from xbench.algorithms.shapley_exact import ShapleyValues
from xbench.algorithms.shapley_sampling import ShapleyValueSampling
from xbench.core.needs import Need, NotApplicable

__all__ = [
    "IDGI",
    "LRP",
    "AblationCam",
    "Activation",
    "Algorithm",
    "AttentionGradientRollout",
    "AttentionRollout",
    "BlurIG",
    "Captum",
    "Conductance",
    "Constant",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "Edges",
    "ExactMap",
    "External",
    "ExternalAlgorithm",
    "Facts",
    "FeatureAblation",
    "FeaturePermutation",
    "GradCam",
    "GradCamPlusPlus",
    "GradientShap",
    "GradientXActivation",
    "GuidedBackprop",
    "GuidedGradCam",
    "GuidedIG",
    "HiResCam",
    "InputXGradient",
    "IntegratedGradients",
    "InternalInfluence",
    "Inverse",
    "KernelShap",
    "LayerCam",
    "Lime",
    "Need",
    "NoiseTunnel",
    "NotApplicable",
    "Occlusion",
    "PartitionShap",
    "Random",
    "Rise",
    "Saliency",
    "ScoreCam",
    "ShapleyValueSampling",
    "ShapleyValues",
    "TrueMap",
]
