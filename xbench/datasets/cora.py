"""Cora: papers with their neighbourhood of citations; `graphs` describes the form of the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xbench.datasets.found import Wanted, fingerprint
from xbench.datasets.graphs import further
from xbench.datasets.neighbourhoods import cut
from xbench.datasets.record import Dataset, Split, mixed_order


@dataclass(frozen=True)
class Cora:
    """Cora: 2,708 papers with their words and citations; the model predicts a paper's subject.

    A sample is the neighbourhood of a paper, up to `hops` citations away and at most `max_nodes` papers (the nearest
    first). Node 0 is the paper itself, whose class the model predicts. The split is Planetoid's.
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
            hoods = cut(neighbours, papers, self.hops, self.max_nodes)
            nodes = torch.zeros(len(papers), self.max_nodes, int(data["x_shape"][1]))
            for row, hood in enumerate(hoods.nodes):
                for i, paper in enumerate(hood):
                    words = data["x_indices"][data["x_indptr"][paper] : data["x_indptr"][paper + 1]]
                    nodes[row, i, torch.from_numpy(words.astype(np.int64))] = 1
            labels = torch.from_numpy(data["y"][papers].astype(np.int64))
            ids = tuple(f"{part}-{paper}" for paper in papers)
            return Split(ids, {"nodes": nodes, "edges": hoods.edges}, labels, extra=(hoods.present,))

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
            **further(self.max_nodes, int(data["x_shape"][1])),
        )


_CORA = Wanted("cora/cora.npz", "arrays x_indices, x_indptr, x_shape, y, edges, train_idx, val_idx, test_idx")
_SUBJECTS = (
    "theory", "reinforcement learning", "genetic algorithms", "neural networks", "probabilistic methods", "case based",
    "rule learning",
)  # fmt: skip
