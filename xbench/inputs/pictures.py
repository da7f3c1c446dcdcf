"""Samples and maps as the report shows them: pictures that any kind of data is drawn as, and values per word or column.

A map is drawn in the frame of its sample's picture, or in one of which the picture is a multiple, so that the report
can lay one over the other whatever they show.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from xbench.boundary import libraries
from xbench.datasets.record import Dataset, Split, tensors
from xbench.inputs.spectral import BINS

COLUMNS = 256  # of a picture along time
STRIP = 24  # rows of a curve
GRAPH = 128  # sides of the drawing of a graph
NODE = 4  # radius of a node in it


def picture(dataset: Dataset, split: Split) -> np.ndarray | None:
    """The samples as pictures (n, H, W, 1 or 3) in 0..1; None where words or columns stand for them."""
    if dataset.modality in ("text", "tabular"):
        return None
    first = next(iter(tensors(split.inputs).values()))
    draw: Mapping[str, Callable[[], np.ndarray]] = {
        "image": lambda: _colours(first, dataset.value_range),
        "multimodal": lambda: _colours(first, dataset.value_range),
        "video": lambda: _colours(_film(first), dataset.value_range),
        "audio": lambda: np.concatenate([_curves(first), _spectrogram(first)], axis=1),
        "series": lambda: _curves(first),
        "graph": lambda: np.stack([_graph(edges, None, edges.float())[..., None] for edges in _edges(split)]),
    }
    return draw[dataset.modality]()


def heats(dataset: Dataset, split: Split, maps: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    """Maps (n, ...) for the eye, float32: "heat" in the frame of the picture, or one value per word or column.

    What the sample's own axes do not tell apart, such as channels or the dimensions of an embedding, is summed. Maps
    at a layer that has not the form of the samples are shown as one row of units.
    """
    maps = tuple(m.float().cpu() for m in maps)
    first, modality = maps[0], dataset.modality
    if modality == "multimodal" and len(maps) == 2:
        return {"heat": _numpy(first.sum(1)), "words": _numpy(maps[1].flatten(2).sum(2))}
    if modality == "graph" and len(maps) == 2:
        return {"heat": _graph_heat(split, first, maps[1])}
    if modality in ("text", "tabular"):
        return {"heat": _numpy(first.flatten(2).sum(2) if first.dim() > 2 else first)}
    if modality == "image" and first.dim() in (3, 4):
        return {"heat": _numpy(first if first.dim() == 3 else first.sum(1))}
    if modality == "video" and first.dim() == 5:
        return {"heat": _numpy(_film(first).sum(1))}
    if modality in ("audio", "series") and first.dim() == 3 and first.shape == _shape(split):
        return {"heat": _numpy(_binned(first.sum(1, keepdim=True) if modality == "audio" else first))}
    if modality == "audio" and first.dim() == 3 and first.shape[1] == 2 * BINS:
        return {"heat": _spectral_heat(first, _shape(split))}
    return {"heat": _numpy(first.flatten(1).unsqueeze(1))}


def _shape(split: Split) -> torch.Size | None:
    return split.inputs.shape if isinstance(split.inputs, Tensor) else None


def _numpy(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.numpy())


def _colours(images: Tensor, value_range: tuple[float, float] | None) -> np.ndarray:
    """Images (n, C, H, W) as (n, H, W, C) in 0..1, C being 1 or 3."""
    low, high = value_range or (float(images.min()), float(images.max()))
    shown = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
    shown = shown if shown.shape[1] in (1, 3) else shown.mean(1, keepdim=True)
    return shown.permute(0, 2, 3, 1).contiguous().numpy()


def _film(clips: Tensor) -> Tensor:
    """(n, C, T, H, W) with the frames side by side, (n, C, H, T * W)."""
    n, channels, frames, height, width = clips.shape
    return clips.transpose(2, 3).reshape(n, channels, height, frames * width)


def _binned(series: Tensor) -> Tensor:
    """(n, C, T) summed in at most COLUMNS equal bins along time; the last may be shorter."""
    size = -(-series.shape[2] // COLUMNS)
    padded = F.pad(series, (0, -series.shape[2] % size))
    return padded.unflatten(2, (-1, size)).sum(3)


def _curves(series: Tensor) -> np.ndarray:
    """Series (n, C, T) as curves, (n, C * STRIP, columns, 1): dark on white, each channel in its own range."""
    n, channels, steps = series.shape
    size = -(-steps // COLUMNS)
    padded = F.pad(series.float(), (0, -steps % size), mode="replicate").unflatten(2, (-1, size))
    low, high = padded.amin((2, 3), keepdim=True), padded.amax((2, 3), keepdim=True)
    unit = (padded - low) / (high - low).clamp(min=1e-12)
    top, bottom = unit.amax(3), unit.amin(3)  # (n, C, columns): what a column spans
    if size == 1:  # from each point to the next, so that a line is closed
        after = torch.cat([unit[:, :, 1:, 0], unit[:, :, -1:, 0]], dim=2)
        top, bottom = torch.maximum(top, after), torch.minimum(bottom, after)
    level = torch.linspace(1, 0, STRIP)[None, None, :, None]
    thick = 0.5 / (STRIP - 1)
    drawn = (level <= top.unsqueeze(2) + thick) & (level >= bottom.unsqueeze(2) - thick)
    return 1 - 0.85 * drawn.reshape(n, channels * STRIP, -1, 1).float().numpy()


def _spectrogram(waves: Tensor) -> np.ndarray:
    """Waveforms (n, 1, T) as log spectrograms of two strips' height below the curve, dark where loud."""
    window = 256
    hop = max(1, waves.shape[2] // COLUMNS)
    found = torch.stft(
        F.pad(waves[:, 0].float(), (window, window)),
        window,
        hop,
        window=torch.hann_window(window),
        return_complex=True,
        center=False,
    )
    loud = found.abs().clamp(min=1e-6).log().flip(1)  # low tones at the bottom
    low, high = loud.amax((1, 2), keepdim=True) - 5, loud.amax((1, 2), keepdim=True)
    dark = ((loud - low) / (high - low)).clamp(0, 1)
    shown = F.interpolate(dark[:, None], size=(2 * STRIP, _columns(waves.shape[2])), mode="area")[:, 0]
    return (1 - 0.85 * shown)[..., None].numpy()


def _spectral_heat(maps: Tensor, shape: torch.Size | None) -> np.ndarray:
    """Maps of spectra (n, 2 * BINS, frames) in the frame of curve and spectrogram, over the latter."""
    assert shape is not None
    both = maps.unflatten(1, (2, BINS)).sum(1, keepdim=True)  # of real and imaginary part
    below = F.interpolate(both.flip(2), size=(2 * STRIP, _columns(shape[2])), mode="nearest")[:, 0]
    return _numpy(F.pad(below, (0, 0, STRIP, 0)))


def _columns(steps: int) -> int:
    """Of the picture of a series."""
    return -(-steps // -(-steps // COLUMNS))


def _edges(split: Split) -> Tensor:
    edges = split.inputs["edges"] if isinstance(split.inputs, Mapping) else None
    assert isinstance(edges, Tensor), "graphs have parts named nodes and edges"
    return edges


def _graph_heat(split: Split, nodes: Tensor, edges: Tensor) -> np.ndarray:
    """Nodes as discs and edges as lines, painted with their relevance; both directions of an edge are added."""
    both = edges + edges.transpose(1, 2)
    each = zip(_edges(split), nodes.flatten(2).sum(2), both, strict=True)
    return np.stack([_graph(adjacency, node, edge) for adjacency, node, edge in each])


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
