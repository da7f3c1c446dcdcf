"""Every kind of data has a picture, and its maps lie in the frame of that picture."""

import numpy as np
import pytest
import torch

from xbench.config.compose import component
from xbench.inputs.pictures import heats, picture

DRAWN = {
    "digits": (8, 8),
    "shapes": (32, 32),
    "moving_shapes": (24, 8 * 24),
    "planted_motifs": (48, 128),
    "tones": (72, 250),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_map_at_the_input_lies_in_the_frame_of_the_picture(name: str) -> None:
    data = component("dataset", name, [] if name == "digits" else ["n=3", "train=3"]).load()
    split = data.test.subset([0, 1, 2])
    shown = picture(data, split)
    assert shown.shape[:3] == (3, *DRAWN[name])
    assert shown.shape[3] in (1, 3)
    assert shown.min() >= 0
    assert shown.max() <= 1
    heat = heats(data, split, (torch.ones(split.inputs.shape),))["heat"]
    down, across = (shown.shape[axis] // heat.shape[axis] for axis in (1, 2))
    assert heat.repeat(down, axis=1).repeat(across, axis=2).shape == shown.shape[:3]
    assert heat.sum() == pytest.approx(split.inputs.numel())  # all of the map, once


def test_a_graph_is_drawn_with_its_values_where_its_nodes_and_edges_are() -> None:
    data = component("dataset", "ba_2motifs", ["n=2", "train=1"]).load()
    nodes, edges = data.test.inputs["nodes"], data.test.inputs["edges"]
    shown = picture(data, data.test)
    assert shown.shape == (2, 128, 128, 1)
    painted = heats(data, data.test, (torch.ones_like(nodes), 0 * edges))["heat"]
    assert set(np.unique(painted)) == {0, nodes.shape[2]}
    assert (shown[..., 0][painted != 0] < 1).all()  # values lie on the drawing
    both = heats(data, data.test, (0 * nodes, edges))["heat"]
    assert set(np.unique(both)) == {0, 2}  # both directions of an edge


def test_an_image_with_a_sentence_has_a_map_of_each() -> None:
    data = component("dataset", "shapes_question", ["n=2", "train=1"]).load()
    made = heats(data, data.test, (torch.ones(2, 3, 32, 32), torch.ones(2, 7, 5)))
    assert picture(data, data.test).shape == (2, 32, 32, 3)
    assert {name: heat.shape for name, heat in made.items()} == {"heat": (2, 32, 32), "words": (2, 7)}
    assert (made["words"] == 5).all()


@pytest.mark.parametrize("name", ["planted_linear", "breast_cancer"])
def test_tables_are_shown_by_a_value_per_column(name: str) -> None:
    data = component("dataset", name).load()
    split = data.test.subset([0, 1])
    assert picture(data, split) is None
    values = torch.rand(split.inputs.shape)
    np.testing.assert_array_equal(heats(data, split, (values,))["heat"], values.numpy())


@pytest.mark.parametrize("name", DRAWN)
def test_a_map_at_a_layer_of_another_form_is_a_row_of_units(name: str) -> None:
    data = component("dataset", name, [] if name == "digits" else ["n=3", "train=3"]).load()
    split = data.test.subset([0, 1, 2])
    assert heats(data, split, (torch.ones(3, 10),))["heat"].shape == (3, 1, 10)


def test_a_loud_place_of_the_map_is_where_it_is_in_the_series() -> None:
    data = component("dataset", "planted_motifs", ["n=1", "train=1", "steps=600"]).load()
    values = torch.zeros(data.test.inputs.shape)
    values[0, 1, 599] = 5
    heat = heats(data, data.test, (values,))["heat"]
    assert heat.shape[2] <= 256
    assert np.argwhere(heat).tolist() == [[0, 1, heat.shape[2] - 1]]
