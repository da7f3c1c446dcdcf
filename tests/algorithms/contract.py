"""Every configured algorithm, the sites and readouts that it meets, and how it is evaluated there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from tests.models_for_tests import AttentionNet, ConvNet, Fuse, TextNet, numbers, weights
from xbench import Speed
from xbench import algorithms as a
from xbench.config.nodes import instantiate
from xbench.engine import Counters
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N = 5
# Fewer evaluations than the configs ask for, a tolerance that no sample meets before max_steps, and maps with signs.
QUICK = {"n_steps": 4, "n_samples": 9, "nt_samples": 3, "max_evals": 8, "alpha": 1e-3, "tol": 1e-30, "max_steps": 8}
QUICK |= {"relu_attributions": False}
TARGET = [0, 2, 1, 1, 0]
NEURON = ("hidden", 2)
IDS = tuple(f"sample-{i}" for i in range(N))
LENGTHS = (7, 5, 3, 6, 4)  # real tokens of each text: padding, and a different number of features per sample
FEATURES = {"input": 7, "embedding": 7, "conv": 8}  # the most features of a sample
WINDOWS = {"input": 36, "embedding": 7, "conv": 16}  # positions of the window that Occlusion chooses
SHAPES = {"input": (1, 6, 6), "embedding": (7, 4), "conv": (2, 4, 4), "attention": (7, 4)}
CHANNELS = {"input": 2, "embedding": 6, "conv": 2}  # of the last convolution


# Of functions that are written down only, which no network here is: tests/algorithms/test_controls.py.
OF_KNOWN_FUNCTIONS = {"exact"}


def _nodes() -> dict[str, dict[str, Any]]:
    """The config of every algorithm: each file of the group that names a class."""
    folder = Path(__file__).parents[2] / "conf" / "algorithm"
    files = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(folder.glob("*.yaml"))}
    return {
        name: node
        for name, node in files.items()
        if isinstance(node, dict)
        and "_target_" in node
        and "???" not in node.values()  # ???: the user's to fill
        and name not in OF_KNOWN_FUNCTIONS
    }


NODES = _nodes()


def _shortened(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: QUICK.get(key, _shortened(value)) for key, value in node.items()}


def algorithm(name: str, *, quick: bool = True) -> a.Algorithm:
    made = instantiate(_shortened(NODES[name]) if quick else NODES[name], name)
    assert isinstance(made, a.Algorithm)
    return made


def setting(site: str, readout: str, algorithm: a.Algorithm, **changes: Any) -> Request:
    """What is explained, on a model of its own."""
    texts = {"embedding": TextNet, "attention": AttentionNet}
    made = _text(texts[site]()) if site in texts else _image(None if site == "input" else "conv2")
    if algorithm.facts.distribution:
        made = replace(made, baselines=_distribution(made))
    # With a neuron the target matters to Conductance alone: the output whose gradient flows through it.
    made = replace(made, ids=IDS, target=TARGET, neuron=NEURON if readout == "neuron" else None)
    # Rewritten models are copies, whose fuse nobody watches; tests/engine/rewrites/test_choice.py is about them.
    return replace(made, **{"speed": Speed(rewrites=False)} | changes)


def _image(layer: str | None) -> Request:
    if layer is None:
        features = torch.arange(36).reshape(1, 1, 6, 6) // 6
        features[..., :2] = -1  # no feature's
        features[..., 0] = 9  # an id far from the others
    else:
        features = torch.arange(8).reshape(1, 2, 4, 1)
    return Request(
        weights(ConvNet()), numbers(N, 1, 6, 6), baselines=numbers(1, 1, 6, 6, seed=2) / 2, features=features,
        masks=numbers(N, 1, *(SHAPES["input"] if layer is None else SHAPES["conv"])[1:], seed=3) > 0, layer=layer,
    )  # fmt: skip


def _text(model: nn.Module) -> Request:
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    mask = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    features = torch.where(mask, torch.arange(7), -1)
    return Request(
        weights(model, scale=2), ids * mask, baselines=torch.zeros(N, 7, dtype=torch.int64), features=features,
        masks=mask & (torch.arange(7) % 3 > 0), extra=(mask.double(),), layer="embedding",
    )  # fmt: skip


def _distribution(made: Request) -> Tensor:
    """Three baselines for all samples."""
    if made.layer == "embedding":
        return torch.randint(0, 20, (3, 7), generator=torch.Generator().manual_seed(5))
    return numbers(3, 1, 6, 6, seed=2)


def picked(made: Request, rows: list[int]) -> Request:
    """Only these samples, in this order."""
    assert isinstance(made.inputs, Tensor)

    def take(value: Any) -> Any:
        if isinstance(value, Tensor) and len(value) == N:
            return value[rows]
        return [value[i] for i in rows] if isinstance(value, list) else value

    return replace(
        made, inputs=made.inputs[rows], target=take(made.target), baselines=take(made.baselines),
        features=take(made.features), masks=take(made.masks),
        extra=tuple(take(e) for e in made.extra), ids=tuple(IDS[i] for i in rows),
    )  # fmt: skip


@dataclass(frozen=True)
class Result:
    maps: Tensor
    counters: Counters


def explain(made: Request, method: a.Algorithm) -> Result:
    explainer = Explainer(made)
    (maps,) = explainer.shaped(explainer.attribute(method))
    return Result(maps, explainer.engine.counters)


def prepared(made: Request, method: a.Algorithm) -> tuple[Explainer, Callable[[], Tensor]]:
    """The explainer, and the algorithm's own evaluations: baselines are at their site, shapes of layers are known."""
    explainer = Explainer(made)
    assert explainer.missing(method) is None
    case = explainer.case(distribution=method.facts.distribution)
    return explainer, lambda: explainer.run(method.plan, case, explainer.x)


@cache
def expected(name: str, site: str, readout: str) -> Result:
    """The maps with the engine's own choice of rows."""
    return explain(setting(site, readout, algorithm(name)), algorithm(name))


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


# What does not suit a toy model, and why. Everything else must work everywhere.
UNFIT: dict[tuple[str, str], str] = {
    ("blur_ig", "embedding"): "needs images",
    ("edges", "embedding"): "needs images",
    **{
        (name, site): "needs an attention layer"
        for name in NODES
        for site in ("input", "embedding", "conv")
        if a.Need.ATTENTION in algorithm(name).facts.needs
    },
}
PAIRS = [
    (name, site)
    for name in NODES
    for site in SHAPES
    if (name, site) not in UNFIT and (site == "attention") == (a.Need.ATTENTION in algorithm(name).facts.needs)
]
everywhere = pytest.mark.parametrize(("name", "site"), PAIRS)
# External code sends rows as it likes.
planned = pytest.mark.parametrize(
    ("name", "site"),
    [(name, site) for name, site in PAIRS if not isinstance(algorithm(name), a.ExternalAlgorithm)],
)
every_readout = pytest.mark.parametrize("readout", ["target", "neuron"])


def fuse_of(made: Request) -> Fuse:
    fuse = made.model.get_submodule("fuse")
    assert isinstance(fuse, Fuse)
    return fuse


def explained(made: Request, x: Tensor) -> Tensor:
    """The explained scalar, by hand."""
    seen: list[Tensor] = []
    with torch.no_grad():
        handle = made.model.get_submodule("hidden").register_forward_hook(lambda _m, _a, out: seen.append(out))
        output = made.model(x, *made.extra)
        handle.remove()
    if made.neuron is not None:
        return seen[0][:, 2]
    return output[torch.arange(N), torch.tensor(TARGET)]
