"""Nodes of one large graph as samples: each sample is a node's neighbourhood, with the node itself first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xbench.boundary import libraries
from xbench.datasets.generated import Generated
from xbench.datasets.graphs import HOUSE, further
from xbench.datasets.record import Dataset, mixed_order

PLACES = ("base", "roof", "middle", "ground")
_LINKS = 5  # edges per new node of the random graph
_PLACE = (1, 2, 3, 3, 2)  # classes of a house's nodes; the first is the roof


@dataclass(frozen=True)
class Cut:
    """Neighbourhoods padded to one size: node numbers, edges (n, N, N), and a mask of existing nodes (n, N)."""

    nodes: tuple[tuple[int, ...], ...]
    edges: Tensor
    present: Tensor


def cut(neighbours: Sequence[Sequence[int]], starts: Sequence[int], hops: int, most: int) -> Cut:
    """The neighbourhood of each start: nodes up to `hops` edges away, at most `most`, the nearest first."""
    hoods = [_around(neighbours, start, hops, most) for start in starts]
    edges, present = torch.zeros(len(starts), most, most), torch.zeros(len(starts), most)
    for row, hood in enumerate(hoods):
        place = {node: i for i, node in enumerate(hood)}
        for node, i in place.items():
            for other in neighbours[node]:
                if other in place:
                    edges[row, i, place[other]] = 1
        present[row, : len(hood)] = 1
    return Cut(tuple(map(tuple, hoods)), edges, present)


def _around(neighbours: Sequence[Sequence[int]], start: int, hops: int, most: int) -> list[int]:
    found, edge = {start: None}, [start]
    for _ in range(hops):
        edge = list(dict.fromkeys(b for a in edge for b in neighbours[a] if b not in found))
        found |= dict.fromkeys(edge)
    return list(found)[:most]


@dataclass(frozen=True)
class BAShapes:
    """A random graph with houses of five nodes attached: a node's class is its place in a house, or none.

    The mask of a node in a house is the nodes and edges of that house; nodes of the random graph have no mask. All
    nodes have the same features, so only the edges are informative.
    Source: Ying, Bourgeois, You, Zitnik, Leskovec 2019, "GNNExplainer" (arXiv 1903.03894), BA-Shapes; generated
    here, without its random edges.

    base: nodes of the random graph. houses: number of houses. hops, max_nodes: size of the neighbourhoods.
    n: number of nodes to explain. seed.
    """

    base: int = 300
    houses: int = 80
    hops: int = 4
    max_nodes: int = 40
    n: int = 120
    seed: int = 0

    def __post_init__(self) -> None:
        if self.base <= _LINKS or self.houses < 1:
            raise ValueError(f"base, houses: expected at least {_LINKS + 1} and 1, got {self.base} and {self.houses}")
        if self.hops < 1 or self.max_nodes < len(_PLACE):
            raise ValueError(f"hops, max_nodes: expected at least 1 and 5, got {self.hops} and {self.max_nodes}")

    def load(self) -> Dataset:
        with libraries.extra("graph", "dataset=ba_shapes"):
            import networkx
        graph = networkx.barabasi_albert_graph(self.base, _LINKS, seed=self.seed)
        hung = torch.randint(self.base, (self.houses,), generator=torch.Generator().manual_seed(self.seed)).tolist()
        labels, house_of = [0] * self.base, [-1] * self.base
        for number, node in enumerate(hung):
            first = len(graph)
            graph.add_edges_from((first + a, first + b) for a, b in HOUSE)
            graph.add_edge(first + 2, node)
            labels += _PLACE
            house_of += [number] * len(_PLACE)
        # Nodes of houses first, so that a neighbourhood truncated at a hub still contains its own house.
        neighbours = [sorted(graph[node], reverse=True) for node in range(len(graph))]
        order = mixed_order(labels, range(len(labels)))
        made = cut(neighbours, order, self.hops, self.max_nodes)
        nodes = torch.full((len(order), self.max_nodes, 4), 0.5) * made.present[..., None]
        same = torch.zeros(made.present.shape, dtype=torch.bool)
        for row, hood in enumerate(made.nodes):
            own = house_of[hood[0]]
            same[row, : len(hood)] = torch.tensor([own >= 0 and house_of[node] == own for node in hood])
        return Generated(
            name="ba_shapes",
            modality="graph",
            classes=PLACES,
            inputs={"nodes": nodes, "edges": made.edges},
            labels=torch.tensor(labels)[order],
            n=self.n,
            origin="a random graph with houses, made by xbench after Ying et al. 2019",
            masks={"nodes": same[..., None], "edges": (made.edges > 0) & same[:, None] & same[:, :, None]},
            extra=(made.present,),
            further=further(self.max_nodes, 4),
        ).dataset()
