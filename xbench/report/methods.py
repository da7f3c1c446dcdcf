"""The methods section: each algorithm's facts, parameters and source, in a paragraph and a table."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from xbench.report import words
from xbench.report.collect import Manifest, MethodFacts, Setting
from xbench.store.store import Store
from xbench.tables.columns import COST, in_words

_KNOWN = {True: "yes", False: "no", None: "not known"}
_ABSENT = "not recorded"
_NOTHING = "nothing but the model"
_CHANGE = "f(x) − f(x₀)"


def methods(found: Sequence[Setting], store: Store, manifest: Manifest) -> dict[str, Any]:
    """The methods paragraphs and the tables of algorithms and measures with their parameters."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    finished = {method.name for setting in found for method in setting.methods if method.info}
    for setting in found:
        for method in setting.methods:
            if method.info or method.name not in finished:  # failed here, it may have facts in another
                row = _method_row(method)
                shown = known.setdefault((method.name, json.dumps(row, sort_keys=True)), row | {"reported": []})
                where = f" on {setting.title}" if len(found) > 1 else ""
                shown["reported"] += [text + where for text in _reported(method, store)]
    cited = [row["citation"] for row in known.values() if row["citation"] and not row["control"]]
    numbers = {citation: number for number, citation in enumerate(dict.fromkeys(cited), 1)}
    return {
        "method_rows": [row | {"number": numbers.get(row["citation"], 0)} for row in known.values()],
        "measure_rows": _measure_rows(store, manifest),
        "prose": _prose(found, manifest, numbers),
    }


def _method_row(method: MethodFacts) -> dict[str, Any]:
    info = method.info
    return {
        "name": method.name,
        "label": method.label,
        **_declared(info),
        "parameters": _parameters(info.get("parameters") or {}),
        "citation": info.get("citation") or "",
        "control": method.control,
        "warnings": list(info.get("warnings") or ()),
    }


def _declared(info: Mapping[str, Any]) -> dict[str, str]:
    """An algorithm's facts in words. Cells of earlier versions lack some of them."""
    absent = _ABSENT if info else "–"
    return {
        "kind": info.get("kind", absent) if info else "not finished",
        "needs": words.listed(info["needs"] or [_NOTHING]) if "needs" in info else absent,
        "stochastic": _KNOWN[info["stochastic"]] if "stochastic" in info else absent,
        "complete": _KNOWN[info["complete"]] if "complete" in info else absent,
    }


def _reported(method: MethodFacts, store: Store) -> list[str]:
    """The notes that an adaptive algorithm reports per sample: "n_steps: median 16, max 128"."""
    values: dict[str, list[float]] = {}
    for key in method.keys:
        record = store.load(key, verify_arrays=False)
        for name, column in record["values"].items() if record else ():
            if name not in {column.source for column in COST}:
                values.setdefault(name, []).extend(value for value in column if value is not None)
    return [f"{name}: {_spread(numbers)}" for name, numbers in values.items()]


def _spread(numbers: Sequence[float]) -> str:
    if not numbers:
        return "undefined"
    median, most = (words.in_unit(float(value), "rows") for value in (statistics.median(numbers), max(numbers)))
    return f"median {median}, max {most}"


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
            "label": info.get("label") or in_words(cell["metric"]),
            "perturbation": info.get("perturbation") or "none",
            "citation": info.get("citation") or "–",
            "parameters": _parameters(info.get("parameters") or {}),
        }
        rows.setdefault(json.dumps(row, sort_keys=True), row)
    return list(rows.values())


def _parameters(parameters: Mapping[str, Any]) -> list[str]:
    """`name = value` for each parameter, without the code's version, which users do not choose."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    return [f"{name} = {text}" for name, text in texts.items() if name != "version"]


def _prose(found: Sequence[Setting], manifest: Manifest, numbers: Mapping[str, int]) -> list[str]:
    """Draft paragraphs for a paper; none if no cell finished."""
    every = [m for setting in found for m in setting.methods if m.info and not m.control]
    cited = {m.label: m.info["citation"] for m in every if m.info.get("citation")}
    names = dict.fromkeys(m.label for m in every)
    if not cited:
        return []
    data = words.listed(
        [
            f"the first {words.count(s.n, 'sample')} of {s.dataset} with {s.model}"
            + ("" if s.accuracy is None else f" (test {'accuracy' if s.classes else 'R²'} {s.accuracy:.3f})")
            for s in found
        ]
    )
    methods = words.listed([f"{name} [{numbers[cited[name]]}]" if name in cited else name for name in names])
    return [
        f"We compare {methods} on {data}. Every algorithm is measured on the same perturbations, drawn from "
        f"seed {manifest['seed']}. Scores are means over samples with 95 % percentile bootstrap intervals; a "
        "score that is not defined for a sample is counted and left out of the mean.",
        _traits({m.label: _declared(m.info) for m in reversed(every)}, list(names)),
    ]


def _traits(declared: Mapping[str, Mapping[str, str]], order: Sequence[str]) -> str:
    """Sentences on the methods' kinds of map, completeness, stochasticity and needs."""

    def those(trait: str) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for label in order:
            if label in declared and declared[label][trait] != _ABSENT:
                groups.setdefault(declared[label][trait], []).append(label)
        return groups

    kinds, complete, stochastic, needs = map(those, ("kind", "complete", "stochastic", "needs"))
    said = []
    if "global" in kinds:
        what = f"amounts, such as shares of the output or of its change {_CHANGE} from a baseline x₀"
        said.append(f"Maps of {words.listed(kinds['global'])} are global: {what}.")
    if "local" in kinds:
        said.append(f"Maps of {words.listed(kinds['local'])} are local: slopes, like a gradient.")
    if "yes" in complete:
        said.append(f"{_who(complete['yes'], 'claims', 'claim')} completeness: a map sums to {_CHANGE}.")
    if "yes" in stochastic:
        said.append(f"{_who(stochastic['yes'], 'is', 'are')} stochastic, drawn anew for every seed.")
    if "not known" in stochastic:
        said.append(f"Whether {_who(stochastic['not known'], 'is', 'are')} stochastic is not known.")
    if needs:
        said.append("; ".join(f"{_who(labels, 'needs', 'need')} {what}" for what, labels in needs.items()) + ".")
    silent = [label for label in order if label in declared and _ABSENT in declared[label].values()]
    if silent:
        said.append(f"Not all of this is recorded for {words.listed(silent)}.")
    return " ".join(said)


def _who(labels: Sequence[str], one: str, many: str) -> str:
    """`A claims`, `A and B claim`."""
    return f"{words.listed(labels)} {one if len(labels) == 1 else many}"
