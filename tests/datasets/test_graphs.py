"""Graphs from files: the format of TUDataset in a folder and a zip, and what is said of bad files."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from xbench.config.compose import component
from xbench.datasets.tu_graphs import TUGraphs

REAL = os.environ.get("XBENCH_DATA")
# Two triangles with a tail, and a path of two nodes with one that is linked to nothing; labels -1 and 1.
EDGES = [(1, 2), (2, 3), (3, 1), (3, 4), (5, 6), (8, 9), (9, 10), (10, 8), (10, 11), (12, 13)]
FILES = {
    "A": [f"{a}, {b}" for one in EDGES for a, b in (one, one[::-1])],
    "graph_indicator": [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4],
    "graph_labels": [1, -1, 1, -1],
    "node_labels": [6, 6, 7, 8, 6, 8, 6, 6, 6, 7, 8, 6, 8],
    "edge_gt": [int(edge in EDGES[:3]) for edge in EDGES for _ in range(2)],
}


def write(folder: Path, **other: list) -> Path:
    folder.mkdir(exist_ok=True)
    for kind, lines in (FILES | other).items():
        if lines:
            (folder / f"TOY_{kind}.txt").write_text("\n".join(map(str, lines)) + "\n")
    return folder


def test_a_folder_is_read(tmp_path: Path) -> None:
    data = TUGraphs("TOY", str(write(tmp_path / "toy")), test=0.5).load()
    assert (data.name, data.modality, data.classes) == ("toy", "graph", ("-1", "1"))
    whole = {sample: row for row, sample in enumerate((*data.test.ids, *data.train().ids))}
    assert len(whole) == 4
    nodes = torch.cat([data.test.inputs["nodes"], data.train().inputs["nodes"]])
    edges = torch.cat([data.test.inputs["edges"], data.train().inputs["edges"]])
    first = next(row for sample, row in whole.items() if sample.endswith("00000"))
    assert nodes[first].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert edges[first].tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 0]]
    masks = torch.cat([data.test.masks["edges"], data.train().masks["edges"]])
    assert masks[first].sum() == 6
    second = next(row for sample, row in whole.items() if sample.endswith("00001"))
    assert edges[second].sum() == 2
    present = torch.cat([data.test.extra[0], data.train().extra[0]])
    assert present[second].tolist() == [1, 1, 1, 0]  # the third is linked to nothing, and there


def test_a_zip_is_the_same_and_truth_may_be_unknown(tmp_path: Path) -> None:
    folder = write(tmp_path / "toy")
    (folder / "TOY_edge_gt.txt").unlink()
    with zipfile.ZipFile(tmp_path / "TOY.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    one, other = (TUGraphs("TOY", str(place)).load() for place in (folder, tmp_path / "TOY.zip"))
    assert one.fingerprint == other.fingerprint
    assert one.test.masks is None


def test_large_graphs_are_left_out_and_counted(tmp_path: Path) -> None:
    data = TUGraphs("TOY", str(write(tmp_path / "toy")), max_nodes=3, test=0.5).load()
    assert len(data.test) + len(data.train()) == 2
    assert data.notes == ("2 of 4 graphs have more than 3 nodes and are left out",)
    with pytest.raises(ValueError, match="0 graphs of at most 1 nodes; raise max_nodes"):
        TUGraphs("TOY", str(tmp_path / "toy"), max_nodes=1).load()


def test_a_graph_without_nodes_stops_or_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "toy", graph_labels=[1, -1, 1, -1, 1])
    with pytest.raises(ValueError, match="graph 5 has no nodes; dataset.bad=skip"):
        TUGraphs("TOY", str(folder)).load()
    data = TUGraphs("TOY", str(folder), bad="skip").load()
    assert len(data.test) + len(data.train()) == 4
    assert data.notes == ("1 of 5 graphs are left out (bad=skip): graph 5 has no nodes",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": ["1, 99"], "edge_gt": []}, "an edge names a node outside 1 to 13"),
        ({"A": ["1"], "edge_gt": []}, "expected 2 numbers per line, got 1"),
        ({"A": ["a, b"], "edge_gt": []}, "TOY_A.txt"),
        ({"node_labels": [1, 2]}, "13 nodes have a graph, but 2 have a label"),
        ({"graph_labels": []}, "has no TOY_graph_labels.txt"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, change: dict, message: str) -> None:
    folder = write(tmp_path / "toy", **change)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TUGraphs("TOY", str(folder)).load()


def test_wrong_options_and_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad: expected stop or skip"):
        TUGraphs("TOY", bad="no")
    with pytest.raises(ValueError, match="test: expected a share"):
        TUGraphs("TOY", test=1)
    with pytest.raises(ValueError, match=r"classes: expected 2 names for the labels \[-1, 1\]"):
        TUGraphs("TOY", str(write(tmp_path / "toy")), classes=("a",)).load()
    with pytest.raises(FileNotFoundError, match="MUTAG is missing: put MUTAG.zip"):
        component("dataset", "mutag", [f"data_dir={tmp_path}"]).load()


def test_a_paper_comes_first_in_its_neighbourhood(tmp_path: Path) -> None:
    # A star: paper 0 is cited by 1 to 5, and 5 by 6.
    edges = np.array([[0, 0, 0, 0, 0, 5], [1, 2, 3, 4, 5, 6]])
    (tmp_path / "cora").mkdir()
    np.savez(
        tmp_path / "cora" / "cora.npz", x_indices=np.arange(7), x_indptr=np.arange(8), x_shape=np.array([7, 7]),
        y=np.arange(7), edges=edges, train_idx=np.array([0, 1]), val_idx=np.array([2]), test_idx=np.array([6, 3]),
    )  # fmt: skip
    data = component("dataset", "cora", [f"data_dir={tmp_path}", "max_nodes=4"]).load()
    row = data.test.ids.index("test-6")
    assert data.test.inputs["nodes"][row].argmax(1).tolist() == [6, 5, 0, 0]  # itself, one citation away, two
    assert data.test.extra[0][row].tolist() == [1, 1, 1, 0]
    assert data.test.inputs["edges"][row][:3, :3].tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert data.test.targets[row] == 6


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA names no folder of real data")
@pytest.mark.parametrize(
    ("name", "n", "marked"), [("mutag", 38, False), ("mutagenicity", 822, True), ("cora", 100, False)]
)
def test_the_real_files(name: str, n: int, marked: bool) -> None:
    data = component("dataset", name, [f"data_dir={REAL}"]).load()
    assert (len(data.test), data.test.masks is not None) == (n, marked)
    edges = data.test.inputs["edges"]
    assert torch.equal(edges, edges.transpose(1, 2))
