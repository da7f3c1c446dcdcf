"""Graphs in the files of TUDataset, such as molecules; `graphs` describes the form of the samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.decoding import reading
from xbench.datasets.found import check_options, fingerprint, left_out, open_zip
from xbench.datasets.graphs import further
from xbench.datasets.record import Dataset, Split, mixed_order


@dataclass(frozen=True)
class TUGraphs:
    """Graphs in the text files of TUDataset: NAME_A.txt, NAME_graph_indicator.txt, NAME_graph_labels.txt and
    NAME_node_labels.txt, in a folder or a zip; node features are one-hot labels.

    If NAME_edge_gt.txt exists, it marks the edges that are the evidence (0 or 1 per line of NAME_A.txt).
    Source of the format: Morris et al. 2020, "TUDataset" (arXiv 2007.08663).

    name: NAME. path: folder or zip; null = in the data directory.
    classes: names of the labels in increasing order; none = the labels themselves.
    max_nodes: larger graphs are left out, and their number is reported.
    bad: how to treat a graph without nodes, or with an edge to another graph: stop, or skip with a warning.
    test: share of the graphs to explain.
    """

    name: str
    path: str | None = None
    classes: tuple[str, ...] = ()
    max_nodes: int = 60
    bad: str = "stop"
    test: float = 0.2
    data_dir: str | None = None

    def __post_init__(self) -> None:
        check_options(self.bad, self.test)

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and the problem."""
        files = _Files(self.name, self._place())
        links, owner = files.table("A", 2), files.column("graph_indicator")
        labels, kinds = files.column("graph_labels"), files.column("node_labels")
        if len(kinds) != len(owner):
            raise ValueError(f"{files.place}: {len(owner)} nodes have a graph, but {len(kinds)} have a label")
        if len(owner) and (owner.min() < 1 or owner.max() > len(labels) or (np.diff(owner) < 0).any()):
            raise ValueError(
                f"{files.place}, {self.name}_graph_indicator.txt: the numbers of the graphs must go up from 1 to the "
                f"{len(labels)} of {self.name}_graph_labels.txt"
            )
        if links.size and (links.min() < 1 or links.max() > len(owner)):
            raise ValueError(f"{files.place}, {self.name}_A.txt: an edge names a node outside 1 to {len(owner)}")
        marked = files.column("edge_gt") if files.has("edge_gt") else None
        if marked is not None and len(marked) != len(links):
            raise ValueError(f"{files.place}: {len(links)} edges, but {len(marked)} lines in {self.name}_edge_gt.txt")
        values, sizes = sorted(set(labels.tolist())), np.bincount(owner, minlength=len(labels) + 1)[1:]
        start, end = links.T - 1
        torn = np.unique(owner[start][owner[start] != owner[end]])
        kept, notes = self._kept(sizes, torn - 1, files.place)
        size, atoms = int(sizes[kept].max()), sorted(set(kinds.tolist()))
        first = np.concatenate([[0], np.cumsum(sizes)])
        nodes = torch.zeros(len(kept), size, len(atoms))
        edges, present = torch.zeros(len(kept), size, size), torch.zeros(len(kept), size)
        truth = torch.zeros(len(kept), size, size, dtype=torch.bool)
        row_of = np.full(len(sizes), -1)
        row_of[kept] = np.arange(len(kept))
        row, place = row_of[owner - 1], np.arange(len(owner)) - first[owner - 1]  # graph and place of every node
        here = np.flatnonzero(row >= 0)
        nodes[row[here], place[here], np.searchsorted(np.array(atoms), kinds[here])] = 1
        present[row[here], place[here]] = 1
        inside = np.flatnonzero(row[start] >= 0)
        cells = row[start[inside]], place[start[inside]], place[end[inside]]
        edges[cells] = 1
        if marked is not None:
            truth[cells] = torch.from_numpy(marked[inside] != 0)
        targets = torch.tensor([values.index(labels[graph]) for graph in kept])
        masks = None if marked is None else truth | truth.transpose(1, 2)
        return self._dataset(nodes, edges, present, targets, masks, kept, values, notes)

    def _kept(self, sizes: np.ndarray, torn: np.ndarray, place: Path) -> tuple[list[int], tuple[str, ...]]:
        """The numbers of the graphs that are used, and notes on the others."""
        bad = {int(graph): "an edge to another graph" for graph in torn}
        bad |= {int(graph): "no nodes" for graph in np.flatnonzero(sizes == 0)}
        notes = []
        if bad:
            first = min(bad)
            message = f"graph {first + 1} has {bad[first]}"
            if self.bad == "stop":
                raise ValueError(f"{place}: {message}; dataset.bad=skip leaves such graphs out")
            reasons = [f"graph {graph + 1} has {bad[graph]}" for graph in sorted(bad)]
            notes.append(left_out(reasons, len(sizes), "graphs"))
        kept = [graph for graph, nodes in enumerate(sizes) if nodes <= self.max_nodes and graph not in bad]
        large = int((sizes > self.max_nodes).sum())
        if large:
            notes.append(f"{large} of {len(sizes)} graphs have more than {self.max_nodes} nodes and are left out")
        if len(kept) < 2:
            raise ValueError(f"{place}: {len(kept)} graphs of at most {self.max_nodes} nodes; raise max_nodes")
        return kept, tuple(notes)

    def _dataset(
        self, nodes: Tensor, edges: Tensor, present: Tensor, targets: Tensor, masks: Tensor | None,
        kept: Sequence[int], values: Sequence[int], notes: tuple[str, ...],
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
        contents = [tensor.numpy().tobytes() for tensor in (nodes, edges, targets, *([] if masks is None else [masks]))]
        return Dataset(
            name=self.name.lower(),
            modality="graph",
            classes=names,
            test=split("test", order[:held]),
            train=lambda: split("train", order[held:]),
            fingerprint=fingerprint(repr((self.name, held)).encode(), *contents),
            origin=f"{self.name}, {len(kept)} graphs in the format of TUDataset",
            notes=notes,
            **further(nodes.shape[1], nodes.shape[2]),
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
        self._zip = open_zip(place) if place.suffix == ".zip" else None
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
        with reading(f"{self.place}, {file}"):
            content = self._zip.read(path) if self._zip else (self.place / path).read_bytes()
            given = pd.read_csv(io.BytesIO(content), header=None, skipinitialspace=True).to_numpy(np.float64)
        if given.shape[1] != width:
            raise ValueError(f"{self.place}, {file}: expected {width} numbers per line, got {given.shape[1]}")
        whole = (np.abs(given) < 2**53) & (given == np.trunc(given))  # False for NaN and infinity
        if not whole.all():
            line = int(np.flatnonzero(~whole.all(axis=1))[0]) + 1
            raise ValueError(f"{self.place}, {file}, line {line}: expected {width} whole numbers")
        return given.astype(np.int64)
