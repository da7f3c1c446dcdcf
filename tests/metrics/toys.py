"""What the metric tests share: a linear model, a text model without a mask, and one way to score."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.models_for_tests import weights
from xbench.algorithms import Algorithm
from xbench.core.case import Case
from xbench.engine.speed import Speed
from xbench.explain.explainer import Explainer
from xbench.explain.explanation import Explanation
from xbench.explain.request import Request, as_module
from xbench.explain.score import score_maps
from xbench.metrics import Metric
from xbench.metrics.maps import Maps

# What Captum says whenever it is given a tensor that does not require a gradient yet.
CAPTUM_LEAF = "ignore:Input Tensor .* did not already require gradients:UserWarning"
PARTNERS = torch.tensor([[9, 10], [18, 30]])  # elements of which a planted function sees the product alone


def linear(width: int = 36, classes: int = 3, seed: int = 0) -> nn.Module:
    """(n, ...) of `width` elements -> (n, classes), with a bias."""
    return weights(nn.Sequential(nn.Flatten(), nn.Linear(width, classes)), seed)


def with_hidden(model: nn.Module) -> nn.Module:
    """The same function with one more layer, the identity, so that what was the output is hidden."""
    classes = model[-1].out_features
    same = nn.Linear(classes, classes).double()
    with torch.no_grad():
        same.weight.copy_(torch.eye(classes))
        same.bias.zero_()
    return nn.Sequential(*model, same)


def known(model: nn.Module) -> nn.Module:
    """The model of 36 elements; it says of itself what the metrics of planted functions ask for, true or not."""
    model.known_dummies = torch.arange(36) < 9
    model.known_partners = PARTNERS
    return model


class Bag(nn.Module):
    """Token ids (n, T) -> 2 classes: a head on the sum of the word vectors.

    It has no mask of its own: padding does not count only because id 0 has the zero vector.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 4)
        self.head = head

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids).sum(1))


def bag(*layers: nn.Module) -> nn.Module:
    """A bag with these layers as its head; a linear one without any."""
    model = weights(Bag(nn.Sequential(*(layers or (nn.Linear(4, 2),)))))
    with torch.no_grad():
        model.embedding.weight[0] = 0
    return model


def score(
    model: nn.Module | Callable[..., object],
    inputs: Tensor | tuple[Tensor, ...],
    metric: Metric,
    explanation: object,
    **setting: object,
) -> dict[str, Tensor]:
    """Every column of a metric. Maps come as `Maps`; the keywords are those of `Request`.

    The model is evaluated as it is: whether a rewrite pays is found by the clock, and it changes the last digits.
    """
    explainer = Explainer(Request(as_module(model), inputs, speed=Speed(rewrites=False), **setting))
    made = Explanation(explanation, None) if isinstance(explanation, Maps) else Explanation.of(explanation, explainer)
    return score_maps(explainer, metric, made)


def maps_of(values: Tensor, *, local: bool) -> Maps:
    """Maps that are given, (n, d)."""
    return Maps(values, values, local=local, stochastic=False)


def flat_maps(model: nn.Module, inputs: Tensor | tuple[Tensor, ...], algorithm: Algorithm, **setting: object) -> Maps:
    """An algorithm's maps as a metric sees them."""
    explainer = Explainer(Request(model, inputs, **setting))
    return Explanation.of(algorithm, explainer).maps


def case_of(inputs: Tensor | tuple[Tensor, ...], **setting: object) -> tuple[Case, Tensor]:
    """The samples as a metric sees them, and flat, (n, d)."""
    explainer = Explainer(Request(nn.Identity(), inputs, **setting))
    return explainer.case(distribution=False), explainer.x
