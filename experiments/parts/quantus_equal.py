"""Metrics that Quantus and xbench define alike, on the same perturbations: how far their numbers are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

import xbench
from xbench.algorithms import InputXGradient
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request
from xbench.explain.score import score_maps
from xbench.metrics import (
    DeletionAUC,
    Entropy,
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    LocalLipschitz,
    Metric,
    PixelFlipping,
    RelativeInputStability,
    RelativeOutputStability,
    RelevanceMass,
    RelevanceRank,
    SensitivityAvg,
    SensitivityMax,
    Sparseness,
)
from xbench.metrics.robustness.reexplained import NearbyMetric
from xbench.metrics.subsets import RandomSubsets

N, SIDE, DRAWS, SHARE = 4, 8, 20, 0.25
STEPS = SIDE**2 // 4
Numbers = np.ndarray


class Pairs:
    """One model, its samples, and each metric of both suites."""

    def __init__(self) -> None:
        import quantus

        torch.manual_seed(0)
        self.quantus: Any = quantus
        layers = nn.Conv2d(1, 4, 3, padding=1), nn.Softplus(), nn.Flatten(), nn.Linear(256, 3)
        self.model = nn.Sequential(*layers).eval()
        self.x = torch.rand(N, 1, SIDE, SIDE)
        self.target = self.model(self.x).argmax(1)
        self.maps = torch.from_numpy(explained(self.model, self.x.numpy(), self.target.numpy()))
        self.mask = np.zeros(self.x.shape, dtype=int)
        self.mask[:, :, 2:5, 1:6] = 1

    def ours(self, metric: Metric, *, again: bool = False, **more: object) -> Numbers:
        """Every column, (columns, n)."""
        explainer = Explainer(Request(self.model, self.x, target=self.target, **more))
        explanation = Explanation.of(InputXGradient() if again else self.maps, explainer)
        return torch.stack(list(score_maps(explainer, metric, explanation).values())).numpy()

    def theirs(self, name: str, *, perturb: Callable[..., Numbers] | None = None, **settings: object) -> Numbers:
        masks = {"s_batch": self.mask} if name.startswith("Relevance") else {}
        made = getattr(self.quantus, name)(**{"abs": False, "normalise": False, "disable_warnings": True, **settings})
        if perturb is not None:
            made.perturb_func = perturb
        found = made(
            model=self.model, x_batch=self.x.numpy(), y_batch=self.target.numpy(), a_batch=self.maps.numpy(),
            device="cpu", batch_size=N, softmax=False, explain_func=explained, **masks,
        )  # fmt: skip
        return np.asarray(found, dtype=float)

    def lines(self) -> Iterator[tuple[str, float]]:
        """Name and largest relative difference."""
        given = {"perturb_baseline": 0.0}
        yield "sparseness", apart(self.ours(Sparseness())[0], self.theirs("Sparseness", abs=True))
        yield "complexity (entropy)", apart(self.ours(Entropy())[0], self.theirs("Complexity", abs=True))
        masks = {"masks": torch.from_numpy(self.mask).bool()}
        for kind, name in ((RelevanceMass, "RelevanceMassAccuracy"), (RelevanceRank, "RelevanceRankAccuracy")):
            yield name, apart(self.ours(kind(sign="absolute"), **masks)[0], self.theirs(name, abs=True))
        estimate = self.ours(FaithfulnessEstimate(max_features=SIDE**2), baselines=0.0)[0]
        yield "faithfulness estimate", apart(estimate, self.theirs("FaithfulnessEstimate", features_in_step=1, **given))
        yield "faithfulness correlation", self.correlation()
        first = self.model(self.x).gather(1, self.target[:, None]).detach().numpy()
        steps = self.theirs("PixelFlipping", features_in_step=SIDE**2 // STEPS, **given)
        drops = self.ours(PixelFlipping(steps=STEPS), baselines=0.0)[0]
        yield "pixel flipping, mean drop", apart(drops, (first - steps).mean(1))
        area = self.ours(DeletionAUC(steps=STEPS), baselines=0.0)[0]
        curve = np.concatenate([first, steps], axis=1)
        yield "pixel flipping, area", apart(area, ((curve[:, 1:] + curve[:, :-1]) / 2).mean(1))
        kept = {"return_nan_when_prediction_changes": False}
        for metric, name, column in (
            (SensitivityMax(), "MaxSensitivity", 0),
            (SensitivityAvg(), "AvgSensitivity", 0),
            (LocalLipschitz(), "LocalLipschitzEstimate", 0),
            (RelativeInputStability(), "RelativeInputStability", 1),
            (RelativeOutputStability(), "RelativeOutputStability", 1),
        ):
            nearby = self.nearby(metric)
            theirs = self.theirs(name, nr_samples=metric.n_perturb_samples, perturb=nearby, **kept)
            yield name + " (by elements)" * column, apart(self.ours(metric, again=True)[column], theirs)

    def correlation(self) -> float:
        """Faithfulness correlation on the same subsets."""
        subsets = RandomSubsets(DRAWS, SHARE)
        case = Explainer(Request(self.model, self.x, target=self.target)).case(distribution=False)
        sets = [subsets.removed(case, index) for index in range(DRAWS)]
        drawn = iter([np.flatnonzero(of_all[row].numpy()) for of_all in sets for row in range(N)])
        setting = {"nr_runs": DRAWS, "subset_size": int(SHARE * SIDE**2), "return_aggregate": False}
        with patch("numpy.random.choice", lambda *_, **__: next(drawn)):
            theirs = self.theirs("FaithfulnessCorrelation", perturb_baseline=0.0, **setting)
        return apart(self.ours(FaithfulnessCorrelation(n_draws=DRAWS, share=SHARE), baselines=0.0)[0], theirs)

    def nearby(self, metric: NearbyMetric) -> Callable[..., Numbers]:
        """xbench's moved samples, as a perturbation that Quantus asks for the batch or sample by sample."""
        explainer = Explainer(Request(self.model, self.x, target=self.target))
        moved: list[Tensor] = list(metric.reexplained.moved(explainer.case(distribution=False), explainer.x))
        rows = iter(torch.cat(moved))

        def perturb(arr: Numbers, **_: object) -> Numbers:
            count = arr.size // SIDE**2
            return torch.stack([next(rows) for _ in range(count)]).numpy().reshape(arr.shape)

        return perturb


def explained(model: nn.Module, inputs: Numbers, targets: Numbers, **_: object) -> Numbers:
    """Input x gradient, in the form of Quantus's explanation functions."""
    x, target = torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(targets)
    found = xbench.attribute(model, x, InputXGradient(), target=target)
    return found.numpy()


def apart(ours: Numbers, theirs: Numbers) -> float:
    """The largest relative difference."""
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
