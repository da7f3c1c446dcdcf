"""Graphs as dense tensors: features of the nodes, and an adjacency matrix; both are explained.

A sample has the parts "nodes" (N, F) and "edges" (N, N), padded to the largest graph, and an extra argument of the
model that says which nodes there are (N,). A feature is a node with all it carries, or an edge in both its
directions; pairs of nodes without an edge are none.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.found import Wanted, fingerprint
from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset, Split, mixed_order

log = logging.getLogger("xbench")

CLASSES = ("house", "cycle")
MOTIF = 5  # nodes
# A house is a cycle of five with one chord.
_RING = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]
_CHORD = (1, 4)


@dataclass(frozen=True)
class BA2Motifs:
    """Random trees with a house or a cycle of five nodes hung on: the class is the motif, the mask its nodes and edges.

    Source: Luo et al. 2020, "Parameterized Explainer for Graph Neural Network" (arXiv 2011.04573), BA-2motifs; made
    here. All nodes carry the same features, so only the edges tell.

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
        orders = torch.rand(count, size, generator=random).argsort(1).tolist()  # so that a node's number tells nothing
        for row, (draw, order) in enumerate(zip(draws, orders, strict=True)):
            ends = [0, 1]  # every node as often as it has edges: preferential attachment
            links = [(0, 1)]
            for new in range(2, self.base):
                old = ends[int(draw[new] * len(ends))]
                links.append((new, old))
                ends += [new, old]
            shape = _RING if labels[row] else [*_RING, _CHORD]
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
            further=_further(size, 4),
        ).dataset()


def _further(size: int, width: int) -> dict[str, Any]:
    """Baseline and features of graphs."""
    return {
        "baseline": {"nodes": torch.zeros(1, size, width), "edges": torch.zeros(1, size, size)},
        "features": graph_features,
        "value_range": (0.0, 1.0),
    }


def graph_features(split: Split) -> Mapping[str, Tensor]:
    """A number per node, and one per edge in both directions; -1 where there is neither."""
    assert isinstance(split.inputs, Mapping)
    nodes, edges = split.inputs["nodes"], split.inputs["edges"]
    assert isinstance(nodes, Tensor)
    assert isinstance(edges, Tensor)
    size = edges.shape[1]
    number = torch.where(split.extra[0] > 0, torch.arange(size), -1)
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    pair = size + torch.minimum(row, column) * size + torch.maximum(row, column)
    return {"nodes": number[..., None].expand_as(nodes), "edges": torch.where(edges != 0, pair, -1)}


@dataclass(frozen=True)
class TUGraphs:
    """Graphs in the text files of TUDataset: NAME_A.txt, NAME_graph_indicator.txt, NAME_graph_labels.txt and
    NAME_node_labels.txt, in a folder or a zip; nodes carry their label, one-hot.

    NAME_edge_gt.txt, where it is there, marks the edges that are the evidence (0 or 1 per line of NAME_A.txt).
    Source of the format: Morris et al. 2020, "TUDataset" (arXiv 2007.08663).

    name: NAME. path: folder or zip; null = below the data directory.
    classes: names of the labels in increasing order. atoms: names of the node labels, for the pictures.
    max_nodes: larger graphs are left out, and their number is said.
    bad: what to do about a graph without nodes: stop, or skip it with a warning.
    test: share of the graphs that is explained.
    """

    name: str
    path: str | None = None
    classes: tuple[str, ...] = ()
    max_nodes: int = 60
    bad: str = "stop"
    test: float = 0.2
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if self.bad not in ("stop", "skip"):
            raise ValueError(f"bad: expected stop or skip, got {self.bad!r}")
        if not 0 < self.test < 1:
            raise ValueError(f"test: expected a share between 0 and 1, got {self.test}")

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and what is wrong in it."""
        files = _Files(self.name, self._place())
        links, owner = files.table("A", 2), files.column("graph_indicator")
        labels, kinds = files.column("graph_labels"), files.column("node_labels")
        if len(kinds) != len(owner):
            raise ValueError(f"{files.place}: {len(owner)} nodes have a graph, but {len(kinds)} have a label")
        if links.size and (links.min() < 1 or links.max() > len(owner)):
            raise ValueError(f"{files.place}, {self.name}_A.txt: an edge names a node outside 1 to {len(owner)}")
        marked = files.column("edge_gt") if files.has("edge_gt") else None
        values, sizes = sorted(set(labels.tolist())), np.bincount(owner, minlength=len(labels) + 1)[1:]
        kept = self._kept(sizes, files.place)
        size, atoms = int(sizes[kept].max()), sorted(set(kinds.tolist()))
        first = np.concatenate([[0], np.cumsum(sizes)])
        nodes = torch.zeros(len(kept), size, len(atoms))
        edges, present = torch.zeros(len(kept), size, size), torch.zeros(len(kept), size)
        truth = torch.zeros(len(kept), size, size, dtype=torch.bool)
        row_of = np.full(len(sizes), -1)
        row_of[kept] = np.arange(len(kept))
        row, place = row_of[owner - 1], np.arange(len(owner)) - first[owner - 1]  # of every node
        here = np.flatnonzero(row >= 0)
        nodes[row[here], place[here], np.searchsorted(np.array(atoms), kinds[here])] = 1
        present[row[here], place[here]] = 1
        start, end = links.T - 1
        inside = np.flatnonzero(row[start] >= 0)
        cells = row[start[inside]], place[start[inside]], place[end[inside]]
        edges[cells] = 1
        if marked is not None:
            truth[cells] = torch.from_numpy(marked[inside] != 0)
        targets = torch.tensor([values.index(labels[graph]) for graph in kept])
        masks = None if marked is None else truth | truth.transpose(1, 2)
        return self._dataset(nodes, edges, present, targets, masks, kept, values)

    def _kept(self, sizes: np.ndarray, place: Path) -> list[int]:
        empty = np.flatnonzero(sizes == 0)
        if len(empty):
            message = f"{place}: graph {int(empty[0]) + 1} has no nodes"
            if self.bad == "stop":
                raise ValueError(f"{message}; dataset.bad=skip leaves such graphs out")
            log.warning("left out: %s", message)
        kept = [graph for graph, nodes in enumerate(sizes) if 0 < nodes <= self.max_nodes]
        large = int((sizes > self.max_nodes).sum())
        if large:
            log.info(
                "%s: %d of %d graphs have more than %d nodes and are left out",
                self.name,
                large,
                len(sizes),
                self.max_nodes,
            )
        if len(kept) < 2:
            raise ValueError(f"{place}: {len(kept)} graphs of at most {self.max_nodes} nodes; raise max_nodes")
        return kept

    def _dataset(
        self, nodes: Tensor, edges: Tensor, present: Tensor, targets: Tensor, masks: Tensor | None,
        kept: Sequence[int], values: Sequence[int],
    ) -> Dataset:  # fmt: skip
        order = mixed_order(targets.tolist(), [graph.numpy().tobytes() for graph in edges])
        held = max(1, round(self.test * len(order)))

        def split(part: str, rows: list[int]) -> Split:
            return Split(
                ids=tuple(f"{part}-{kept[row]:05d}" for row in rows),
                inputs={"nodes": nodes[rows], "edges": edges[rows]},
                targets=targets[rows],
                masks=None if masks is None else {"nodes": masks[rows].any(2)[..., None], "edges": masks[rows]},
                extra=(present[rows],),
            )

        names = self.classes or tuple(str(value) for value in values)
        if len(names) != len(values):
            raise ValueError(f"classes: expected {len(values)} names for the labels {list(values)}, got {list(names)}")
        contents = [tensor.numpy().tobytes() for tensor in (nodes, edges, targets)]
        return Dataset(
            name=self.name.lower(),
            modality="graph",
            classes=names,
            test=split("test", order[:held]),
            train=lambda: split("train", order[held:]),
            fingerprint=fingerprint(repr((self.name, held)).encode(), *contents),
            origin=f"{self.name}, {len(kept)} graphs in the format of TUDataset",
            **_further(nodes.shape[1], nodes.shape[2]),
        )

    def _place(self) -> Path:
        if self.path is not None:
            return Path(self.path)
        roots = [Path(self.data_dir)] if self.data_dir else [data_directory(), cache_directory() / "data"]
        folder = self.name.lower()
        places = [root / folder for root in roots]
        for place in places:
            if (place / f"{self.name}_A.txt").is_file():
                return place
            if (place / f"{self.name}.zip").is_file():
                return place / f"{self.name}.zip"
        raise FileNotFoundError(
            f"{self.name} is missing: put {self.name}.zip, or {self.name}_A.txt and the others of TUDataset "
            f"(https://chrsmrrs.github.io/datasets), into {places[0]}, or set XBENCH_DATA to the folder above"
        )


class _Files:
    """The text files of one data set, in a folder or a zip."""

    def __init__(self, name: str, place: Path) -> None:
        if not place.exists():
            raise FileNotFoundError(f"there is no {place}")
        self.name, self.place = name, place
        self._zip = zipfile.ZipFile(place) if place.suffix == ".zip" else None
        found = self._zip.namelist() if self._zip else [path.name for path in place.iterdir()]
        self._paths = {Path(path).name: path for path in found}

    def has(self, kind: str) -> bool:
        return f"{self.name}_{kind}.txt" in self._paths

    def column(self, kind: str) -> np.ndarray:
        return self.table(kind, 1)[:, 0]

    def table(self, kind: str, width: int) -> np.ndarray:
        file = f"{self.name}_{kind}.txt"
        if not self.has(kind):
            raise FileNotFoundError(f"{self.place} has no {file}")
        path = self._paths[file]
        content = self._zip.read(path) if self._zip else (self.place / path).read_bytes()
        try:
            table = pd.read_csv(io.BytesIO(content), header=None, skipinitialspace=True).to_numpy(np.int64)
        except ValueError as error:  # pandas' own errors are of this kind
            raise ValueError(f"{self.place}, {file}: {error}") from error
        if table.shape[1] != width:
            raise ValueError(f"{self.place}, {file}: expected {width} numbers per line, got {table.shape[1]}")
        return table


@dataclass(frozen=True)
class Cora:
    """Cora: 2,708 papers, the words they use, and who cites whom; the subject of a paper is predicted.

    A sample is the neighbourhood of a paper, up to `hops` citations away and at most `max_nodes` papers (the nearest
    first), with the paper itself as node 0, whose class is asked for: a model that reads node 0. The split is
    Planetoid's.
    Source: Sen et al. 2008, "Collective Classification in Network Data"; Yang, Cohen, Salakhutdinov 2016,
    "Revisiting Semi-Supervised Learning with Graph Embeddings" (arXiv 1603.08861).

    n: papers to explain, of Planetoid's 1,000. data_dir: holds cora/cora.npz.
    """

    hops: int = 2
    max_nodes: int = 40
    n: int = 100
    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _CORA.find(self.data_dir)
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
        neighbours: list[list[int]] = [[] for _ in data["y"]]
        for a, b in data["edges"].T.tolist():
            neighbours[a].append(b)
            neighbours[b].append(a)

        def split(part: str, papers: list[int]) -> Split:
            hoods = [_neighbourhood(neighbours, paper, self.hops, self.max_nodes) for paper in papers]
            nodes = torch.zeros(len(papers), self.max_nodes, int(data["x_shape"][1]))
            edges, present = (
                torch.zeros(len(papers), self.max_nodes, self.max_nodes),
                nodes.new_zeros(len(papers), self.max_nodes),
            )
            for row, hood in enumerate(hoods):
                place = {paper: i for i, paper in enumerate(hood)}
                for paper, i in place.items():
                    words = data["x_indices"][data["x_indptr"][paper] : data["x_indptr"][paper + 1]]
                    nodes[row, i, torch.from_numpy(words.astype(np.int64))] = 1
                    for other in neighbours[paper]:
                        if other in place:
                            edges[row, i, place[other]] = 1
                present[row, : len(hood)] = 1
            labels = torch.from_numpy(data["y"][papers].astype(np.int64))
            ids = tuple(f"{part}-{paper}" for paper in papers)
            return Split(ids, {"nodes": nodes, "edges": edges}, labels, extra=(present,))

        held = data["test_idx"].tolist()
        order = mixed_order(data["y"][held].tolist(), held)
        return Dataset(
            name="cora",
            modality="graph",
            classes=_SUBJECTS,
            test=split("test", [held[i] for i in order[: self.n]]),
            train=lambda: split("train", [*data["train_idx"].tolist(), *data["val_idx"].tolist()]),
            fingerprint=fingerprint(path.read_bytes(), repr((self.hops, self.max_nodes, self.n)).encode()),
            origin="Cora, Planetoid's split; each paper with its neighbourhood",
            **_further(self.max_nodes, int(data["x_shape"][1])),
        )


_CORA = Wanted("cora/cora.npz", "arrays x_indices, x_indptr, x_shape, y, edges, train_idx, val_idx, test_idx")
_SUBJECTS = (
    "theory", "reinforcement learning", "genetic algorithms", "neural networks", "probabilistic methods", "case based",
    "rule learning",
)  # fmt: skip


def _neighbourhood(neighbours: Sequence[Sequence[int]], start: int, hops: int, most: int) -> list[int]:
    found, edge = [start], [start]
    for _ in range(hops):
        edge = [b for a in edge for b in neighbours[a] if b not in found]
        found += dict.fromkeys(edge)
    return list(dict.fromkeys(found))[:most]
