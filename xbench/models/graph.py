"""Graph networks on dense adjacency matrices, so that edges can be explained like any input."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

READOUTS = ("mean", "sum", "first")


def pooled(states: Tensor, present: Tensor, readout: str) -> Tensor:
    """Node states (n, N, H) and the mask of existing nodes (n, N) -> (n, H): their mean or sum, or the first node's."""
    if readout == "first":
        return states[:, 0]
    there = present.unsqueeze(2)
    total = (states * there).sum(1)
    return total / there.sum(1) if readout == "mean" else total


class GraphNet(nn.Module):
    """Nodes (n, N, F), edges (n, N, N) and the mask of existing nodes (n, N) -> logits (n, classes).

    shape: {"nodes": (N, F), "edges": (N, N)}. classes: number of outputs. width: size of the hidden states.
    layers: rounds of message passing. readout: mean or sum over the existing nodes, or the first node (node
        classification).
    """

    modality: ClassVar[str] = "graph"

    def __init__(
        self,
        shape: Mapping[str, tuple[int, int]],
        classes: int,
        width: int = 32,
        layers: int = 3,
        readout: str = "mean",
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ValueError(f"readout: expected one of {', '.join(READOUTS)}, got {readout!r}")
        self.readout = readout
        widths = [shape["nodes"][1], *[width] * layers]
        self.layers = nn.ModuleList(self.layer(a, b) for a, b in pairwise(widths))
        self.classifier = nn.Linear(width, classes)

    def layer(self, given: int, made: int) -> nn.Module:
        """The layer applied to the messages of a round."""
        raise NotImplementedError

    def mixing(self, edges: Tensor, present: Tensor) -> Tensor:
        """The weights with which each node receives the states of all nodes, (n, N, N)."""
        raise NotImplementedError

    def forward(self, nodes: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        mixing = self.mixing(edges, present)
        states = nodes
        for layer in self.layers:
            states = torch.relu(layer(torch.matmul(mixing, states)))
        logits: Tensor = self.classifier(pooled(states, present, self.readout))
        return logits


class GCN(GraphNet):
    """Graph convolutions, D^(-1/2) (A + I) D^(-1/2) H W.

    Source: Kipf, Welling 2017, "Semi-Supervised Classification with Graph Convolutional Networks" (arXiv 1609.02907).
    """

    def layer(self, given: int, made: int) -> nn.Module:
        return nn.Linear(given, made)

    def mixing(self, edges: Tensor, present: Tensor) -> Tensor:
        own = torch.diag_embed(torch.ones_like(present))  # also for padding, to avoid dividing by 0
        linked = edges + own
        scale = linked.sum(2).rsqrt()
        return linked * scale.unsqueeze(2) * scale.unsqueeze(1)


class GIN(GraphNet):
    """Sums of neighbours through a small network, MLP((A + I) H).

    Source: Xu, Hu, Leskovec, Jegelka 2019, "How Powerful are Graph Neural Networks?" (arXiv 1810.00826), epsilon 0.
    """

    def layer(self, given: int, made: int) -> nn.Module:
        return nn.Sequential(nn.Linear(given, made), nn.ReLU(), nn.Linear(made, made))

    def mixing(self, edges: Tensor, present: Tensor) -> Tensor:
        return edges + torch.diag_embed(present)
