"""The setting of the contract of metrics: nine samples, and every metric of conf/metric with few draws."""

from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from tests.metrics.toys import PARTNERS, known, linear, with_hidden
from tests.metrics.toys import score as score_logits
from tests.models_for_tests import numbers
from xbench.config.nodes import CONF, instantiate
from xbench.metrics import Focus, Metric, Symmetry
from xbench.metrics.robustness.relative_stability import RelativeStability

N = 9
IDS = tuple(f"sample-{i}" for i in range(N))
TARGET = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1, 0])
PATCHES = (torch.arange(36) // 9).reshape(1, 1, 6, 6)  # four features
MOSAIC = (torch.arange(6)[:, None] // 3 * 2 + torch.arange(6) // 3).reshape(1, 1, 6, 6)
# The metrics of probabilities: other outputs have no shares.
PROBABILITIES = {"irof", "average_drop"}


def names() -> list[str]:
    paths = sorted((Path(CONF) / "metric").glob("*.yaml"))
    return [path.stem for path in paths if "_target_:" in path.read_text()]


@lru_cache
def parameterised(name: str) -> Metric:
    metric = instantiate(OmegaConf.load(Path(CONF) / "metric" / f"{name}.yaml"), name)
    assert isinstance(metric, Metric)
    few: dict[str, float] = {"n_perturb_samples": 4, "beam": 1, "max_features": 36}
    quick = {field.name: few[field.name] for field in fields(metric) if field.name in few}
    if isinstance(metric, RelativeStability):  # where a draw must keep the class: one sample lies between two
        quick["perturb_radius"] = 0.001
    return replace(metric, **quick)


def score(model: nn.Module, x: Tensor, metric: Metric, explanation: object, **setting: object) -> dict[str, Tensor]:
    """Every column, of the output that the metric is for."""
    output = {"output": "probability"} if metric.main in PROBABILITIES else {}
    return score_logits(model, x, metric, explanation, **output, **setting)


@lru_cache
def masks(metric: Metric) -> Tensor:
    """Where the evidence for the targets lies in `linear()`: its five largest weights, (9, 1, 6, 6)."""
    if isinstance(metric, Focus):  # a cell of a mosaic
        return (TARGET.reshape(N, 1, 1, 1) == MOSAIC).reshape(N, 1, 6, 6)
    weight = linear()[1].weight.detach()
    most = weight >= weight.topk(5, dim=1).values[:, -1:]
    return most[TARGET].reshape(N, 1, 6, 6)


def plain(name: str) -> nn.Module:
    """A linear model, with a hidden layer for the metric that asks for one."""
    return known(with_hidden(linear()) if name == "relative_representation_stability" else linear())


def setting_of(metric: Metric, chosen: list[int], **other: object) -> dict[str, object]:
    """Samples `chosen` of the nine, each with its own id, baseline and target."""
    baselines = numbers(N, 1, 6, 6, seed=5) / 3
    if isinstance(metric, Symmetry):  # where one of a product is 0, both do the same
        baselines.flatten(1)[:, PARTNERS.flatten()] = 0
    return {
        "masks": masks(metric)[chosen],
        "ids": tuple(IDS[i] for i in chosen),
        "target": TARGET[chosen],
        "baselines": baselines[chosen],
        "features": PATCHES,
        **other,
    }


def samples() -> Tensor:
    return numbers(N, 1, 6, 6)
