"""Data that xbench makes: the same for ever, masks where the evidence is, classes that a small model can tell."""

from pathlib import Path

import pytest
import torch

from xbench.config.compose import component
from xbench.datasets.record import Dataset

MADE = {
    "shapes": "image",
    "moving_shapes": "video",
    "planted_motifs": "series",
    "tones": "audio",
    "planted_linear": "tabular",
    "planted_interaction": "tabular",
}


def small(name: str, *more: str) -> Dataset:
    return component("dataset", name, ["n=6", "train=8", *more]).load()


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_the_same_seed_gives_the_same_data_and_another_one_other_data(name: str) -> None:
    first, again, other = small(name), small(name), small(name, "seed=1")
    assert (first.name, first.modality) == (name, MADE[name])
    assert torch.equal(first.test.inputs, again.test.inputs)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert not torch.equal(first.test.inputs, other.test.inputs)
    assert (len(first.test), len(first.train())) == (6, 8)


@pytest.mark.parametrize("name", MADE)
def test_every_sample_has_a_mask_that_is_neither_empty_nor_everything(name: str) -> None:
    data = small(name)
    share = data.test.masks.flatten(1).double().mean(1)
    assert ((share > 0) & (share < 0.7)).all()
    features = data.features
    assert features.min() >= 0
    assert len(features.unique()) == features.max() + 1


def test_a_graph_has_its_motif_marked_and_every_node_linked() -> None:
    data = small("ba_2motifs")
    nodes, edges = data.test.inputs["nodes"], data.test.inputs["edges"]
    masks = data.test.masks
    assert torch.equal(edges, edges.transpose(1, 2))
    assert (edges.sum(2) > 0).all()
    assert masks["nodes"].sum((1, 2)).tolist() == [5] * 6
    assert masks["edges"].sum((1, 2)).tolist() == [12, 10] * 3  # a house has six edges, a cycle five
    assert (edges[masks["edges"]] == 1).all()
    features = data.features(data.test)
    assert features["nodes"].shape == nodes.shape
    assert ((features["edges"] >= 0) == (edges != 0)).all()
    assert torch.equal(features["edges"], features["edges"].transpose(1, 2))  # one feature in both directions


def test_a_node_in_a_house_has_the_house_for_its_mask_and_comes_first() -> None:
    data = component("dataset", "ba_shapes", ["base=20", "houses=12", "n=50", "max_nodes=12"]).load()
    assert (len(data.test), len(data.train()), data.classes[0]) == (50, 20 + 12 * 5 - 50, "base")
    edges, masks = data.test.inputs["edges"], data.test.masks
    assert torch.equal(edges, edges.transpose(1, 2))
    in_house = data.test.targets > 0
    assert in_house.any()
    assert not in_house.all()
    assert not masks["nodes"][~in_house].any()  # nobody says what makes a node of the random graph one
    assert not masks["edges"][~in_house].any()
    assert masks["nodes"][in_house].sum((1, 2)).tolist() == [5] * int(in_house.sum())
    assert masks["edges"][in_house].sum((1, 2)).tolist() == [12] * int(in_house.sum())
    assert masks["nodes"][in_house, 0].all()  # the node itself
    degree = (edges * masks["edges"]).sum(2)[:, 0]  # within its house: two for the roof and the ground, else three
    assert torch.equal(degree[in_house] == 3, data.test.targets[in_house] == 2)
    other = component("dataset", "ba_shapes", ["base=20", "houses=12", "n=50", "max_nodes=12", "seed=1"]).load()
    assert other.fingerprint != data.fingerprint


@pytest.mark.parametrize("wrong", ["base=5", "houses=0", "hops=0", "max_nodes=4"])
def test_a_random_graph_too_small_for_its_houses_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"{wrong.partition('=')[0]}.*: expected at least"):
        component("dataset", "ba_shapes", [wrong])


def test_the_answer_is_yes_where_the_shape_asked_for_is_shown() -> None:
    data = small("shapes_question")
    shown = data.test.masks["image"].flatten(1).any(1)
    assert shown.tolist() == data.test.targets.bool().tolist()
    for text, marked in zip(data.test.inputs["text"], data.test.masks["text"], strict=True):
        words = [word for word, mark in zip(text.split(), marked, strict=True) if mark]
        assert words[0] in ("red", "green", "blue", "yellow")
        assert words[1] in ("circle", "square", "triangle", "cross")
    again, other = small("shapes_question"), small("shapes_question", "seed=1")
    assert data.fingerprint == again.fingerprint != other.fingerprint


def test_the_mask_of_a_shape_is_what_has_one_colour() -> None:
    data = small("shapes")
    for image, mask in zip(data.test.inputs, data.test.masks, strict=True):
        inside = image[:, mask[0]]
        assert (inside.std(dim=1) < 0.05).all()  # one colour and a little noise


def test_mosaics_have_the_labelled_class_in_the_masked_cell_alone() -> None:
    data = small("shapes", "grid=2")
    assert data.name == "shapes_grid2"
    assert tuple(data.test.inputs.shape[1:]) == (3, 64, 64)
    assert data.test.masks.sum((1, 2, 3)).tolist() == [32 * 32] * 6
    assert tuple(data.train().inputs.shape[1:]) == (3, 32, 32)


def test_a_clip_differs_from_frame_to_frame_where_its_mask_moves() -> None:
    data = small("moving_shapes")
    masks = data.test.masks
    assert tuple(masks.shape) == tuple(data.test.inputs.shape)
    assert (masks[:, 0, 0] != masks[:, 0, -1]).flatten(1).any(1).all()


def test_the_tone_is_loud_where_its_mask_is() -> None:
    data = small("tones")
    loud = data.test.inputs.square()
    inside = (loud * data.test.masks).sum(2) / data.test.masks.sum(2)
    outside = (loud * ~data.test.masks).sum(2) / (~data.test.masks).sum(2)
    assert (inside > 2 * outside).all()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("shapes", "side=10", "side: expected a multiple of 4"),
        ("shapes", "grid=0", "grid: expected 1 or more"),
        ("moving_shapes", "frames=1", "frames, side: expected at least 2 frames"),
        ("planted_motifs", "motif=200", "motif: expected from 8 to fewer steps"),
        ("tones", "rate=1000", "rate: tones of up to 1,400 Hz"),
    ],
)
def test_sizes_are_checked(name: str, change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        component("dataset", name, [change])


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(ValueError, match="n and train: expected at least one sample each"):
        component("dataset", "tones", ["n=6", "train=0"]).load()


def series(path: Path, rows: list[str]) -> str:
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_a_table_of_series(tmp_path: Path) -> None:
    rows = ["a,b,c,kind", *(f"{i},{i + 1},{i * 2},{'up' if i % 2 else 'down'}" for i in range(20))]
    given = [f"path={series(tmp_path / 'curves.csv', rows)}", "target=kind"]
    data = component("dataset", "series_table", given).load()
    assert (data.name, data.modality, data.classes) == ("curves", "series", ("down", "up"))
    assert tuple(data.test.inputs.shape) == (4, 1, 3)
    assert len(data.train()) == 16


@pytest.mark.parametrize(
    ("row", "message"),
    [("x,1,2,up", "must be numbers, column 'a' holds texts"), (",1,2,up", "row 2: a step has no value")],
)
def test_a_bad_table_of_series_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = series(tmp_path / "bad.csv", ["a,b,c,kind", row, "1,2,3,down"])
    with pytest.raises(ValueError, match=message):
        component("dataset", "series_table", [f"path={path}", "target=kind"]).load()
