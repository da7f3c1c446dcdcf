"""Metrics that another suite has too: what is compared with what, and the peers' seconds.

Both sides evaluate the model equally often for a sample and an algorithm, or the line tells how often each does. Where
`differs` is set, the peer's number is another one (docs/other_suites.md tells why); the evaluations are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partialmethod
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.parts.methods import captums, methods
from experiments.parts.whole import ALGORITHMS
from experiments.parts.workloads import Workload

REFUSED = {"ResNet-18, 4 images 3x224x224": ("deeplift",)}  # Captum takes none where a ReLU module is used twice
DRAWS, SUBSETS, STEPS, SHARE = 10, 50, 28, 0.2
ACROSS, MOST = 7, 1024  # squares across an image; pixels of which each is removed by itself
MAP = "map alone"
Numbers = np.ndarray
Explain = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pair:
    """A metric of xbench with its options, and the peer's.

    Attributes:
        ours: name in the command.
        theirs: the peer's class and its arguments; AttriBench's are in `attribench_seconds`.
        what: evaluations per sample and algorithm.
        options: of xbench's metric.
        differs: whether the numbers differ by definition.
    """

    ours: str
    what: str
    theirs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    differs: bool = False

    @property
    def explains(self) -> bool:
        """Whether samples are explained again."""
        return "explanation" in self.what

    @property
    def goal(self) -> float:
        """The least ratio that is aimed at, over Quantus."""
        return 3.0 if self.explains else 10.0

    @property
    def arguments(self) -> list[str]:
        """Of the command."""
        return [f"metric.{self.ours}.{key}={value}" for key, value in self.options.items()]


_MOVED: dict[str, object] = {"n_perturb_samples": DRAWS}
_BOTH = _MOVED | {"floor": "false"}
_NEAR = f"{DRAWS} explanations"
_KEEPING = {"nr_samples": DRAWS, "return_nan_when_prediction_changes": False}


def _pairs(w: Workload) -> dict[str, Pair]:
    """Quantus's by class name, in the order of the table."""
    pixels, side = w.x[0].numel(), w.x.shape[-1] // ACROSS
    all_pixels, squares = {"max_features": pixels}, {"steps": ACROSS**2, "side": side}
    removed = f"{ACROSS**2} outputs"
    found = {
        "FaithfulnessCorrelation": Pair(
            "faithfulness_correlation", f"{SUBSETS} outputs",
            {"nr_runs": SUBSETS, "subset_size": round(SHARE * pixels), "return_aggregate": False},
            {"n_draws": SUBSETS, "share": SHARE},
        ),
        "FaithfulnessEstimate": Pair("faithfulness_estimate", f"{pixels} outputs", {}, all_pixels),
        "MonotonicityCorrelation": Pair(
            "monotonicity_correlation", f"{pixels} outputs", {"nr_samples": 1}, all_pixels, True
        ),
        "PixelFlipping": Pair(
            "pixel_flipping", f"{STEPS} outputs", {"features_in_step": pixels // STEPS}, {"steps": STEPS}
        ),
        "Selectivity": Pair("selectivity", removed, {"patch_size": side}, squares, True),
        "RegionPerturbation": Pair(
            "region_perturbation", removed, {"patch_size": side, "regions_evaluation": ACROSS**2}, squares, True
        ),
        "ROAD": Pair("road", "10 outputs, xbench 20", {"percentages": list(range(10, 101, 10))}, {"steps": 10}, True),
        "Sparseness": Pair("sparseness", MAP, {"abs": True}),
        "Complexity": Pair("entropy", MAP, {"abs": True}),
        "EffectiveComplexity": Pair("effective_complexity", MAP, {"abs": True}, {}, True),
        "RelevanceMassAccuracy": Pair("relevance_mass", MAP, {"abs": True}, {"sign": "absolute"}),
        "RelevanceRankAccuracy": Pair("relevance_rank", MAP, {"abs": True}, {"sign": "absolute"}),
        "PointingGame": Pair("pointing_game", MAP, {"abs": True}, {"sign": "absolute"}),
        "TopKIntersection": Pair("top_k_intersection", MAP, {"abs": True, "k": 10}, {"sign": "absolute"}),
        "AUC": Pair("localisation_auc", MAP, {"abs": True}, {"sign": "absolute"}),
        "MaxSensitivity": Pair("sensitivity_max", _NEAR, _KEEPING, _BOTH),
        "AvgSensitivity": Pair("sensitivity_avg", _NEAR, _KEEPING, _BOTH),
        "LocalLipschitzEstimate": Pair("local_lipschitz", _NEAR, _KEEPING, _MOVED),
        "RelativeInputStability": Pair("relative_input_stability", _NEAR, _KEEPING, _MOVED),
        "RelativeOutputStability": Pair("relative_output_stability", _NEAR, _KEEPING, _MOVED),
        "RandomLogit": Pair("random_logit", "1 explanation", {"num_classes": 10}, {}, True),
        "MPRT": Pair(
            "mprt", "5 explanations, xbench 4", {"return_average_correlation": True}, {"cascades": 4}, True
        ),
    }  # fmt: skip
    each = ("FaithfulnessEstimate", "MonotonicityCorrelation") if pixels > MOST else ()
    return {name: pair for name, pair in found.items() if name not in each}


def pairs(w: Workload) -> dict[str, Pair]:
    """Every pair by peer and name, such as "Quantus MPRT"."""
    moved = _pairs(w)
    return {f"Quantus {name}": pair for name, pair in moved.items()} | {
        "AttriBench infidelity": Pair(
            "infidelity", f"{SUBSETS} outputs for all",
            options={"n_perturb_samples": SUBSETS, "perturbation": "gaussian"},
        ),
        "AttriBench deletion": Pair("deletion_auc", f"{STEPS + 1} outputs", options={"steps": STEPS}),
        "AttriBench insertion": Pair("insertion_auc", f"{STEPS + 1} outputs", options={"steps": STEPS}),
        "AttriBench max_sensitivity": moved["MaxSensitivity"],
    }  # fmt: skip


def chosen(w: Workload) -> list[str]:
    """The methods that Captum does not refuse."""
    return [name for name in ALGORITHMS if name not in REFUSED.get(w.title, ())]


def explanations(w: Workload, model: nn.Module | None = None) -> dict[str, Explain]:
    """Captum's methods of a workload, on its model or on another."""

    def of(name: str) -> Explain:
        moved = w if model is None else replace(w, model=model)
        peer, given = captums(moved, methods(moved)[name], None)

        def explain(inputs: Tensor, target: Tensor) -> Tensor:
            maps: Tensor = peer.attribute(inputs, **{**given, "target": target})
            return maps.detach()

        return explain

    return {name: of(name) for name in chosen(w)}


def quantus_seconds(w: Workload) -> dict[str, float]:
    """Processor seconds of Quantus's metrics for all algorithms together."""
    import quantus

    x, target = w.x.numpy(), w.target.numpy()
    common = {"abs": False, "normalise": False, "disable_warnings": True}
    made = {name: getattr(quantus, name)(**{**common, **pair.theirs}) for name, pair in _pairs(w).items()}
    seconds = {f"Quantus {name}": 0.0 for name in made}
    for algorithm in chosen(w):

        def in_numpy(
            model: nn.Module, inputs: Numbers, targets: Numbers, algorithm: str = algorithm, **_: object
        ) -> Numbers:
            explain = explanations(w, model)[algorithm]
            return explain(torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()

        maps = in_numpy(w.model, x, target)
        for metric, scorer in made.items():
            start = time.process_time()
            scorer(
                model=w.model, x_batch=x, y_batch=target, a_batch=maps, s_batch=w.masks.numpy().astype(int),
                explain_func=in_numpy, device="cpu", batch_size=len(x), channel_first=True,
            )  # fmt: skip
            seconds[f"Quantus {metric}"] += time.process_time() - start
    return seconds


def attribench_seconds(w: Workload) -> dict[str, float]:
    """Processor seconds of AttriBench's metrics, which take all algorithms at once.

    Samples are read in this process: AttriBench starts four for every call, which take longer than most metrics here.
    """
    from attribench.data import AttributionsDataset
    from attribench.functional.metrics import deletion, infidelity, insertion, max_sensitivity
    from attribench.functional.metrics.infidelity import GaussianPerturbationGenerator
    from attribench.masking.image import ConstantImageMasker

    explains, n = explanations(w), len(w.x)
    data = AttributionsDataset(
        w.x, w.target, attributions={name: explain(w.x, w.target) for name, explain in explains.items()}
    )
    noise, black = {"gaussian": GaussianPerturbationGenerator(0.1)}, {"black": ConstantImageMasker("pixel")}
    calls = {
        "infidelity": lambda: infidelity(w.model, data, n, ["linear"], noise, num_perturbations=SUBSETS),
        "deletion": lambda: deletion(w.model, data, n, black, num_steps=STEPS + 1),
        "insertion": lambda: insertion(w.model, data, n, black, num_steps=STEPS + 1),
        "max_sensitivity": lambda: max_sensitivity(data, n, explains, num_perturbations=DRAWS, radius=0.02),
    }
    seconds = {}
    with patch.object(DataLoader, "__init__", partialmethod(_here, DataLoader.__init__)):
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[f"AttriBench {name}"] = time.process_time() - start
    return seconds


def _here(self: DataLoader[Any], made: Callable[..., None], *given: object, **options: object) -> None:
    made(self, *given, **options | {"num_workers": 0})


PEERS = {"quantus": quantus_seconds, "attribench": attribench_seconds}
