"""How near do kernel_shap and shapley_sampling come to exact Shapley values, beside Captum at equal evaluations?

    python experiments/estimators_vs_captum.py [--seeds 20] [--budgets 64 128 256 512]

Three models of 10 features, where all 2^10 coalitions give the exact values. Evaluations are counted: rows through
the model, per sample. Captum's n_samples is chosen for a budget, and ours takes at most as many evaluations as Captum
then did: for kernel_shap the same n_samples (Captum sends one more row, to see what the model returns), for
shapley_sampling as many permutations as fit. Captum is called with no option but n_samples (and
`perturbations_per_eval`, which changes the speed alone); the last table leaves it its own n_samples too.
Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import xbench
from xbench.algorithms import Algorithm, KernelShap, ShapleyValues, ShapleyValueSampling

K, N, DEFAULT, TARGET = 10, 5, 25, 0.5  # features, samples, Captum's default n_samples of both, the ratio aimed at
METHODS = ("kernel_shap", "shapley_sampling")


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers that are the same everywhere."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relu_network(x: Tensor) -> Tensor:
    """Two hidden layers of 32."""
    hidden = torch.relu(x @ normal(K, 32, seed=1) * (2 / K) ** 0.5 + normal(32, seed=2) / 2)
    hidden = torch.relu(hidden @ normal(32, 32, seed=3) / 4 + normal(32, seed=4) / 2)
    return hidden @ normal(32, seed=5) / 4


def interactions(x: Tensor) -> Tensor:
    """Products and maxima: no feature acts alone."""
    products = x[:, 0] * x[:, 1] * x[:, 2] + x[:, 2] * x[:, 7] + x[:, 8] * x[:, 9]
    return products + torch.maximum(x[:, 3], x[:, 4]) * x[:, 5] + x[:, 6:].amax(1)


def logistic(x: Tensor) -> Tensor:
    """A probability that saturates."""
    return torch.sigmoid(2 * x @ normal(K, seed=6) + 0.5)


MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU network": relu_network,
    "interactions": interactions,
    "logistic": logistic,
}


class Counted(nn.Module):
    """A model that counts the rows it is sent."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.function(x)


def explained(model: nn.Module, x: Tensor, x0: Tensor, algorithm: Algorithm, seed: int = 0) -> Tensor:
    """The maps of one of our algorithms."""
    maps = xbench.attribute(model, x, algorithm, baselines=x0, seed=seed)
    assert isinstance(maps, Tensor)
    return maps


def ours(method: str, model: nn.Module, x: Tensor, x0: Tensor, n_samples: int, evaluations: int, seed: int) -> Tensor:
    """Our estimate, with at most the evaluations that Captum took with its `n_samples`."""
    if method == "kernel_shap":
        return explained(model, x, x0, KernelShap(n_samples), seed)
    return explained(model, x, x0, ShapleyValueSampling((evaluations - 2) // (K - 1)), seed)


def captums(method: str, model: nn.Module, x: Tensor, x0: Tensor, n_samples: int, seed: int) -> Tensor:
    """Captum's estimate."""
    from captum.attr import KernelShap as Kernel
    from captum.attr import ShapleyValueSampling as Sampling

    peer = Kernel(model) if method == "kernel_shap" else Sampling(model)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="captum")
        torch.manual_seed(seed)
        return peer.attribute(x, baselines=x0, n_samples=n_samples, perturbations_per_eval=K)


@dataclass(frozen=True)
class Row:
    """One method on one model: evaluations per sample, and mean squared errors against the exact values per seed."""

    method: str
    model: str
    n_samples: int  # Captum's
    evaluations: tuple[int, int]  # ours, Captum's
    errors: tuple[tuple[float, float], ...]  # (ours, Captum's) of every seed

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in self.errors]


def compete(method: str, name: str, n_samples: int, seeds: int) -> Row:
    """Both estimators on one model, with Captum's `n_samples`."""
    model = Counted(MODELS[name])
    x, x0 = normal(N, K, seed=20), torch.zeros(1, K, dtype=torch.float64)
    exact = explained(model, x, x0, ShapleyValues())
    errors, used = [], (0, 0)
    for seed in range(seeds):
        model.rows = 0
        theirs = captums(method, model, x, x0, n_samples, seed)
        many, model.rows = model.rows // N, 0
        mine = ours(method, model, x, x0, n_samples, many, seed)
        used = model.rows // N, many
        assert used[0] <= used[1], f"{method}: {used[0]} evaluations beside Captum's {used[1]}"
        errors.append((float((mine - exact).square().mean()), float((theirs - exact).square().mean())))
    return Row(method, name, n_samples, used, tuple(errors))


def median(rows: Sequence[Row]) -> float:
    """The median of the ratios of all seeds and models."""
    return statistics.median(ratio for row in rows for ratio in row.ratios)


def show(title: str, rows: Sequence[Row]) -> None:
    """The rows, and the median over all models below each group with the same number of samples."""
    print(f"\n{title}")
    print("  evaluations                     squared error    ratio")
    print("  ours captum  model             ours    captum   median")
    for n_samples in dict.fromkeys(row.n_samples for row in rows):
        group = [row for row in rows if row.n_samples == n_samples]
        for row in group:
            mine, theirs = (statistics.median(errors) for errors in zip(*row.errors, strict=True))
            few, many = row.evaluations
            print(f"  {few:4} {many:6}  {row.model:12} {mine:9.1e} {theirs:9.1e} {median([row]):8.3f}")
        print(f"  {few:4} {many:6}  {'all models':12} {'':19} {median(group):8.3f}")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Print the tables; the rows of the chosen budgets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budgets", type=int, nargs="+", default=[64, 128, 256, 512], help="evaluations per sample")
    options = parser.parse_args(arguments)
    import captum

    print(f"torch {torch.__version__}, captum {captum.__version__}, {options.seeds} seeds, {N} samples, {K} features")
    found = []
    for method in METHODS:
        numbers = [budget if method == "kernel_shap" else (budget - 1) // K for budget in options.budgets]
        rows = [compete(method, name, number, options.seeds) for number in numbers for name in MODELS]
        show(method, rows)
        print(f"  all budgets and models {median(rows):.3f} (target at most {TARGET})")
        found += rows
    for method in METHODS:
        rows = [compete(method, name, DEFAULT, options.seeds) for name in MODELS]
        show(f"{method}, Captum's default n_samples={DEFAULT}", rows)
    return found


if __name__ == "__main__":
    main()
