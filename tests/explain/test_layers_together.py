"""Several layers in one call: points enter at all of them at once, or gradients are read at each."""

import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation, LayerIntegratedGradients
from torch import Tensor, nn

from xbench import attribute, measure
from xbench.algorithms import (
    Activation,
    DeepLift,
    FeatureAblation,
    GradientXActivation,
    IntegratedGradients,
    Saliency,
    ShapleyValueSampling,
)
from xbench.metrics import Completeness

BOTH = ["words", "places"]


class Sentence(nn.Module):
    """Words and their positions are embedded, added and squashed, as in a transformer's first steps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(10, 3)
        self.places = nn.Embedding(4, 3)
        self.first = nn.Linear(3, 5)
        self.last = nn.Linear(5, 2)
        self.double()

    def forward(self, ids: Tensor) -> Tensor:
        both = self.words(ids) + self.places(torch.arange(ids.shape[1]).expand_as(ids))
        return self.last(self.first(both).tanh().sum(1))


@pytest.fixture
def model() -> Sentence:
    return Sentence()


IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 0, 1, 2]])


@pytest.mark.filterwarnings("ignore:Multiple layers provided")  # Captum: none may follow another
def test_integrated_gradients_of_several_layers_are_captums(model: Sentence) -> None:
    ours = attribute(model, IDS, IntegratedGradients(n_steps=30), target=1, layer=BOTH, baselines=0)
    captums = LayerIntegratedGradients(model, [model.words, model.places])
    theirs = captums.attribute(IDS, baselines=torch.zeros_like(IDS), target=1, n_steps=30)
    assert isinstance(ours, tuple)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_the_maps_of_all_layers_together_add_up(model: Sentence) -> None:
    change = (model(IDS) - model(torch.zeros_like(IDS)))[:, 1]
    for algorithm in (DeepLift(), IntegratedGradients(n_steps=50), ShapleyValueSampling(n_samples=3)):
        maps = attribute(model, IDS, algorithm, target=1, layer=[model.words, "places"], baselines=0)
        total = sum(part.flatten(1).sum(1) for part in maps)
        torch.testing.assert_close(total, change, rtol=1e-6, atol=1e-9)
        score = measure(model, IDS, maps, Completeness(), target=1, layer=BOTH, baselines=0)
        assert float(score.max()) < 1e-5


def test_gradients_and_ablations_are_those_of_each_layer(model: Sentence) -> None:
    for algorithm in (Saliency(), FeatureAblation()):
        options = {"target": 0, "layer_baselines": 0.0} if isinstance(algorithm, FeatureAblation) else {"target": 0}
        together = attribute(model, IDS, algorithm, layer=BOTH, **options)
        for name, part in zip(BOTH, together, strict=True):
            torch.testing.assert_close(part, attribute(model, IDS, algorithm, layer=name, **options))


def test_several_layers_are_read_one_after_the_other_also_where_they_follow_each_other(model: Sentence) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(3, 4, dtype=torch.float64)
    names = ["0", "1"]
    layers = [model[0], model[1]]
    pairs = [
        (attribute(model, x, Activation(), read=names), LayerActivation(model, layers).attribute(x)),
        (
            attribute(model, x, GradientXActivation(), target=2, read=names),
            LayerGradientXActivation(model, layers).attribute(x, target=2),
        ),
    ]
    for ours, theirs in pairs:
        assert isinstance(ours, tuple)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)


def test_targets_and_samples_of_several_layers(model: Sentence) -> None:
    words, places = attribute(model, IDS, Saliency(), targets=[0, 1], layer=BOTH)
    assert words.shape == places.shape == (3, 2, 4, 3)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["words", "first"], "first follows another of the layers words and first"),
        (["words"], "expected a layer, or several different ones"),
        (["words", "words"], "expected a layer, or several different ones"),
        (["words", "wrods"], "no layer 'wrods'; did you mean words"),
    ],
)
def test_what_cannot_be_together_is_refused(model: Sentence, layers: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        attribute(model, IDS, Saliency(), target=0, layer=layers)
    with pytest.raises(ValueError, match="name the layers in `layer`"):
        attribute(model, IDS, FeatureAblation(), target=0, read=BOTH)
