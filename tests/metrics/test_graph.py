"""Metrics of graphs against loops over nodes and edges, and where they have no meaning."""

import math

import pytest
import torch
from torch import Tensor, nn

from tests.metrics.toys import maps_of, score
from tests.models_for_tests import numbers, weights
from xbench.algorithms import Inverse, TrueMap
from xbench.datasets.graphs import graph_features
from xbench.datasets.record import Split
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.explain.score import refusal
from xbench.metrics import Characterisation, FidelityMinus, FidelityPlus, Metric, Unfaithfulness
from xbench.models.graph import GCN

NODES, WIDTH, GRAPHS = 6, 3, 5
METRICS = [FidelityPlus(top=0.3), FidelityMinus(top=0.3), Characterisation(top=0.3, plus=0.3), Unfaithfulness(top=0.3)]
TARGET = [0, 2, 1, 1, 0]


def graphs() -> Split:
    """Random graphs; the last has a node less than the others."""
    links = (numbers(GRAPHS, NODES, NODES, seed=2) > 0.4).double().triu(1)
    present = torch.ones(GRAPHS, NODES, dtype=torch.float64)
    present[-1, -1] = links[-1, :, -1] = 0
    nodes = numbers(GRAPHS, NODES, WIDTH) * present[..., None]
    inputs = {"nodes": nodes, "edges": links + links.mT}
    return Split(tuple(f"graph-{i}" for i in range(GRAPHS)), inputs, torch.tensor(TARGET), extra=(present,))


def model(classes: int = 3) -> nn.Module:
    return weights(GCN({"nodes": (NODES, WIDTH), "edges": (NODES, NODES)}, classes, width=8), scale=2)


def setting(data: Split) -> dict[str, object]:
    features = graph_features(data)
    return {
        "target": TARGET, "features": (features["nodes"], features["edges"]), "extra": data.extra, "ids": data.ids,
        "baselines": 0, "features_called": "nodes and edges",
    }  # fmt: skip


def _part(nodes: Tensor, edges: Tensor, phi: tuple[Tensor, Tensor], present: Tensor, top: float) -> list[list[Tensor]]:
    """(nodes, edges) without the most relevant share of nodes and edges, and of that share alone; one graph."""
    relevance = {}
    for node in range(NODES):
        if present[node]:
            relevance["node", node, 0] = float(phi[0][node].sum())
    for a in range(NODES):
        for b in range(a + 1, NODES):
            if edges[a, b]:
                relevance["edge", a, b] = float(phi[1][a, b] + phi[1][b, a])
    most = sorted(relevance, key=lambda each: -relevance[each])[: max(1, round(top * len(relevance)))]
    parts = []
    for keeps in (lambda each: each not in most, lambda each: each in most):
        kept = [torch.zeros_like(nodes), torch.zeros_like(edges)]
        for each in relevance:
            kind, a, b = each
            if keeps(each) and kind == "node":
                kept[0][a] = nodes[a]
            elif keeps(each):
                kept[1][a, b], kept[1][b, a] = edges[a, b], edges[b, a]
        parts.append(kept)
    return parts


def _probabilities(network: nn.Module, nodes: Tensor, edges: Tensor, present: Tensor) -> list[float]:
    with torch.no_grad():
        logits = network(nodes[None], edges[None], present[None])[0].tolist()
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


def slow(network: nn.Module, data: Split, phi: tuple[Tensor, Tensor], row: int) -> dict[str, float]:
    nodes, edges, present, y = *(data.inputs[part][row] for part in ("nodes", "edges")), data.extra[0][row], TARGET[row]
    without, alone = _part(nodes, edges, (phi[0][row], phi[1][row]), present, 0.3)
    p, p_without, p_alone = (_probabilities(network, *graph, present) for graph in ((nodes, edges), without, alone))
    plus, minus = abs(p[y] - p_without[y]), abs(p[y] - p_alone[y])
    divergence = sum(a * math.log(a / b) for a, b in zip(p, p_alone, strict=True))
    return {
        "fidelity_plus": plus,
        "fidelity_plus_changed": float(p.index(max(p)) != p_without.index(max(p_without))),
        "fidelity_minus": minus,
        "fidelity_minus_changed": float(p.index(max(p)) != p_alone.index(max(p_alone))),
        "characterisation": (0.3 + 0.7) / (0.3 / plus + 0.7 / (1 - minus)),
        "unfaithfulness": 1 - math.exp(-divergence),
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_each_is_the_formula_of_its_paper(metric: Metric) -> None:
    network, data = model(), graphs()
    phi = numbers(GRAPHS, NODES, WIDTH, seed=5), numbers(GRAPHS, NODES, NODES, seed=6)
    flat = torch.cat([part.flatten(1) for part in phi], dim=1)
    inputs = (data.inputs["nodes"], data.inputs["edges"])
    found = score(network, inputs, metric, maps_of(flat, local=False), **setting(data))
    expected = [slow(network, data, phi, row) for row in range(GRAPHS)]
    for name, values in found.items():
        torch.testing.assert_close(values, torch.tensor([row[name] for row in expected], dtype=torch.float64))
    assert found[metric.main].unique().numel() == GRAPHS


class Motif(nn.Module):
    """Two classes: four times the number of edges among the first three nodes, and the number of all edges."""

    def forward(self, nodes: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        return (
            torch.stack([4 * edges[:, :3, :3].sum((1, 2)), edges.sum((1, 2))], dim=1) + 0 * nodes.sum((1, 2))[:, None]
        )


def test_the_true_map_beats_its_inverse_where_the_answer_is_known() -> None:
    links = torch.zeros(1, NODES, NODES, dtype=torch.float64)
    for a, b in ((0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5)):
        links[0, a, b] = links[0, b, a] = 1
    present, nodes = torch.ones(1, NODES, dtype=torch.float64), torch.ones(1, NODES, WIDTH, dtype=torch.float64)
    data = Split(("one",), {"nodes": nodes, "edges": links}, torch.tensor([0]), extra=(present,))
    motif = torch.zeros(1, NODES, NODES, dtype=torch.bool)
    motif[0, :3, :3] = links[0, :3, :3] > 0
    common = setting(data) | {"target": 0, "masks": (torch.zeros(1, NODES, 1, dtype=torch.bool), motif)}
    for metric in METRICS:
        right, wrong = (
            score(Motif(), (nodes, links), metric, method, **common)[metric.main]
            for method in (TrueMap(), Inverse(TrueMap()))
        )
        column = metric.facts.columns[metric.main]
        assert bool(right > wrong) == (column.direction == "higher"), type(metric).__name__


def _refused(network: nn.Module, metric: Metric, **other: object) -> str:
    data = graphs()
    request = Request(network, (data.inputs["nodes"], data.inputs["edges"]), **setting(data) | other)
    return refusal(Explainer(request), metric, None) or ""


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_other_data_and_single_outputs_are_refused(metric: Metric) -> None:
    assert _refused(model(), metric) == ""
    assert _refused(model(), metric, features_called="patches").startswith("needs graphs")
    assert _refused(model(classes=1), metric, target=0).startswith("needs a choice among several outputs")


def test_parameters_out_of_range_are_refused() -> None:
    for share in (0, 1, -0.5):
        with pytest.raises(ValueError, match="top: expected a share between 0 and 1"):
            FidelityPlus(top=share)
    with pytest.raises(ValueError, match="plus: expected a weight between 0 and 1, got 1"):
        Characterisation(plus=1)
