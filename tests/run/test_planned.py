"""Cells of a job, and the cells of several jobs merged."""

from itertools import product
from typing import Any

from xbench.cli.merge import merge, relabel
from xbench.run.planned import PlannedCell, cells, of_config

CONTROLS = ["random", "constant"]


def entry(algorithm: str | None, metric: str | None = None, **other: Any) -> dict[str, Any]:
    kind = "samples" if algorithm is None else "attribution" if metric is None else "score"
    defaults = {
        "kind": kind,
        "model": "cnn",
        "dataset": "digits",
        "samples": 4,
        "status": "ok",
        "reason": None,
    }
    found = {**defaults, "algorithm": algorithm, "metric": metric, **other}
    return {"key": f"{found['model']} {found['dataset']} {algorithm} {metric}", **found}


def job(*algorithms: str, metrics: tuple[str, ...] = ("m1", "m2"), **other: Any) -> list[dict[str, Any]]:
    names = [*algorithms, *CONTROLS]
    pairs = [pair for name in names for pair in product([name], [None, *metrics])]
    return [entry(None, **other), *(entry(name, metric, **other) for name, metric in pairs)]


def names(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(e["dataset"], e["algorithm"], e["metric"]) for e in entries]


def test_cells_come_in_the_order_of_the_work() -> None:
    found = cells("cnn", "digits", ["ig", "random"], ["m"], controls=["random"])
    assert found == (
        PlannedCell("samples", "cnn", "digits"),
        PlannedCell("attribution", "cnn", "digits", "ig"),
        PlannedCell("score", "cnn", "digits", "ig", "m"),
        PlannedCell("attribution", "cnn", "digits", "random", None, True),
        PlannedCell("score", "cnn", "digits", "random", "m", True),
    )
    assert found[2].label == "ig m on digits/cnn"


def test_a_skipped_attribution_skips_its_scores() -> None:
    skip = {"ig": "no gradient", ("random", "m"): "not complete"}
    found = cells("cnn", "digits", ["ig", "random"], ["m"], skip=skip)
    assert [cell.skip_reason for cell in found] == [None, "no gradient", "no gradient", None, "not complete"]


def test_cells_of_a_config() -> None:
    cfg = {
        "choice": {"model": "cnn", "dataset": "digits"},
        "algorithm": {"ig": {}, "random": {}},
        "metric": {"m": {}},
        "control": {"random": {}},
    }
    assert of_config(cfg) == cells("cnn", "digits", ["ig", "random"], ["m"], controls=["random"])


def test_a_sweep_and_a_list_merge_to_the_same_cells() -> None:
    listed = merge([job("ig", "deeplift")], CONTROLS)
    swept = merge([job("ig"), job("deeplift")], CONTROLS)
    by_metric = merge([job(a, metrics=(m,)) for m in ("m1", "m2") for a in ("ig", "deeplift")], CONTROLS)
    assert listed == swept == by_metric
    assert [e["algorithm"] for e in listed if e["kind"] == "attribution"] == ["ig", "deeplift", *CONTROLS]


def test_blocks_stay_in_order_and_apart() -> None:
    blocks = [entry("ig", None, key=f"b{i}") for i in range(3)]
    skipped = [entry("ig", "m", key=None, status="skipped", reason="why") for _ in range(3)]
    assert merge([[*blocks, *skipped], [*blocks, *skipped]]) == [*blocks, *skipped]


def test_of_two_entries_for_a_cell_the_better_one_counts() -> None:
    for first, second, kept in [("ok", "reused", "ok"), ("oom", "ok", "ok"), ("planned", "error", "error")]:
        merged = merge([[entry("ig", status=first)], [entry("ig", status=second)]])
        assert [e["status"] for e in merged] == [kept]


def test_settings_join_a_name_only_when_names_clash() -> None:
    fine, coarse = (
        job("ig"),
        [dict(e, key=f"{e['key']} 10") if e["algorithm"] == "ig" else e for e in job("ig")],
    )
    varied = [{"algorithm.ig.n_steps": "50"}, {"algorithm.ig.n_steps": "10"}]
    merged = merge(relabel([fine, coarse], varied), CONTROLS)
    attributions = [e["algorithm"] for e in merged if e["kind"] == "attribution"]
    assert attributions == ["ig n_steps=50", "ig n_steps=10", *CONTROLS]
    assert relabel([fine, fine], varied) == [fine, fine]


def test_a_seed_joins_the_dataset() -> None:
    first, second = job("ig", key="a"), job("ig", key="b")
    merged = merge(relabel([first, second], [{"seed": "0"}, {"seed": "1"}]), CONTROLS)
    assert list(dict.fromkeys(e["dataset"] for e in merged)) == ["digits seed=0", "digits seed=1"]
