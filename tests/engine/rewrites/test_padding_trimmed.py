"""Rows of texts pass the model at their own length: the same maps from fewer positions, or the padding stays."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.algorithms.contract import LENGTHS, NODES, algorithm, setting
from tests.metrics.toys import bag
from tests.models_for_tests import weights
from xbench import Speed
from xbench.algorithms import Algorithm, DeepLift, FeatureAblation, GradCam, IntegratedGradients, Saliency
from xbench.core.needs import NotApplicable
from xbench.core.padding import Padded
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.models.text_cnn import TextCNN

NOTE = "padding left out"
WORDS = [2, 9, 5, 2, 3, 9, 4, 2]
PADDED = Padded(0, 9, torch.tensor(WORDS))


def texts() -> Tensor:
    """Token ids (8, 9), 0 behind each sample's own words; none twice, for of equal maxima rounding chooses one."""
    draws = torch.Generator().manual_seed(1)
    ids = torch.stack([1 + torch.randperm(11, generator=draws)[:9] for _ in WORDS])
    return ids * (torch.arange(9) < PADDED.lengths[:, None])


def explainer(model: nn.Module, *, trims: bool, **changes: object) -> Explainer:
    made = Request(model, texts(), target=0, baselines=torch.full((8, 9), 2), layer="embedding", padded=PADDED)
    return Explainer(replace(made, speed=Speed(rewrites="always" if trims else False), **changes))


def text_cnn() -> nn.Module:
    return weights(TextCNN(12, 3, dimension=4, width=5).eval(), scale=2)


@pytest.mark.slow
@pytest.mark.parametrize("readout", ["output", "neuron"])
@pytest.mark.parametrize("site", ["embedding", "attention"])
@pytest.mark.parametrize("name", sorted(NODES))
def test_no_algorithm_s_maps_change(name: str, site: str, readout: str) -> None:
    method = algorithm(name)
    padded = Padded(0, 7, torch.tensor(LENGTHS))
    plain, trimming = (
        Explainer(setting(site, readout, method, speed=Speed(rewrites=rewrites), padded=padded, rows=2))
        for rewrites in (False, "always")
    )
    try:
        expected = plain.attribute(method)
    except (NotApplicable, ValueError) as error:  # what does not apply here does not become applicable
        with pytest.raises(type(error), match=re.escape(str(error))):
            trimming.attribute(method)
        return
    torch.testing.assert_close(trimming.attribute(method), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("method", [Saliency(), IntegratedGradients(9), DeepLift(), FeatureAblation()], ids=repr)
@pytest.mark.parametrize("rows", [1, 3])
def test_short_texts_pass_the_model_without_their_padding(method: Algorithm, rows: int) -> None:
    model = text_cnn()
    seen: list[torch.Size] = []
    expected = explainer(model, trims=False).attribute(method)
    made = explainer(model, trims=True, rows=rows)
    made.attribute(method)  # tries
    with model.convolutions[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape)):
        torch.testing.assert_close(made.attribute(method), expected, rtol=1e-9, atol=1e-11)
    assert made.engine.counters.rewrites[NOTE] == "used"
    positions = sum(shape[0] * shape[2] for shape in seen)
    assert positions < 0.75 * sum(shape[0] for shape in seen) * 9


def test_a_model_that_looks_at_its_padding_keeps_it() -> None:
    made = explainer(bag(), trims=True)  # its gradient is the same at every position
    torch.testing.assert_close(made.attribute(Saliency()), explainer(bag(), trims=False).attribute(Saliency()))
    assert made.engine.counters.rewrites[NOTE].startswith("dropped: results differ")


class Windows(nn.Module):
    """A convolution over three words at a time, which takes no fewer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.convolution = nn.Embedding(12, 4), nn.Conv1d(4, 3, 3)

    def forward(self, ids: Tensor) -> Tensor:
        real = (ids != 0).to(self.embedding.weight.dtype)
        found = self.convolution((self.embedding(ids) * real[..., None]).transpose(1, 2))
        return (found * real[:, None, 2:]).sum(2)


def test_texts_too_short_for_the_model_keep_their_padding() -> None:
    model = weights(Windows())
    expected = explainer(model, trims=False).attribute(IntegratedGradients(5))
    made = explainer(model, trims=True, rows=1)
    torch.testing.assert_close(made.attribute(IntegratedGradients(5)), expected, rtol=1e-9, atol=1e-11)
    note = made.engine.counters.rewrites[NOTE]
    assert note.startswith("used, but not for rows of up to 2 positions: RuntimeError: ")


class Twice(nn.Module):
    """A number per sample beside its words; the number of words comes as a keyword, the mask behind the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(12, 4), nn.Linear(4, 2)

    def forward(self, numbers: Tensor, ids: Tensor, real: Tensor, *, words: Tensor) -> Tensor:
        mean = (self.embedding(ids) * real[..., None]).sum(1) / words[:, None]
        return self.head(torch.tanh(mean)) * numbers.sum(1, keepdim=True)


def test_other_inputs_and_further_arguments_follow() -> None:
    ids = texts()
    real = (ids != 0).double()
    numbers = torch.rand(8, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs, baselines = (numbers, ids), (0.0, torch.full((8, 9), 2))
    maps = []
    for trims in (False, True):
        made = explainer(
            weights(Twice()), trims=trims, inputs=inputs, baselines=baselines, extra=(real,),
            kwargs={"words": PADDED.lengths}, padded=replace(PADDED, input=1), layer=None, rows=2,
        )  # fmt: skip
        maps.append(made.attribute(FeatureAblation()))
        assert (made.engine.counters.rewrites.get(NOTE) == "used") == trims
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-9, atol=1e-11)


def test_elsewhere_than_where_points_enter_nothing_is_cut() -> None:
    made = explainer(text_cnn(), trims=True, rows=2)
    expected = explainer(text_cnn(), trims=False, rows=2).attribute(GradCam())
    torch.testing.assert_close(made.attribute(GradCam()), expected, rtol=1e-9, atol=1e-11)
    assert NOTE not in made.engine.counters.rewrites


def test_batches_hold_rows_of_similar_length() -> None:
    padded = Padded(0, 40, torch.tensor([40, 31, 30, 29, 28, 18, 18, 18, 12, 11, 11, 11]))
    samples = torch.arange(12)
    sizes = []
    while len(samples):
        sizes.append(padded.batch(samples, 8))
        samples = samples[sizes[-1] :]
    assert sizes == [5, 4, 3]  # each begins below two thirds of the longest of the one before
    assert padded.batch(torch.arange(4, 12), 8) == 2  # a batch has at least a quarter of the rows it may have
    assert padded.batch(torch.arange(12), 1) == 1
    assert padded.falling(torch.tensor([8, 0, 5, 9])).tolist() == [1, 2, 0, 3]
