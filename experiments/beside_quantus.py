"""Quantus's metrics on cases with a known answer, as rows of docs/other_suites.md.

    python experiments/beside_quantus.py

Needs quantus 0.6.0 in the same Python; without it the script says so and ends. The first table has a line for each
claim of the page, and what Quantus returns; the second has the metrics that both define alike, and how far their
numbers are apart on the same perturbations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.parts.printing import table
from experiments.parts.quantus_equal import Pairs

N, CLASSES = 4, 3
SETTING = {"abs": False, "normalise": False, "disable_warnings": True}
Found = tuple[str, Callable[[], object]]


def network(channels: int) -> nn.Module:
    """Images (n, channels, 8, 8) -> logits of three classes."""
    layers = nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, CLASSES)
    return nn.Sequential(*layers).eval()


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES)).eval()


def gradient(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
    """A map that explains the model, in the form of Quantus's explanation functions."""
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32).requires_grad_()
    chosen = model(x).gather(1, torch.as_tensor(np.asarray(targets)).long()[:, None])
    return torch.autograd.grad(chosen.sum(), x)[0].numpy()


class Cases:
    """The models, samples and maps that all claims share."""

    def __init__(self) -> None:
        import quantus

        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.quantus: Any = quantus
        self.net, self.coloured, self.linear = network(1), network(3), linear()
        self.x, self.y = rng.random((N, 1, 8, 8)).astype("float32"), np.array([0, 1, 2, 0])
        self.maps = rng.standard_normal((N, 1, 8, 8)).astype("float32")
        self.pictures = rng.random((N, 3, 8, 8)).astype("float32")
        self.rng = rng

    def ask(self, metric: str, model: nn.Module, x: np.ndarray, maps: np.ndarray | None, **more: object) -> Any:  # noqa: ANN401  (what Quantus returns)
        """The scores; `settings` are those of the metric, the rest are arguments of its call."""
        settings: Any = more.pop("settings", {})
        y = more.pop("y", np.resize(self.y, len(x)))
        made = getattr(self.quantus, metric)(**{**SETTING, **settings})
        return made(model=model, x_batch=x, y_batch=y, a_batch=maps, device="cpu", **{"batch_size": len(x), **more})

    def claims(self) -> list[Found]:
        twice, spearman = np.concatenate([self.x] * 2), self.quantus.similarity_func.correlation_spearman
        exact = gradient(self.linear, self.x, self.y) * self.x
        explained = {"explain_func": gradient}

        def infidelity() -> list[int]:
            seen: list[int] = []
            hook = self.net.register_forward_pre_hook(
                lambda _, given: seen.append(int((given[0].numpy() != self.x)[0].sum()))
            )
            setting = {"perturb_patch_sizes": [4], "n_perturb_samples": 2, "perturb_baseline": "black"}
            self.ask("Infidelity", self.net, self.x, self.maps, settings=setting)
            hook.remove()
            return seen

        def mprt() -> str:
            def of(**setting: object) -> Any:  # noqa: ANN401
                given = {"similarity_func": spearman, **setting}
                maps = gradient(self.net, self.x, self.y)
                return self.ask("MPRT", self.net, self.x, maps, settings=given, **explained)

            layers = of()
            own = np.mean([np.mean(scores) for name, scores in layers.items() if name != "original"])
            return f"mean {np.mean(of(return_average_correlation=True)):.2f}, of the random layers alone {own:.2f}"

        def smooth() -> str:
            called: list[int] = []

            def counted(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
                called.append(1)
                return gradient(model, inputs, targets)

            setting = {"nr_samples": 3, "similarity_func": spearman}
            self.ask("SmoothMPRT", self.net, self.x, self.maps, settings=setting, explain_func=counted)
            return f"explain_func is called {len(called)} times"

        def completeness() -> float:
            x = self.rng.random((50, 1, 8, 8)).astype("float32")
            maps = gradient(self.linear, x, np.zeros(50, int)) * x
            setting = {"perturb_baseline": 0.0}
            return float(np.mean(self.ask("Completeness", self.linear, x, maps, settings=setting, y=np.zeros(50, int))))

        def relative() -> str:
            x = self.rng.random((60, 1, 8, 8)).astype("float32")
            y = self.linear(torch.from_numpy(x)).argmax(1).numpy()
            given = self.ask(
                "RelativeInputStability", self.linear, x, None, settings={"nr_samples": 200}, y=y, **explained
            )
            return f"NaN for {int(np.isnan(given).sum())} of 60 samples"

        def weighted(copies: int) -> float:
            x, maps = np.concatenate([self.x] * copies), np.abs(np.concatenate([self.maps] * copies))
            mask, setting = np.resize([0, 1], x.shape), {"weighted": True}
            return float(self.ask("AttributionLocalisation", self.net, x, maps, s_batch=mask, settings=setting)[0])

        def nothing(metric: str, **setting: object) -> Any:  # noqa: ANN401
            return self.ask(metric, self.net, self.x, self.maps, settings=setting, **explained)

        def rows_of(metric: str, model: nn.Module, x: np.ndarray, maps: np.ndarray) -> str:
            rows: list[int] = []
            hook = model.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
            self.ask(metric, model, x, maps)
            hook.remove()
            return f"{sum(rows) // len(x)} rows per sample"

        def subsets() -> list[float]:
            setting = {"nr_runs": 20, "subset_size": 16, "perturb_baseline": 0.0, "return_aggregate": False}
            return [round(self.ask("FaithfulnessCorrelation", self.net, self.x, self.maps, settings=setting)[0], 3)
                    for _ in range(2)]  # fmt: skip

        def sensitivity_n(second: np.ndarray) -> list[float]:
            setting = {"features_in_step": 8, "perturb_baseline": 0.0, "return_aggregate": False}
            maps = np.concatenate([exact, second])
            found = self.ask("SensitivityN", self.linear, twice, maps, settings=setting, batch_size=N)
            return [round(float(value), 3) for value in found]

        def regions(order: str) -> float:
            setting = {"patch_size": 2, "regions_evaluation": 8, "order": order, "perturb_baseline": "black"}
            return round(
                float(np.mean(self.ask("RegionPerturbation", self.linear, self.x, exact, settings=setting))), 3
            )

        def beside_large() -> float:
            pair = np.ones((2, 1, 2, 2)) * np.array([1, 10])[:, None, None, None]
            return float(self.quantus.normalise_func.normalise_by_max(pair)[0].max())

        def signs() -> bool:
            top = self.quantus.discretise_func.top_n_sign
            return bool(top(np.array([1.0, -1, 1, 9, -9]), n=3) == top(np.array([1.0, -1, 1, -9, 9]), n=3))

        return [
            ("normalise_by_max: the maximum of a map of ones beside one of tens", beside_large),
            ("pixel flipping, 3x8x8 pixels: evaluations", lambda: rows_of(
                "PixelFlipping", self.coloured, self.pictures, self.pictures)),
            ("faithfulness correlation: the same call twice", subsets),
            ("sensitivity-n: exact maps in both batches", lambda: sensitivity_n(exact)),
            ("sensitivity-n: noise in the second batch", lambda: sensitivity_n(self.maps)),
            ("monotonicity: a map", lambda: nothing("Monotonicity", perturb_baseline="black")),
            ("infidelity: changed pixels of evaluation after evaluation", infidelity),
            ("infidelity: patches of 3 in 8 pixels", lambda: nothing("Infidelity", perturb_patch_sizes=[3])),
            ("region perturbation: mean drop of morf and lerf", lambda: (regions("morf"), regions("lerf"))),
            ("region perturbation: better is", lambda: self.quantus.RegionPerturbation.score_direction.name),
            ("ROAD: three channels", lambda: self.ask("ROAD", self.coloured, self.pictures, self.maps)),
            ("RIS: 200 draws of random samples", relative),
            ("RIS: clips (five dimensions)", lambda: self.ask(
                "RelativeInputStability", self.linear, self.x[:, None], None, **explained)),
            ("consistency: top_n_sign of maps whose largest elements differ is equal", signs),
            ("consistency: no other sample has the rank", lambda: nothing(
                "Consistency", discretise_func=self.quantus.discretise_func.rank)),
            ("MPRT: average", mprt),
            ("smooth MPRT", smooth),
            ("input invariance: the first module is a container", lambda: self.ask(
                "InputInvariance", nn.Sequential(self.net).eval(), self.x, self.maps, **explained)),
            ("completeness: share of exact maps that pass", completeness),
            ("non-sensitivity: exact maps of a linear model", lambda: self.ask(
                "NonSensitivity", self.linear, self.x, exact, settings={"perturb_baseline": 0.0})),
            ("non-sensitivity: 8x8 pixels", lambda: rows_of("NonSensitivity", self.net, self.x, self.maps)),
            ("attribution localisation: one sample in batches of 4 and 8", lambda: (weighted(1), weighted(2))),
            ("pointing game: no evidence", lambda: self.ask(
                "PointingGame", self.net, self.x, self.maps, s_batch=np.zeros_like(self.x))),
        ]  # fmt: skip


def told(claim: Callable[[], object]) -> str:
    """What a call returns, or the error that it raises."""
    try:
        return str(claim())
    except Exception as error:  # Quantus may raise anything; that is the finding
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def main() -> list[list[str]]:
    """Print a line for every claim; none without Quantus."""
    if find_spec("quantus") is None:
        print("quantus is not installed: pip install quantus==0.6.0 'numpy<2'")
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = [[name, told(claim)] for name, claim in Cases().claims()]
        apart = [[name, f"{difference:.0e}"] for name, difference in Pairs().lines()]
    print(table(["case", "Quantus"], lines))
    print("\n" + table(["metric", "largest relative difference"], apart))
    return lines


if __name__ == "__main__":
    main()
