"""Metrics, one file each; names and parameters are Captum's where the meaning is."""

from xbench.metrics.axiomatic.completeness import Completeness, ConvergenceDelta
from xbench.metrics.axiomatic.dummy import Dummy
from xbench.metrics.axiomatic.linearity import Linearity
from xbench.metrics.axiomatic.non_sensitivity import NonSensitivity
from xbench.metrics.axiomatic.symmetry import Symmetry
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.complexity.effective_complexity import EffectiveComplexity
from xbench.metrics.complexity.entropy import Entropy
from xbench.metrics.complexity.sparseness import Sparseness
from xbench.metrics.complexity.total_variation import TotalVariation
from xbench.metrics.evidence import Again, Change, Changed, Evidence, Explained, Ranked, Shared, Smoothing
from xbench.metrics.faithfulness.deletion import DeletionAUC, PixelFlipping
from xbench.metrics.faithfulness.faithfulness_correlation import FaithfulnessCorrelation
from xbench.metrics.faithfulness.faithfulness_estimate import FaithfulnessEstimate
from xbench.metrics.faithfulness.infidelity import Infidelity
from xbench.metrics.faithfulness.monotonicity_correlation import MonotonicityCorrelation
from xbench.metrics.faithfulness.mu_fidelity import LDS, MuFidelity
from xbench.metrics.faithfulness.sensitivity_n import SensitivityN
from xbench.metrics.graph.characterisation import Characterisation
from xbench.metrics.graph.fidelity_minus import FidelityMinus
from xbench.metrics.graph.fidelity_plus import FidelityPlus
from xbench.metrics.graph.unfaithfulness import Unfaithfulness
from xbench.metrics.localisation.attribution_localisation import AttributionLocalisation
from xbench.metrics.localisation.focus import Focus
from xbench.metrics.localisation.localisation_auc import LocalisationAUC
from xbench.metrics.localisation.localisation_iou import LocalisationIoU
from xbench.metrics.localisation.pointing_game import PointingGame
from xbench.metrics.localisation.rationale import Rationale
from xbench.metrics.localisation.relevance_accuracy import GridPointingGame, RelevanceMass, RelevanceRank
from xbench.metrics.localisation.top_k_intersection import TopKIntersection
from xbench.metrics.maps import Maps
from xbench.metrics.perturbations import FeatureRemoval, GaussianNoise, Perturbation, SquareRemoval, TimeRemoval
from xbench.metrics.randomisation.efficient_mprt import EfficientMPRT
from xbench.metrics.randomisation.input_invariance import InputInvariance
from xbench.metrics.randomisation.mprt import MPRT
from xbench.metrics.randomisation.mprt_bottom_up import MPRTBottomUp
from xbench.metrics.randomisation.random_logit import RandomLogit
from xbench.metrics.randomisation.smooth_mprt import SmoothMPRT
from xbench.metrics.robustness.consistency import Consistency
from xbench.metrics.robustness.continuity import Continuity
from xbench.metrics.robustness.local_lipschitz import LocalLipschitz
from xbench.metrics.robustness.local_sufficiency import LocalSufficiency
from xbench.metrics.robustness.relative_input_stability import RelativeInputStability
from xbench.metrics.robustness.relative_output_stability import RelativeOutputStability
from xbench.metrics.robustness.relative_representation_stability import RelativeRepresentationStability
from xbench.metrics.robustness.sensitivity_avg import SensitivityAvg
from xbench.metrics.robustness.sensitivity_max import SensitivityMax

__all__ = [
    "LDS",
    "MPRT",
    "Again",
    "AttributionLocalisation",
    "Change",
    "Changed",
    "Characterisation",
    "Column",
    "Completeness",
    "Consistency",
    "Continuity",
    "ConvergenceDelta",
    "DeletionAUC",
    "Dummy",
    "EffectiveComplexity",
    "EfficientMPRT",
    "Entropy",
    "Evidence",
    "Explained",
    "FaithfulnessCorrelation",
    "FaithfulnessEstimate",
    "FeatureRemoval",
    "FidelityMinus",
    "FidelityPlus",
    "Focus",
    "GaussianNoise",
    "GridPointingGame",
    "Infidelity",
    "InputInvariance",
    "Linearity",
    "LocalLipschitz",
    "LocalSufficiency",
    "LocalisationAUC",
    "LocalisationIoU",
    "MPRTBottomUp",
    "Maps",
    "Metric",
    "MetricFacts",
    "MonotonicityCorrelation",
    "MuFidelity",
    "NonSensitivity",
    "Perturbation",
    "PixelFlipping",
    "PointingGame",
    "RandomLogit",
    "Ranked",
    "Rationale",
    "RelativeInputStability",
    "RelativeOutputStability",
    "RelativeRepresentationStability",
    "RelevanceMass",
    "RelevanceRank",
    "SensitivityAvg",
    "SensitivityMax",
    "SensitivityN",
    "Shared",
    "SmoothMPRT",
    "Smoothing",
    "Sparseness",
    "SquareRemoval",
    "Symmetry",
    "TimeRemoval",
    "TopKIntersection",
    "TotalVariation",
    "Unfaithfulness",
]
