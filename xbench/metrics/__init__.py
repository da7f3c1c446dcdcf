"""Metrics, one file each; names and parameters are Captum's where the meaning is."""

from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.completeness import Completeness, ConvergenceDelta
from xbench.metrics.infidelity import Infidelity
from xbench.metrics.parts.perturbations import FeatureRemoval, GaussianNoise, Perturbation, SquareRemoval
from xbench.metrics.sensitivity_max import SensitivityMax

__all__ = [
    "Column",
    "Completeness",
    "ConvergenceDelta",
    "FeatureRemoval",
    "GaussianNoise",
    "Infidelity",
    "Metric",
    "MetricFacts",
    "Perturbation",
    "SensitivityMax",
    "SquareRemoval",
]
