"""Agreement between methods: each formula against loops from the paper, and the tables of stored maps."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.store_samples import N, fill
from xbench.store.store import Store
from xbench.tables import agreement, stats, tables
from xbench.tables.agreement import NAMES, agree


def _importance(phi: list[float]) -> list[float]:
    return [abs(value) for value in phi]


def _top(phi: list[float], k: int) -> list[int]:
    """Features by falling magnitude; of equal ones the first comes first."""
    size = _importance(phi)
    return sorted(range(len(phi)), key=lambda s: (-size[s], s))[:k]


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _mean_rank(size: list[float], s: int) -> float:
    below, equal = sum(other < size[s] for other in size), sum(other == size[s] for other in size)
    return below + (equal + 1) / 2


def _pearson(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    cross = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return cross / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def slow(a: list[float], b: list[float], k: int) -> list[float]:
    """The six measures, Krishna et al. 2022, section 4."""
    top_a, top_b = _top(a, k), _top(b, k)
    common = [s for s in top_a if s in top_b]
    ranked = [s for s in common if top_a.index(s) == top_b.index(s)]
    size_a, size_b = _importance(a), _importance(b)
    pairs = list(itertools.combinations(range(len(a)), 2))
    alike = sum(_sign(size_a[s] - size_a[t]) == _sign(size_b[s] - size_b[t]) for s, t in pairs)
    everything = range(len(a))
    return [
        len(common) / k,
        len(ranked) / k,
        sum(_sign(a[s]) == _sign(b[s]) for s in common) / k,
        sum(_sign(a[s]) == _sign(b[s]) for s in ranked) / k,
        _pearson([_mean_rank(size_a, s) for s in everything], [_mean_rank(size_b, s) for s in everything]),
        alike / len(pairs),
    ]


def maps(count: int, features: int, *, ties: bool) -> np.ndarray:
    values = np.random.default_rng(count * features).standard_normal((count, features))
    return np.round(values) if ties else values


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties and zeros"])
@pytest.mark.parametrize("k", [1, 3, 11])
def test_each_measure_is_the_papers(k: int, ties: bool) -> None:
    phi = maps(5, 11, ties=ties)
    found = agree(phi, k)
    for a, b in itertools.product(range(5), repeat=2):
        np.testing.assert_allclose(found[:, a, b], slow(phi[a].tolist(), phi[b].tolist(), k), atol=1e-12)


def test_a_share_is_so_many_of_the_features_of_the_sample() -> None:
    phi = maps(3, 13, ties=False)
    np.testing.assert_array_equal(agree(phi, 0.25), agree(phi, 3))
    np.testing.assert_array_equal(agree(phi, 0.01), agree(phi, 1))
    np.testing.assert_array_equal(agree(phi, 99), agree(phi, 13))


def test_chunks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    phi = maps(4, 30, ties=True)
    whole = agree(phi, 5)
    monkeypatch.setattr(agreement, "_CHUNK", 4 * 30 * 7)
    np.testing.assert_array_equal(agree(phi, 5), whole)


def test_of_many_features_evenly_many_are_compared_in_pairs() -> None:
    phi = maps(2, 3 * agreement.MOST, ties=False)
    chosen = phi[:, np.linspace(0, phi.shape[1] - 1, agreement.MOST).astype(int)]
    few, many = agree(chosen, 5), agree(phi, 5)
    assert many[5, 0, 1] == few[5, 0, 1]
    assert many[4, 0, 1] == pytest.approx(slow(phi[0].tolist(), phi[1].tolist(), 5)[4])


def test_a_map_agrees_with_itself_and_scaling_changes_nothing() -> None:
    phi = maps(1, 20, ties=False)[0]
    np.testing.assert_allclose(agree(np.stack([phi, phi * 7, phi**3]), 5), 1)
    opposite = agree(np.stack([phi, -phi]), 5)[:, 0, 1]
    np.testing.assert_allclose(opposite, [1, 1, 0, 0, 1, 1])  # the same importance, the other sign


def test_random_maps_agree_by_the_share_of_the_most_important() -> None:
    phi = np.random.default_rng(0).standard_normal((40, 200))
    mean = agree(phi, 0.25)[:, *np.triu_indices(40, 1)].mean(1)
    np.testing.assert_allclose(mean, [1 / 4, 1 / 200, 1 / 8, 1 / 400, 0, 1 / 2], atol=0.01)


def test_a_map_of_one_number_has_no_order() -> None:
    found = agree(np.array([[1.0, -1.0, 1.0], [3.0, 2.0, 1.0]]), 2)
    assert np.isnan(found[:, 0]).all()
    assert np.isnan(found[:, :, 0]).all()
    np.testing.assert_allclose(found[:, 1, 1], 1)
    assert np.isnan(agree(np.ones((2, 0)), 2)).all()


def test_intervals_of_columns_are_those_of_each() -> None:
    values = np.random.default_rng(3).standard_normal((17, 6))
    values[:5, 1] = values[16, 2] = values[:, 3] = np.nan
    values[:, 4] = 0.1
    values[1:, 5] = np.nan
    for column, found in zip(values.T, stats.mean_intervals(values), strict=True):
        np.testing.assert_allclose(found, stats.mean_interval(column), rtol=1e-12)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def test_the_table_has_every_pair_once_with_its_samples(store: Store) -> None:
    manifest = fill(store)
    built = tables.build(store, manifest)
    digits = built.agreement_scores.query("dataset == 'digits'")
    assert list(digits.columns) == ["model", "dataset", "algorithm", "other", "sample", *NAMES]
    named = ["ig", "deeplift", "gradient_shap", "random"]
    assert list(digits[["algorithm", "other"]].drop_duplicates().itertuples(index=False, name=None)) == list(
        itertools.combinations(named, 2)
    )
    assert len(digits) == 6 * N
    cells = {cell["algorithm"]: cell["key"] for cell in manifest["cells"] if cell["kind"] == "attribution"
             and cell["dataset"] == "digits"}  # fmt: skip
    one, other = (store.arrays(cells[name])["relevance"][2] for name in ("ig", "random"))
    row = digits.query("algorithm == 'ig' and other == 'random'").iloc[2]
    np.testing.assert_allclose(row[list(NAMES)].astype(float), slow(one.tolist(), other.tolist(), 16), atol=1e-6)


def test_the_means_are_those_of_the_samples(store: Store) -> None:
    built = tables.build(store, fill(store) | {"config": {"jobs": [{"agreement": 5}]}})
    rows = built.agreement.query("dataset == 'digits' and algorithm == 'ig' and other == 'random'")
    assert list(rows["measure"]) == list(NAMES)
    scores = built.agreement_scores.query("dataset == 'digits' and algorithm == 'ig' and other == 'random'")
    for _, row in rows.iterrows():
        expected = stats.mean_interval(scores[row["measure"]].to_numpy())
        np.testing.assert_allclose(row[["mean", "ci_low", "ci_high", "n", "n_undefined"]].astype(float), expected)


def test_nothing_is_compared_where_the_run_says_so(store: Store) -> None:
    manifest = fill(store)
    for config in ({}, {"jobs": [{"agreement": None}]}, {"jobs": []}, None):
        built = tables.build(store, manifest | {"config": config})
        assert built.agreement.empty
        assert list(built.agreement_scores.columns)[-1] == NAMES[-1]
        assert not any("agreement" in note for note in built.grid.notes)


def test_maps_without_relevance_are_left_out_and_named(store: Store) -> None:
    manifest = fill(store)
    key = next(c["key"] for c in manifest["cells"] if c["algorithm"] == "ig" and c["kind"] == "attribution")
    record, arrays = store.load(key), store.arrays(key)
    assert record is not None
    del arrays["relevance"]
    store.save(record, arrays)
    built = tables.build(store, manifest)
    digits = built.agreement.query("dataset == 'digits'")
    assert set(digits["algorithm"]) == {"deeplift", "gradient_shap"}
    assert sum(note.startswith("No agreement of ig: ") for note in built.grid.notes) == 1


def test_what_is_written_is_read_back(store: Store, tmp_path) -> None:
    built = tables.build(store, fill(store))
    tables.write(built, tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "agreement.parquet"), built.agreement_scores)
    read = pd.read_csv(tmp_path / "agreement.csv", dtype={"mean": str})["mean"]  # older pandas round numbers
    np.testing.assert_array_equal(read.astype(float), built.agreement["mean"])
    empty = replace(built, agreement=built.agreement[:0])
    tables.write(empty, tmp_path)
    assert pd.read_csv(tmp_path / "agreement.csv").empty
