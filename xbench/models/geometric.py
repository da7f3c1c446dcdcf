"""Graph networks of torch_geometric on the dense graphs of xbench, so that nodes and edges are both explained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from xbench.boundary import libraries
from xbench.models.graph import READOUTS, pooled


class Geometric(nn.Module):
    """Nodes (n, N, F), edges (n, N, N) and the mask of existing nodes (n, N) -> logits (n, classes).

    The network receives the existing edges as a list, as usual in torch_geometric. Their weights are passed as edge
    weights if the network supports these (GCN); otherwise they multiply the messages, as in torch_geometric's own
    explainers. An edge of weight 0 is therefore absent. (A mean or softmax over messages, as in GraphSAGE and GAT,
    still counts an edge of small weight: the output jumps at 0.) DeepLIFT does not apply: it compares a sample with its
    baseline operation by operation, and without edges the operations differ.

    shape: {"nodes": (N, F), "edges": (N, N)}. classes: number of outputs.
    network: a class of `torch_geometric.nn.models` such as GCN, GIN, GAT, GraphSAGE. width: size of the hidden states.
    layers: rounds of message passing. readout: mean or sum over the existing nodes, or the first node.
    Raises ModuleNotFoundError without torch_geometric, ValueError for a network that is not one of its models.
    """

    modality: ClassVar[str] = "graph"

    def __init__(
        self,
        shape: Mapping[str, tuple[int, int]],
        classes: int,
        network: str = "GIN",
        width: int = 32,
        layers: int = 3,
        readout: str = "mean",
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ValueError(f"readout: expected one of {', '.join(READOUTS)}, got {readout!r}")
        models = _torch_geometric().nn.models.basic_gnn
        made: Any = getattr(models, network, None)
        if not (isinstance(made, type) and issubclass(made, models.BasicGNN)) or made is models.BasicGNN:
            known = [name for name in models.__all__ if name != "BasicGNN"]
            raise ValueError(f"network: expected one of {', '.join(known)}, got {network!r}")
        self.readout = readout
        self.network = made(shape["nodes"][1], width, num_layers=layers)
        self.classifier = nn.Linear(width, classes)

    def forward(self, nodes: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        graph, receiver, sender = edges.nonzero(as_tuple=True)
        weight = edges[graph, receiver, sender]
        size = nodes.shape[1]
        links = torch.stack([graph * size + sender, graph * size + receiver])
        states = self._messages(nodes.flatten(0, 1), links, weight).unflatten(0, (len(nodes), size))
        logits: Tensor = self.classifier(pooled(states, present, self.readout))
        return logits

    def _messages(self, states: Tensor, links: Tensor, weight: Tensor) -> Tensor:
        if self.network.supports_edge_weight:
            found: Tensor = self.network(states, links, edge_weight=weight)
            return found
        masks = _torch_geometric().explain.algorithm.utils
        masks.set_masks(self.network, weight, links, apply_sigmoid=False)
        try:
            found = self.network(states, links)
        finally:
            masks.clear_masks(self.network)
        return found


def _torch_geometric() -> ModuleType:
    with libraries.extra("graph", "model=geometric"), warnings.catch_warnings():
        # Newer releases of torch deprecate functions that torch_geometric calls.
        warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated")
        import torch_geometric.explain.algorithm.utils
        import torch_geometric.nn
    library: ModuleType = torch_geometric
    return library
