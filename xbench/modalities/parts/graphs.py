"""Graphs as the report draws them: nodes are discs and edges lines, painted with their relevance."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from xbench.boundary import libraries
from xbench.modalities.record import Shaped

GRAPH = 128  # sides of the drawing of a graph
NODE = 4  # radius of a node in it


def drawing(parts: Mapping[str, Tensor], values: tuple[float, float] | None) -> np.ndarray:
    """The graphs themselves: white, grey edges and darker nodes."""
    return np.stack([_graph(edges, None, edges.float())[..., None] for edges in _edges(parts)])


def heat(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> dict[str, np.ndarray] | None:
    """Maps of nodes and edges; both directions of an edge are added."""
    if len(maps) != 2:
        return None
    nodes, edges = maps
    both = edges + edges.transpose(1, 2)
    each = zip(_edges(parts), nodes.flatten(2).sum(2), both, strict=True)
    return {"heat": np.stack([_graph(adjacency, node, edge) for adjacency, node, edge in each])}


def _edges(parts: Mapping[str, Shaped]) -> Tensor:
    edges = parts.get("edges")
    assert isinstance(edges, Tensor), "graphs have parts named nodes and edges"
    return edges


def _graph(adjacency: Tensor, nodes: Tensor | None, edges: Tensor) -> np.ndarray:
    """One graph drawn at GRAPH x GRAPH: the value of each edge and node where it lies.

    Without `nodes` it is the picture of the sample: white, grey edges and darker nodes.
    """
    sample = nodes is None
    linked = adjacency.numpy() != 0
    lines, spot = _placed(linked.tobytes(), len(linked))
    image = Image.new("F", (GRAPH, GRAPH), 1.0 if sample else 0.0)
    draw = ImageDraw.Draw(image)
    for a, b in lines:
        draw.line([*spot[a], *spot[b]], fill=0.7 if sample else float(edges[a, b]), width=3)
    for node, (x, y) in spot.items():
        value = 0.35 if nodes is None else float(nodes[node])
        draw.ellipse([x - NODE, y - NODE, x + NODE, y + NODE], fill=value)
    return np.asarray(image, dtype=np.float32)


@functools.lru_cache(maxsize=1024)  # every algorithm's map of a sample is drawn in the same places
def _placed(linked: bytes, n: int) -> tuple[list[tuple[int, int]], dict[int, list[float]]]:
    """The edges of a graph given as the bytes of a bool matrix, and where its nodes are drawn; padding is not."""
    with libraries.extra("graph", "a drawing of a graph"):
        import networkx  # a third of a second, which only graphs should cost

    graph = networkx.from_numpy_array(np.frombuffer(linked, dtype=bool).reshape(n, n))
    graph.remove_edges_from(list(networkx.selfloop_edges(graph)))
    shown = max((node for node in graph if graph.degree(node)), default=0) + 1  # padding comes last
    graph.remove_nodes_from([node for node in list(graph) if node >= shown])
    place = networkx.kamada_kawai_layout(graph) if n < 60 else networkx.spring_layout(graph, seed=0)
    margin = 2 * NODE
    spot = {node: (margin + (GRAPH - 2 * margin) * (xy + 1) / 2).tolist() for node, xy in place.items()}
    return list(graph.edges), spot
