"""The pure pieces: numbers, maps as pictures, the gallery's budget."""

import base64
import io
import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from xbench.report import figures, gallery, labels, maps, words
from xbench.report.collect import settings
from xbench.tables import tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (12.345, "12.3"),
        (-1.5, "−1.50"),
        (99999.0, "99999"),
        (0.999999, "1.000"),
        (1.23e-7, "1.23×10⁻⁷"),
        (2e6, "2.00×10⁶"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert words.number(value) == text


def test_units_a_reader_takes_in():
    assert words.in_unit(0.0025, "s/sample") == "2.50"
    assert words.in_unit(3 * 2**20, "bytes") == "3.00"
    assert words.in_unit(1234.0, "rows/sample") == "1,234"
    assert words.in_unit(math.nan, "rows/sample") == "–"
    assert words.per_sample("s/sample") == "ms per sample"
    assert words.per_sample("bytes") == "MiB"
    assert words.per_sample("") == ""


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))).astype(int)


def test_a_map_comes_back_from_its_picture_to_a_127th_of_its_scale():
    heat = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    uri, scale = maps.map_png(heat)
    assert scale == pytest.approx(np.percentile(np.abs(heat), 99))
    back = (decoded(uri) - 128) / 127 * scale
    assert np.abs(back - np.clip(heat, -scale, scale)).max() <= scale / 254 * 1.001


def test_maps_without_a_99th_percentile():
    assert maps.map_png(np.zeros((3, 3)))[1] == 0
    assert np.all(decoded(maps.map_png(np.zeros((3, 3)))[0]) == 128)
    one_hot = np.zeros((30, 30))
    one_hot[4, 5] = -2
    assert maps.map_png(one_hot)[1] == 2
    assert maps.map_png(np.full((3, 3), 7.0))[1] == 7


def test_large_pictures_are_reduced_in_proportion():
    assert decoded(maps.map_png(np.ones((1024, 512)))[0]).shape == (256, 128)
    assert decoded(maps.input_png(np.ones((512, 512, 3)))).shape == (256, 256, 3)
    assert decoded(maps.input_png(np.ones((8, 8, 1)))).shape == (8, 8)


def test_the_gallery_stops_at_its_budget_and_says_so(built):
    built_tables = tables.build(built.store, built.manifest)
    digits, texts = settings(built.store, built.manifest, built_tables.grid)
    whole = gallery.build(built.store, digits, built_tables.scores, built_tables.grid.columns, 10**6)
    assert len(whole.rows) == 6
    size = len(json.dumps([whole.json, [dict(row) for row in whole.rows]]))
    half = gallery.build(built.store, digits, built_tables.scores, built_tables.grid.columns, size // 2)
    assert 0 < len(half.rows) < 6
    assert "left out" in half.left_out
    assert gallery.build(built.store, digits, built_tables.scores, built_tables.grid.columns, 10).rows == ()
    other = gallery.build(built.store, texts, built_tables.scores, built_tables.grid.columns, 10**6)
    assert "No map of DeepLIFT and GradientSHAP." in other.left_out


def test_a_damaged_map_is_a_gap_not_a_crash(sample_store):
    store, manifest = sample_store
    built_tables = tables.build(store, manifest)
    digits = settings(store, manifest, built_tables.grid)[0]
    key = digits.methods[0].keys[0]
    (path,) = store.root.rglob(f"{key}.safetensors")
    path.write_bytes(b"damaged")
    shown = gallery.build(store, digits, built_tables.scores, built_tables.grid.columns, 10**6)
    assert [cell["missing"] for cell in shown.rows[0]["cells"]] == ["no map", "", "", ""]


def test_axes_are_logarithmic_for_heavy_tails_only():
    axes = Figure().add_subplot()
    assert not figures.scale(axes, "x", [1.0, 2.0, 3.0])
    assert not figures.scale(axes, "x", [-1.0, 1.0, 1000.0])
    assert not figures.scale(axes, "x", [0.0, 0.0])
    assert figures.scale(axes, "x", [0.01, 1.0, 100.0])
    assert figures.scale(axes, "x", [0.0, 0.01, 1.0, 100.0])
    assert axes.get_xscale() == "symlog"


def test_names_in_a_crowd_do_not_cover_each_other():
    figure = Figure(figsize=(6, 4), dpi=100)
    axes = figure.add_subplot()
    xs, ys = np.random.default_rng(1).uniform(0.4, 0.6, (2, 8))
    axes.scatter(xs, ys)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels.place(figure, axes, xs, ys, [f"name {i}" for i in range(8)])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 8
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
