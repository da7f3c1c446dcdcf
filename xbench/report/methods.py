"""The methods section: a paragraph, and the parameters and sources of every algorithm and measure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xbench.report import words
from xbench.report.collect import Manifest, Method, Setting
from xbench.store import Store


def methods(found: Sequence[Setting], store: Store, manifest: Manifest) -> dict[str, Any]:
    """The methods paragraph and the tables of algorithms and measures with their parameters."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    every = [method for setting in found for method in setting.methods]
    finished = {method.name for method in every if method.info}
    for method in every:
        if method.info or method.name not in finished:  # what failed in one setting may be told by another
            row = _method_row(method)
            known.setdefault((method.name, json.dumps(row, sort_keys=True)), row)
    cited = [row["citation"] for row in known.values() if row["citation"] and not row["control"]]
    numbers = {citation: number for number, citation in enumerate(dict.fromkeys(cited), 1)}
    return {
        "method_rows": [row | {"number": numbers.get(row["citation"], 0)} for row in known.values()],
        "measure_rows": _measure_rows(store, manifest),
        "prose": _prose(found, manifest, numbers),
    }


def _method_row(method: Method) -> dict[str, Any]:
    info = method.info
    traits = [info.get("kind", "not finished")]
    traits += ["stochastic"] if info.get("stochastic") else []
    traits += ["over feature groups"] if info.get("grouped") else []
    return {
        "name": method.name,
        "label": method.label,
        "kind": "; ".join(traits),
        "parameters": _parameters(info.get("parameters") or {}),
        "citation": info.get("citation") or "",
        "control": method.control,
        "warnings": list(info.get("warnings") or ()),
    }


def _measure_rows(store: Store, manifest: Manifest) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for cell in manifest["cells"]:
        if cell["kind"] != "score":
            continue
        record = store.load(cell["key"], verify_arrays=False) if cell["key"] else None
        if record is None:
            continue
        info = record["info"]
        row = {
            "name": cell["metric"],
            "perturbation": info.get("perturbation") or "none",
            "citation": info.get("citation") or "–",
            "parameters": _parameters(info.get("parameters") or {}),
        }
        rows.setdefault(json.dumps(row, sort_keys=True), row)
    return list(rows.values())


def _parameters(parameters: Mapping[str, Any]) -> list[str]:
    """`name = value` for each; the version of the code is part of a cell's identity, no choice of a user."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    return [f"{name} = {text}" for name, text in texts.items() if name != "version"]


def _prose(found: Sequence[Setting], manifest: Manifest, numbers: Mapping[str, int]) -> str:
    """A paragraph that a paper can start from, or "" when nothing finished."""
    every = [m for setting in found for m in setting.methods if not m.control]
    cited = {m.label: m.info["citation"] for m in every if m.info.get("citation")}
    names = dict.fromkeys(m.label for m in every)
    if not cited:
        return ""
    data = words.listed(
        [
            f"the first {words.count(s.n, 'sample')} of {s.dataset} with {s.model}"
            + ("" if s.accuracy is None else f" (test accuracy {s.accuracy:.3f})")
            for s in found
        ]
    )
    methods = words.listed([f"{name} [{numbers[cited[name]]}]" if name in cited else name for name in names])
    return (
        f"We compare {methods} on {data}. Every algorithm is measured on the same perturbations, drawn from "
        f"seed {manifest['seed']}. Scores are means over samples with 95 % percentile bootstrap intervals; a "
        "score that is not defined for a sample is counted and left out of the mean."
    )
