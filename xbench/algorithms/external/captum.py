"""Captum's own methods as algorithms, computed by Captum."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from xbench.algorithms.base import Facts
from xbench.algorithms.external import captum_methods as theirs
from xbench.algorithms.external.base import ExternalAlgorithm
from xbench.algorithms.external.captum_methods import METHODS
from xbench.algorithms.external.functions import as_tuples
from xbench.algorithms.occlusion import Occlusion
from xbench.core.case import Case
from xbench.core.needs import Need, NotApplicable
from xbench.core.question import Question

_LIBRARY = "Kokhlikyan et al. 2020, Captum: A unified and generic model interpretability library for PyTorch"


@dataclass(frozen=True)
class Captum(ExternalAlgorithm):
    """A method of `captum.attr` with Captum's own numbers, memory use and random draws.

    The run's target, baselines, features and further arguments are passed if the method takes them. Elements outside
    any feature keep their values, and methods that replace whole features give them 0. If every sample has its own
    baselines, a method that averages over baselines explains the samples one by one.
    Source: Kokhlikyan et al. 2020, "Captum" (arXiv 2009.07896), and the method's own.

    Args:
        method: name of the class, such as "DeepLift".
        init: arguments of its constructor besides the model.
        kwargs: further arguments of its `attribute`.
    """

    method: str = "IntegratedGradients"
    init: Mapping[str, Any] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        theirs.version()
        for name in METHODS[self.method].required:
            if name not in self.kwargs:
                raise ValueError(f"kwargs: {self.method} needs {name}, see Captum's documentation")
        if self.init or self.kwargs:
            made = theirs.imported(self.method)
            theirs.check_names("init", made.__init__, self.init)
            theirs.check_names("kwargs", made.attribute, self.kwargs)

    @staticmethod
    def computed_by(node: Mapping[str, Any]) -> tuple[object, ...]:
        """Captum, see `xbench.config.nodes.source`."""
        return ("captum",)

    @property
    def facts(self) -> Facts:
        known, release = METHODS[self.method], theirs.version()
        multiplied = bool(self.init.get("multiply_by_inputs", True))
        return Facts(
            f"{known.label} (Captum)",
            f"{known.source}; {_LIBRARY}, arXiv 2009.07896, version {release}",
            local=known.local or not multiplied,
            needs=known.needs,
            stochastic=known.stochastic,
            complete=known.complete and multiplied,
            distribution=known.distribution,
            reads_elsewhere=Need.GRADIENT in known.needs,
            whole=known.stochastic,  # one draw for all samples, or a permutation of them
        )

    def check(self, case: Case) -> None:
        most = int(case.counts.max())
        if self.method == "ShapleyValues" and most > theirs.PERMUTED:
            raise NotApplicable(
                f"needs at most {theirs.PERMUTED} features: one has {most}, and Captum goes through {most}! orders; "
                "group them, or take shapley_exact, which does not"
            )

    def density(self, case: Case, maps: Tensor) -> Tensor:
        if self.method == "Occlusion":  # the same windows as ours
            shapes, strides = self.kwargs["sliding_window_shapes"], self.kwargs.get("strides")
            return Occlusion(as_tuples(shapes), as_tuples(strides)).density(case, maps)
        return maps / case.feature_sizes(maps) if METHODS[self.method].grouped else maps

    def explain(self, question: Question) -> object:
        known = METHODS[self.method]
        paired = known.distribution and question.paired and any(len(b) > 1 for b in question.baselines)
        return question.one_by_one(self._attribute) if paired or question.apart else self._attribute(question)

    def _attribute(self, question: Question) -> tuple[Tensor, ...]:
        known = METHODS[self.method]
        method = theirs.imported(self.method)(question.model, **as_tuples(self.init))
        inputs, baselines, features = question.inputs, question.baselines, question.features
        if Need.GRADIENT in known.needs:
            inputs = tuple(t.requires_grad_() for t in inputs)
        if known.grouped:
            baselines, features = theirs.neutral(question)
        if self.method == "DeepLiftShap":  # takes no single baseline; the mean over two copies is the same
            baselines = tuple(b.expand(2, *b.shape[1:]) if len(b) == 1 else b for b in baselines)
        offered: dict[str, object] = {
            "target": theirs.target_form(question.target),
            "baselines": baselines,
            "additional_forward_args": question.extra or None,
            "feature_mask": features,
        }
        taken = inspect.signature(method.attribute).parameters
        given = {name: value for name, value in offered.items() if name in taken} | as_tuples(self.kwargs)
        with warnings.catch_warnings():
            for text in theirs.KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", text, UserWarning)
            maps: tuple[Tensor, ...] = method.attribute(inputs, **given)
        if not known.grouped:
            return maps
        return tuple(m * (f >= 0) for m, f in zip(maps, question.features, strict=True))
