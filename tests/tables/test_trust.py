"""Trust in the columns: statistics against scipy and simulated tables, and the table of a stored run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tests.store_samples import N, fill
from xbench.store.store import Store
from xbench.tables import answers, tables, trust
from xbench.tables.answers import EVERY, distance

METHODS, SAMPLES = 8, 40


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def distances(random: np.random.Generator) -> np.ndarray:
    """(A, n): every method has a level of its own, and samples scatter around it."""
    return np.arange(METHODS)[:, None] / METHODS + 0.02 * random.random((METHODS, SAMPLES))


@pytest.mark.parametrize("ties", [False, True])
def test_the_correlation_is_that_of_scipy(random: np.random.Generator, ties: bool) -> None:
    one, other = (random.integers(4, size=(20, 9)).astype(float) if ties else random.random((20, 9)) for _ in range(2))
    expected = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(trust.spearman(one, other), expected, atol=1e-12)
    one[:, 3] = np.nan
    expected = [spearmanr(a, b).statistic for a, b in zip(np.delete(one, 3, 1), np.delete(other, 3, 1), strict=True)]
    np.testing.assert_allclose(trust.spearman(one, other), expected, atol=1e-12)


def test_rounding_is_no_order_and_two_methods_are_too_few() -> None:
    assert np.isnan(trust.spearman(np.array([1, 1 + 1e-9, 1 - 1e-9]), np.array([1.0, 2, 3])))
    assert np.isnan(trust.spearman(np.array([1.0, 2, np.nan]), np.array([1.0, 2, 3])))


def test_a_metric_equal_to_the_closeness_is_trusted_and_its_opposite_is_not(distances: np.ndarray) -> None:
    for sign in (1, -1):
        found = trust.truth_order(-sign * distances, distances)
        assert found.value == pytest.approx(sign)
        assert found.interval == pytest.approx((sign, sign))
        assert found.resampled.shape == (2000,)


def test_a_metric_of_noise_has_no_order_half_the_pairs_and_half_the_wins(
    random: np.random.Generator, distances: np.ndarray
) -> None:
    def noise() -> np.ndarray:
        return random.standard_normal(distances.shape)

    orders = [trust.truth_order(noise(), distances).value for _ in range(200)]
    assert abs(np.mean(orders)) < 0.1
    assert np.std(orders) == pytest.approx(1 / np.sqrt(METHODS - 1), rel=0.2)  # Spearman's own
    assert trust.noise_resilience(noise(), noise()).value == pytest.approx(0.5, abs=0.06)
    assert trust.adversary_reactivity(noise(), noise()[0]).value == pytest.approx(0.5, abs=0.1)


def test_noise_resilience_is_the_share_of_pairs_in_one_order() -> None:
    first = np.array([[3.0, 1], [2, 2], [1, 3]])
    again = np.array([[3.0, 1], [1, 2], [2, np.nan]])
    found = trust.noise_resilience(first, again)
    assert found.value == pytest.approx((2 / 3 + 1) / 2)  # one pair of three turned; the one pair that is defined kept
    assert trust.noise_resilience(first, first).value == 1
    assert trust.noise_resilience(first, -first).value == 0
    tied = np.array([[1.0], [1 + 1e-9], [0]])
    assert trust.noise_resilience(tied, tied[[1, 0, 2]]).value == 1


def test_adversary_reactivity_is_the_share_of_wins_over_the_random_map() -> None:
    scores = np.array([[3.0, 1, np.nan], [0, 2, np.nan]])
    found = trust.adversary_reactivity(scores, np.array([1.0, 2, 0]))
    assert found.value == pytest.approx((1 / 2 + 1 / 4) / 2)
    low, high = found.interval
    assert low == pytest.approx(1 / 4)
    assert high == pytest.approx(1 / 2)


def test_the_mean_over_settings_leaves_out_what_is_undefined() -> None:
    one, other = trust.Estimate(0.2, np.full(5, 0.2)), trust.Estimate(0.6, np.full(5, 0.6))
    lost = trust.Estimate(np.nan, np.full(5, np.nan))
    assert trust.mean_of([one, lost, other]).interval == pytest.approx((0.4, 0.4))
    assert np.isnan(trust.mean_of([lost]).value)


def test_distances_are_by_direction_and_by_order(random: np.random.Generator) -> None:
    answer = np.array([1.0, -2, 0, 3])
    assert distance(7 * answer, answer, "exact") == 0
    assert distance(-answer, answer, "exact") == 2
    assert np.isnan(distance(0 * answer, answer, "exact"))
    relevance, mask = random.integers(5, size=30).astype(float), random.integers(2, size=30).astype(float)
    assert distance(relevance, mask, "mask") == pytest.approx(1 - roc_auc_score(mask, relevance), abs=1e-6)
    assert np.isnan(distance(relevance, 0 * mask, "mask"))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def with_answer(store: Store) -> dict:
    """The sample grid in which GradientSHAP's maps stand in for the known mask of digits."""
    manifest = fill(store)
    for planned in manifest["cells"]:
        if planned["kind"] == "attribution" and planned["algorithm"] == "gradient_shap":
            record = store.load(planned["key"])
            if record:
                info = record["info"] | {"control": True, "answer": "mask"}
                store.save(record | {"info": info}, store.arrays(planned["key"]))
    return manifest


def test_the_table_follows_from_the_stored_cells(store: Store) -> None:
    manifest = with_answer(store)
    built = tables.build(store, manifest)
    far = built.trust_distances
    assert set(far["algorithm"]) == {"ig", "deeplift", "random"}
    assert len(far) == 3 * N
    keys = {c["algorithm"]: c["key"] for c in manifest["cells"] if c["kind"] == "attribution"
            and c["dataset"] == "digits"}  # fmt: skip
    own, mask = (store.arrays(keys[name])["relevance"][2] for name in ("ig", "gradient_shap"))
    row = far.query("algorithm == 'ig' and sample == 'test-00002'").iloc[0]
    assert row["distance"] == pytest.approx(1 - roc_auc_score(mask > 0, own), abs=1e-6)
    digits = built.trust.query("dataset == 'digits' and metric == 'sensitivity_max'").set_index("measure")
    wide = built.scores.query("dataset == 'digits' and metric == 'sensitivity_max'").pivot(
        index="algorithm", columns="sample", values="value"
    )
    wins = (wide.loc[["ig", "deeplift"]] < wide.loc["random"]).to_numpy().mean()
    assert digits.loc["adversary_reactivity", "value"] == pytest.approx(wins)
    assert np.isnan(digits.loc["truth_order", "value"])  # two methods have no order worth a correlation
    assert "noise_resilience" not in digits.index  # one seed
    assert set(digits["methods"]) == {2}
    whole = built.trust.query("dataset == @EVERY and metric == 'sensitivity_max'").set_index("measure")
    assert whole.loc["adversary_reactivity", "value"] == pytest.approx(wins)
    assert EVERY in set(built.trust["model"])


def test_a_repeat_by_another_seed_gives_noise_resilience(store: Store) -> None:
    manifest = with_answer(store)
    cells = []
    for seed in (0, 1):
        for planned in manifest["cells"]:
            record = store.load(planned["key"])
            if planned["dataset"] != "digits" or record is None:
                continue
            identity = record["identity"] | {"seed": seed}
            key = planned["key"] if seed == 0 else planned["key"][::-1]
            arrays = store.arrays(planned["key"]) if planned["kind"] == "attribution" else None
            store.save(record | {"identity": identity, "key": key}, arrays)
            cells.append(planned | {"key": key, "dataset": f"digits seed={seed}"})
    built = tables.build(store, manifest | {"cells": cells})
    assert set(built.trust["dataset"]) == {"digits", EVERY}
    resilience = built.trust.query("measure == 'noise_resilience' and dataset == 'digits'")
    np.testing.assert_array_equal(resilience["value"], 1)  # the second run is the first
    assert set(built.trust_distances["dataset"]) == {"digits seed=0", "digits seed=1"}


def test_without_an_answer_the_tables_are_empty_and_written(store: Store, tmp_path) -> None:
    built = tables.build(store, fill(store))
    assert built.trust.empty
    assert built.trust_distances.empty
    tables.write(built, tmp_path)
    assert list(pd.read_csv(tmp_path / "trust.csv").columns) == list(built.trust.columns)
    assert list(pd.read_parquet(tmp_path / "trust.parquet").columns) == list(answers.DISTANCES)
