"""The small networks of every kind of data: trained through the door that users take, explained, refused."""

import re
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from xbench import attribute
from xbench.algorithms import IntegratedGradients
from xbench.config.compose import component
from xbench.models.fusion import PretrainedFusion
from xbench.models.geometric import Geometric
from xbench.models.graph import GCN
from xbench.models.mlp import MLP
from xbench.models.sequences import M5

PAIRS = [
    ("shapes", "pooled_cnn", 4),
    ("moving_shapes", "video_cnn", 4),
    ("planted_motifs", "series_cnn", 3),
    ("planted_motifs", "series_lstm", 3),
    ("tones", "m5", 4),
    ("tones", "mel_cnn", 4),
    ("planted_linear", "mlp", 3),
    ("planted_linear", "linear", 3),
    ("diabetes", "mlp", 1),
    ("wine", "linear", 3),
]


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "model", "outputs"), PAIRS)
def test_it_trains_is_found_again_and_deeplift_is_exact_on_it(dataset: str, model: str, outputs: int) -> None:
    made = {} if dataset in ("diabetes", "wine") else {"n=4", "train=12"}
    data = component("dataset", dataset, sorted(made)).load()
    source = component("model", model, ["epochs=1", "min_steps=1"])
    first, again = source.load(data), source.load(data)
    assert first.fingerprint == again.fingerprint == source.fingerprint(data)
    x = data.test.inputs[:2]
    with torch.no_grad():
        change = first.module(x)[:, -1] - first.module(data.baseline)[:, -1]
    assert first.module(x).shape == (2, outputs)
    maps = attribute(first.module, x, "deeplift", target=outputs - 1, baselines=data.baseline)
    torch.testing.assert_close(maps.flatten(1).sum(1), change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["gin", "gcn"])
def test_a_graph_network_explains_nodes_and_edges_and_padding_changes_nothing(model: str) -> None:
    data = component("dataset", "ba_2motifs", ["n=2", "train=8", "base=4"]).load()
    loaded = component("model", model, ["epochs=1", "min_steps=1"]).load(data)
    encoded = loaded.encode(data, data.test)
    maps = attribute(loaded.module, encoded.inputs, "deeplift", target=1, extra=encoded.extra)
    assert [m.shape for m in maps] == [x.shape for x in encoded.inputs]
    with torch.no_grad():
        outputs = loaded.module(*encoded.inputs, *encoded.extra)
        empty = loaded.module(*(torch.zeros_like(x) for x in encoded.inputs), *encoded.extra)
        padded = loaded.module(*_padded(*encoded.inputs, *encoded.extra))
    torch.testing.assert_close(padded, outputs)
    total = sum(m.flatten(1).sum(1) for m in maps)
    torch.testing.assert_close(total, (outputs - empty)[:, 1], rtol=1e-3, atol=1e-4)


def _padded(nodes: Tensor, edges: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same graphs with three nodes more that are not there."""
    return F.pad(nodes, (0, 0, 0, 3)), F.pad(edges, (0, 3, 0, 3)), F.pad(present, (0, 3))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["GCN", "GIN", "GAT", "GraphSAGE"])
def test_a_network_of_torch_geometric_explains_nodes_and_edges(network: str) -> None:
    data = component("dataset", "ba_2motifs", ["n=2", "train=8", "base=4"]).load()
    given = [f"architecture.network={network}", "epochs=1", "min_steps=1"]
    loaded = component("model", "geometric", given).load(data)
    encoded = loaded.encode(data, data.test)
    with torch.no_grad():
        outputs = loaded.module(*encoded.inputs, *encoded.extra)
        padded = loaded.module(*_padded(*encoded.inputs, *encoded.extra))
        one_by_one = torch.cat(
            [loaded.module(*(x[i : i + 1] for x in (*encoded.inputs, *encoded.extra))) for i in (0, 1)]
        )
    torch.testing.assert_close(padded, outputs)
    torch.testing.assert_close(one_by_one, outputs)
    nodes, edges = attribute(loaded.module, encoded.inputs, "saliency", target=1, extra=encoded.extra)
    assert nodes.any()
    assert edges[encoded.inputs[1] > 0].any()
    if network in ("GCN", "GIN"):  # the others count an edge of small weight, so that they jump at 0
        maps = attribute(loaded.module, encoded.inputs, IntegratedGradients(200), target=1, extra=encoded.extra)
        with torch.no_grad():
            empty = loaded.module(*(torch.zeros_like(x) for x in encoded.inputs), *encoded.extra)
        total = sum(m.flatten(1).sum(1) for m in maps)
        torch.testing.assert_close(total, (outputs - empty)[:, 1], rtol=0.02, atol=1e-3)


def test_a_graph_convolution_of_torch_geometric_is_that_of_the_paper() -> None:
    net = Geometric({"nodes": (5, 3), "edges": (5, 5)}, 2, "GCN", width=4, layers=1).double()
    upper = torch.rand(1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).triu(1)
    nodes, edges = torch.rand(1, 5, 3, dtype=torch.float64), upper + upper.transpose(1, 2)
    present = torch.ones(1, 5, dtype=torch.float64)
    (convolution,) = net.network.convs
    mixing = GCN({"nodes": (5, 3), "edges": (5, 5)}, 2).mixing(edges, present)
    states = mixing @ nodes @ convolution.lin.weight.T + convolution.bias
    torch.testing.assert_close(net(nodes, edges, present), net.classifier(states.mean(1)))


def test_a_message_goes_along_its_edge_and_no_other_way() -> None:
    net = Geometric({"nodes": (3, 2), "edges": (3, 3)}, 2, "GIN", layers=1, readout="first").double()
    nodes, present = torch.rand(1, 3, 2, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    to_first, from_first = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    to_first[0, 0, 1] = 1  # row 0 receives from node 1
    from_first[0, 1, 0] = 1
    alone = net(nodes, torch.zeros(1, 3, 3, dtype=torch.float64), present)
    torch.testing.assert_close(net(nodes, from_first, present), alone)
    assert not torch.allclose(net(nodes, to_first, present), alone)


def test_an_unknown_network_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"nodes": (3, 2), "edges": (3, 3)}
    with pytest.raises(ValueError, match="network: expected one of GCN, .*, got 'GNC'"):
        Geometric(shape, 2, "GNC")
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'xbench[graph]'")):
        Geometric(shape, 2)


def test_a_readout_of_the_first_node_depends_on_its_neighbourhood_alone() -> None:
    data = component("dataset", "ba_shapes", ["base=20", "houses=12", "n=10", "max_nodes=12"]).load()
    loaded = component("model", "gin_node", ["epochs=1", "min_steps=1"]).load(data)
    encoded = loaded.encode(data, data.test)
    nodes, _ = attribute(loaded.module, encoded.inputs, "saliency", target=1, extra=encoded.extra)
    assert nodes[:, 0].any(1).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["late_fusion", "pretrained_fusion"])
def test_image_and_words_are_explained_together(model: str) -> None:
    data = component("dataset", "shapes_question", ["n=3", "train=40"]).load()
    loaded = component("model", model, ["epochs=1"]).load(data)
    encoded = loaded.encode(data, data.test)
    image, words = encoded.inputs
    assert words.is_floating_point()
    ids = component("model", model, ["epochs=1"]).load(data)
    assert ids.fingerprint == loaded.fingerprint
    setting = {"target": 1, "baselines": encoded.baseline, "extra": encoded.extra}
    maps = attribute(loaded.module, encoded.inputs, "deeplift", **setting)
    with torch.no_grad():
        baseline = [b.expand_as(x) for b, x in zip(encoded.baseline, encoded.inputs, strict=True)]
        change = (loaded.module(image, words, *encoded.extra) - loaded.module(*baseline, *encoded.extra))[:, 1]
    total = sum(m.flatten(1).sum(1) for m in maps)
    torch.testing.assert_close(total, change, rtol=1e-3, atol=1e-4)
    seen, said = encoded.features
    assert set(seen.unique().tolist()) & set(said.unique().tolist()) == set()  # no word shares a feature with a patch


@pytest.mark.parametrize("model", ["late_fusion", "pretrained_fusion"])
def test_padding_of_a_sentence_changes_no_answer(model: str) -> None:
    data = component("dataset", "shapes_question", ["n=3", "train=40"]).load()
    loaded = component("model", model, ["epochs=1"]).load(data)
    encoded = loaded.encode(data, data.test)
    (image, words), (real,) = encoded.inputs, encoded.extra
    with torch.no_grad():
        answer = loaded.module(image, words, real)
        torch.testing.assert_close(loaded.module(image, F.pad(words, (0, 0, 0, 4)), F.pad(real, (0, 4))), answer)
        ids = F.pad(torch.tensor([[3, 4, 5]]), (0, 2))  # as in training
        vectors = loaded.module.embedding(ids)
        torch.testing.assert_close(loaded.module(image[:1], ids), loaded.module(image[:1], vectors, ids > 0))


def test_a_trunk_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="arch: alexnet has no layer1"):
        PretrainedFusion({"image": (3, 32, 32)}, 10, 2, arch="alexnet")


def test_a_table_is_standardised_inside_and_a_regression_answers_in_the_targets_unit() -> None:
    data = component("dataset", "diabetes").load()
    model = component("model", "linear").load(data)
    assert model.accuracy > 0.3  # R²
    outputs = model.module(data.test.inputs).flatten().detach()
    assert abs(float(outputs.mean()) - float(data.test.targets.mean())) < 30  # of 152
    assert isinstance(component("model", "mlp").architecture(shape=(4,), classes=2), MLP)


def test_the_wrong_kind_of_data_is_named() -> None:
    with pytest.raises(ValueError, match="'m5' is for audio data, but data set 'wine' is tabular"):
        component("model", "m5").load(component("dataset", "wine").load())
    with pytest.raises(ValueError, match="at least 1280 samples"):
        M5((1, 400), 2)


def test_the_mel_scale_follows_the_rate_of_the_data() -> None:
    data = component("dataset", "tones", ["n=2", "train=6", "rate=5000"]).load()
    assert component("model", "mel_cnn", ["epochs=1"]).load(data).module.spectrogram.sample_rate == 5000
    chosen = component("model", "mel_cnn", ["epochs=1", "architecture.rate=4000"]).load(data)
    assert chosen.module.spectrogram.sample_rate == 4000
