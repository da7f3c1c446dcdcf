"""Graphs as dense tensors: node features and an adjacency matrix; both are explained.

A sample has the parts "nodes" (N, F) and "edges" (N, N), padded to the largest graph, and an extra argument of the
model that marks the existing nodes (N,). A feature is a node with its whole vector, or an edge in both directions;
a pair of nodes without an edge is not a feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset, Split

CLASSES = ("house", "cycle")
MOTIF = 5  # nodes
# A house is a cycle of five nodes with one chord.
CYCLE = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0))
HOUSE = (*CYCLE, (1, 4))


@dataclass(frozen=True)
class BA2Motifs:
    """Random trees with a house or a cycle of five nodes attached; the class is the motif, the mask its elements.

    Source: Luo et al. 2020, "Parameterized Explainer for Graph Neural Network" (arXiv 2011.04573), BA-2motifs;
    generated here. All nodes have the same features, so only the edges are informative.

    base: nodes of the tree (Barabási and Albert, one edge per new node). n (to explain), train, seed.
    """

    base: int = 20
    n: int = 120
    train: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        if self.base < 2:
            raise ValueError(f"base: expected at least 2 nodes, got {self.base}")

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        count, size = self.n + self.train, self.base + MOTIF
        labels = torch.arange(count) % len(CLASSES)
        edges = torch.zeros(count, size, size)
        motif = torch.zeros(count, size, size, dtype=torch.bool)
        draws = torch.rand(count, self.base + 1, generator=random).tolist()
        orders = torch.rand(count, size, generator=random).argsort(1).tolist()  # node numbers carry no information
        for row, (draw, order) in enumerate(zip(draws, orders, strict=True)):
            ends = [0, 1]  # each node occurs once per edge: preferential attachment
            links = [(0, 1)]
            for new in range(2, self.base):
                old = ends[int(draw[new] * len(ends))]
                links.append((new, old))
                ends += [new, old]
            shape = CYCLE if labels[row] else HOUSE
            ring = torch.tensor([(order[self.base + a], order[self.base + b]) for a, b in shape])
            links.append((int(draw[self.base] * self.base), self.base))
            tree = torch.tensor([(order[a], order[b]) for a, b in links])
            for pairs in (tree, tree.flip(1), ring, ring.flip(1)):
                edges[row, pairs[:, 0], pairs[:, 1]] = 1
            motif[row, ring[:, 0], ring[:, 1]] = motif[row, ring[:, 1], ring[:, 0]] = True
        nodes = torch.full((count, size, 4), 0.5)
        return Generated(
            name="ba_2motifs",
            modality="graph",
            classes=CLASSES,
            inputs={"nodes": nodes, "edges": edges},
            labels=labels,
            n=self.n,
            origin="random trees with a house or a cycle, made by xbench after Luo et al. 2020",
            masks={"nodes": motif.any(2)[..., None], "edges": motif},
            extra=(torch.ones(count, size),),
            further=further(size, 4),
        ).dataset()


def further(size: int, width: int) -> dict[str, Any]:
    """Baseline and features of graphs."""
    return {
        "baseline": {"nodes": torch.zeros(1, size, width), "edges": torch.zeros(1, size, size)},
        "features": graph_features,
        "value_range": (0.0, 1.0),
    }


def graph_features(split: Split) -> Mapping[str, Tensor]:
    """Feature ids: one per node, and one per edge in both directions; -1 where there is no node or edge."""
    assert isinstance(split.inputs, Mapping)
    nodes, edges = split.inputs["nodes"], split.inputs["edges"]
    assert isinstance(nodes, Tensor)
    assert isinstance(edges, Tensor)
    size = edges.shape[1]
    number = torch.where(split.extra[0] > 0, torch.arange(size), -1)
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    pair = size + torch.minimum(row, column) * size + torch.maximum(row, column)
    return {"nodes": number[..., None].expand_as(nodes), "edges": torch.where(edges != 0, pair, -1)}
