"""Ours and Captum on the same models and draws: what tests of parity share."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models_for_tests import ConvNet, TextNet, TwoInputs, numbers, weights
from xbench import algorithms as a
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

N = 4
TARGET = [0, 2, 1, 2]
SEED = 5


def same(ours: Any, theirs: Any, tolerance: float = 1e-6) -> None:
    """Equal up to `tolerance` of the largest value; neither all zero."""
    if isinstance(ours, tuple):
        assert isinstance(theirs, tuple)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, tolerance)
        return
    scale = float(ours.abs().max())
    assert scale > 1e-3
    torch.testing.assert_close(ours, theirs.detach().double(), rtol=tolerance, atol=tolerance * scale)


def images() -> tuple[nn.Module, Tensor, Tensor]:
    """A convolutional network, its samples and one baseline each."""
    return weights(ConvNet(), scale=1.5), numbers(N, 1, 6, 6), numbers(N, 1, 6, 6, seed=2) / 2


def texts() -> tuple[nn.Module, Tensor, Tensor, tuple[Tensor]]:
    """A network on token ids, its samples, one baseline of ids, and the mask it takes beside them."""
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(1, 20, (N, 7), generator=generator)
    mask = (torch.arange(7) < torch.tensor([7, 5, 3, 6])[:, None]).double()
    return weights(TextNet(), scale=2), ids, torch.zeros(1, 7, dtype=torch.int64), (mask,)


def pairs() -> tuple[nn.Module, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A network of two inputs, its samples and baselines."""
    inputs = numbers(N, 3), numbers(N, 2, 2, seed=2)
    return weights(TwoInputs(), scale=2), inputs, (numbers(1, 3, seed=6), numbers(1, 2, 2, seed=7))


class Queue:
    """Stands in for a random function: hands out prepared draws in order, and knows whether all were used."""

    def __init__(self, *draws: Any) -> None:
        self.draws = list(draws)

    def __call__(self, *_: object, **__: object) -> Any:
        return self.draws.pop(0)

    def scaled(self, _mean: float, stdev: Tensor) -> Tensor:
        return self().reshape(stdev.shape) * stdev.double()


def ours_drawn(draw: Callable[[int], Tensor], count: int) -> Tensor:
    """`count` draws (n, d) in Captum's order: all copies of a sample, then the next sample: (n x count, d)."""
    return torch.stack([draw(k) for k in range(count)], 1).flatten(0, 1)


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes Captum draw what ours draws; `noise(normal=[...])` per input tensor, `choice`, `uniform` for baselines."""
    queues: list[Queue] = []

    def inject(*, normal: list[Tensor], choice: list[np.ndarray] | None = None, uniform: Any = None) -> None:
        queues.extend([Queue(*normal), Queue(*(choice or [])), Queue(*([] if uniform is None else [uniform]))])
        monkeypatch.setattr(torch, "normal", queues[-3].scaled)
        monkeypatch.setattr(np.random, "choice", queues[-2])
        monkeypatch.setattr(np.random, "uniform", queues[-1])

    yield inject
    assert queues
    assert not any(queue.draws for queue in queues)


def draws(n: int = N) -> Draws:
    return Draws(SEED, tuple(map(str, range(n))))


def gradient_shap_draws(count: int, rows: int, *widths: int) -> dict[str, Any]:
    """What `GradientShap(count)` draws for inputs of these widths and as many baselines, as `noise` takes it."""
    one, flat = torch.empty(N, 1, dtype=torch.float64), torch.empty(N, sum(widths), dtype=torch.float64)
    which = ours_drawn(lambda k: draws().uniform("baseline", k, one), count).squeeze(1)
    return {
        "normal": list(ours_drawn(lambda k: draws().normal("noise", k, flat), count).split(widths, 1)),
        "choice": [(which * rows).long().numpy()] * len(widths),
        "uniform": ours_drawn(lambda k: draws().uniform("path", k, one), count).squeeze(1).numpy(),
    }


# Coalitions


def coalitions(setting: Request, method: a.Algorithm) -> Tensor:
    """Which features are present in the points that ours evaluates, (n, S, K)."""
    explainer = Explainer(setting)
    case = explainer.case(distribution=False)
    first = [int((case.features[0] == k).nonzero()[0]) for k in range(int(case.counts[0]))]
    points = torch.stack(list(method.plan(case, explainer.x).points), 1)
    return (points == explainer.x.unsqueeze(1))[:, :, first].long()


def grouped() -> Request:
    """Images of nine features, all samples with a baseline of their own."""
    model, x, x0 = images()
    return Request(model, x, target=TARGET, baselines=x0, features=torch.arange(36).reshape(1, 1, 6, 6) // 4, seed=SEED)


def maps_of(setting: Request, method: a.Algorithm) -> Tensor:
    """Ours."""
    explainer = Explainer(setting)
    return explainer.shaped(explainer.attribute(method))[0]


def one_by_one(setting: Request, explain: Callable[..., Tensor]) -> Tensor:
    """Captum's maps of the samples, each by itself; `explain` takes its number and the arguments of `attribute`."""
    each = zip(setting.inputs.split(1), setting.baselines.split(1), TARGET, strict=True)
    return torch.cat(
        [explain(i, x, x0, target, feature_mask=setting.features) for i, (x, x0, target) in enumerate(each)]
    )
