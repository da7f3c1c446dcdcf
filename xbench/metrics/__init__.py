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
from xbench.metrics.faithfulness.abpc import ABPC
from xbench.metrics.faithfulness.auc_tp import AUCTP
from xbench.metrics.faithfulness.deletion_auc import DeletionAUC
from xbench.metrics.faithfulness.faithfulness_correlation import FaithfulnessCorrelation
from xbench.metrics.faithfulness.faithfulness_estimate import FaithfulnessEstimate
from xbench.metrics.faithfulness.infidelity import Infidelity
from xbench.metrics.faithfulness.insertion_auc import InsertionAUC
from xbench.metrics.faithfulness.irof import IROF
from xbench.metrics.faithfulness.masked_input import AverageDrop
from xbench.metrics.faithfulness.monotonicity import Monotonicity
from xbench.metrics.faithfulness.monotonicity_correlation import MonotonicityCorrelation
from xbench.metrics.faithfulness.mu_fidelity import LDS, MuFidelity
from xbench.metrics.faithfulness.naopc import NormalisedAOPC
from xbench.metrics.faithfulness.pixel_flipping import PixelFlipping
from xbench.metrics.faithfulness.prediction_gap import PredictionGap
from xbench.metrics.faithfulness.region_perturbation import RegionPerturbation, Selectivity
from xbench.metrics.faithfulness.road import ROAD
from xbench.metrics.faithfulness.sensitivity_n import SensitivityN
from xbench.metrics.faithfulness.shares import Comprehensiveness, LogOdds, Sufficiency
from xbench.metrics.faithfulness.srg import SymmetricRelevanceGain
from xbench.metrics.graph.characterisation import Characterisation
from xbench.metrics.graph.fidelity_minus import FidelityMinus
from xbench.metrics.graph.fidelity_plus import FidelityPlus
from xbench.metrics.graph.unfaithfulness import Unfaithfulness
from xbench.metrics.imputers.base import Imputer
from xbench.metrics.imputers.interpolation import Interpolation
from xbench.metrics.imputers.noisy_linear import NoisyLinear
from xbench.metrics.imputers.token_deletion import TokenDeletion
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
from xbench.metrics.postprocess import Postprocess
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
    "ABPC",
    "AUCTP",
    "IROF",
    "LDS",
    "MPRT",
    "ROAD",
    "Again",
    "AttributionLocalisation",
    "AverageDrop",
    "Change",
    "Changed",
    "Characterisation",
    "Column",
    "Completeness",
    "Comprehensiveness",
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
    "Imputer",
    "Infidelity",
    "InputInvariance",
    "InsertionAUC",
    "Interpolation",
    "Linearity",
    "LocalLipschitz",
    "LocalSufficiency",
    "LocalisationAUC",
    "LocalisationIoU",
    "LogOdds",
    "MPRTBottomUp",
    "Maps",
    "Metric",
    "MetricFacts",
    "Monotonicity",
    "MonotonicityCorrelation",
    "MuFidelity",
    "NoisyLinear",
    "NonSensitivity",
    "NormalisedAOPC",
    "Perturbation",
    "PixelFlipping",
    "PointingGame",
    "Postprocess",
    "PredictionGap",
    "RandomLogit",
    "Ranked",
    "Rationale",
    "RegionPerturbation",
    "RelativeInputStability",
    "RelativeOutputStability",
    "RelativeRepresentationStability",
    "RelevanceMass",
    "RelevanceRank",
    "Selectivity",
    "SensitivityAvg",
    "SensitivityMax",
    "SensitivityN",
    "Shared",
    "SmoothMPRT",
    "Smoothing",
    "Sparseness",
    "SquareRemoval",
    "Sufficiency",
    "SymmetricRelevanceGain",
    "Symmetry",
    "TimeRemoval",
    "TokenDeletion",
    "TopKIntersection",
    "TotalVariation",
    "Unfaithfulness",
]
