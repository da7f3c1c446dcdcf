"""Metrics, one file each; names and parameters are Captum's where the meaning is."""

from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.completeness import Completeness, ConvergenceDelta
from xbench.metrics.infidelity import Infidelity
from xbench.metrics.localisation_auc import LocalisationAUC
from xbench.metrics.parts.perturbations import FeatureRemoval, GaussianNoise, Perturbation, SquareRemoval, TimeRemoval
from xbench.metrics.pointing_game import PointingGame
from xbench.metrics.rationale import Rationale
from xbench.metrics.relevance_accuracy import GridPointingGame, RelevanceMass, RelevanceRank
from xbench.metrics.sensitivity_max import SensitivityMax
from xbench.metrics.top_k_intersection import TopKIntersection

__all__ = [
    "Column",
    "Completeness",
    "ConvergenceDelta",
    "FeatureRemoval",
    "GaussianNoise",
    "GridPointingGame",
    "Infidelity",
    "LocalisationAUC",
    "Metric",
    "MetricFacts",
    "Perturbation",
    "PointingGame",
    "Rationale",
    "RelevanceMass",
    "RelevanceRank",
    "SensitivityMax",
    "SquareRemoval",
    "TimeRemoval",
    "TopKIntersection",
]
