"""The frame of the page as plain values: title, content of the run, commands to repeat it, and environments."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from xbench.report import words
from xbench.report.collect import Manifest, Setting
from xbench.tables.tables import Tables

CONTENTS = (
    ("run", "What was run"),
    ("comparison", "Comparison"),
    ("pairwise", "Pairs of methods"),
    ("tradeoff", "Faithfulness, robustness, time"),
    ("distributions", "Distributions"),
    ("curves", "Removal curves"),
    ("agreement", "Agreement"),
    ("trust", "Trust"),
    ("gallery", "Gallery"),
    ("problems", "What is missing"),
    ("methods", "Methods"),
    ("reproduce", "Reproduce"),
)


def overview(manifest: Manifest, found: Sequence[Setting], tables: Tables) -> dict[str, Any]:
    """Title, lede, stand-ins, content of the run, and commands to repeat it."""
    standins = {s.dataset: {"dataset": s.dataset, "origin": s.origin} for s in found if s.standin}
    command = shlex.join(str(word) for word in manifest["command"])
    config = manifest.get("config") or {}
    return {
        "name": manifest["name"],
        "created": _created(manifest),
        "lede": _lede(found, tables),
        "standins": list(standins.values()),
        "contents": CONTENTS,
        "command": command,
        "config": json.dumps(config, indent=2, ensure_ascii=False) if config else "",
        "facts": _facts(manifest, found),
        "settings": [_setting_row(s) for s in found],
        "controls": _controls(found),
    }


def _lede(found: Sequence[Setting], tables: Tables) -> str:
    methods = {method.name: method for setting in found for method in setting.methods}
    controls = sum(method.control for method in methods.values())
    parts = [words.count(len(methods) - controls, "algorithm")]
    parts += [words.count(controls, "control")] if controls else []
    parts.append(words.count(len(set(tables.summary["metric"])), "measure"))
    where = words.count(len(found), "setting")
    if 0 < len(found) <= 3:
        where = words.listed([setting.title for setting in found])
    return f"{' · '.join(parts)}, compared on {where}."


def _facts(manifest: Manifest, found: Sequence[Setting]) -> list[tuple[str, str]]:
    return [
        ("Models", ", ".join(dict.fromkeys(s.model for s in found)) or "none"),
        ("Data", ", ".join(f"{s.dataset} ({words.count(s.n, 'sample')})" for s in found) or "none"),
        ("Explained", _explained(found, _jobs(manifest))),
        ("Seed", str(manifest["seed"])),
        ("Planned", _created(manifest)),
    ]


def _created(manifest: Manifest) -> str:
    return str(manifest["created"]).replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def _jobs(manifest: Manifest) -> list[Mapping[str, Any]]:
    """The resolved configs of the run: one per job of a sweep."""
    config = manifest.get("config") or {}
    return list(config.get("jobs", [config]))


def _explained(found: Sequence[Setting], jobs: Sequence[Mapping[str, Any]]) -> str:
    """The explained output or unit and the sites of the maps, from the attribution cells and the config."""
    infos = [method.info for setting in found for method in setting.methods if method.info]
    readouts = dict.fromkeys(str(info["readout"]) for info in infos if info.get("readout"))
    sites = dict.fromkeys(str(info["site"]) for info in infos if info.get("site"))
    units = dict.fromkeys(_unit(job["neuron"]) for job in jobs if job.get("neuron"))
    reads = dict.fromkeys(str(job["read"]) for job in jobs if job.get("read"))
    of_outputs = [job for job in jobs if not job.get("neuron")]
    targets = dict.fromkeys(_target(job["target"]) for job in of_outputs if job.get("target") is not None)
    told = f"the {words.listed(list(readouts))}" if readouts else "output not recorded"
    if targets:
        told += f" of {words.listed(list(targets))}"
    told = words.listed([told, *units] if of_outputs or not units else list(units))
    if not sites:
        return told
    entered = [f"the {site}" if site == "input" else site for site in sites]
    read = [f"{place} (read there)" for place in reads]
    apart = all(job.get("read") for job in jobs)
    choices = {f"{key}={job[key]}" for job in jobs for key in ("features", "baseline") if job.get(key) is not None}
    chosen = f", with {words.listed(sorted(choices))}" if choices else ""
    return f"{told}, attributed to {words.listed(read if apart else entered + read)}{chosen}"


def _target(target: object) -> str:
    """The display name of `target=`."""
    if isinstance(target, list):
        return f"output {', '.join(map(str, target))}"
    return f"the {target} class" if target in ("label", "predicted") else f"class {target}"


def _unit(neuron: Sequence[Any]) -> str:
    """The display name of `neuron=[LAYER, INDEX]`."""
    layer, *index = neuron
    return f"unit {', '.join(map(str, index))} of {layer}"


def _quality(setting: Setting) -> str:
    """The model's accuracy, or R² for a regression."""
    if setting.accuracy is None:
        return "not known"
    return f"{setting.accuracy:.1%}".replace("%", "\u00a0%") if setting.classes else f"R² {setting.accuracy:.3f}"


def _setting_row(setting: Setting) -> dict[str, Any]:
    names = ", ".join(setting.classes[:6]) + (" …" if len(setting.classes) > 6 else "")
    return {
        "model": setting.model,
        "dataset": setting.dataset,
        "standin": setting.standin,
        "accuracy": _quality(setting),
        "n": f"{setting.n:,}",
        "classes": f"{len(setting.classes)}: {names}" if setting.classes else "–",
        "origin": setting.origin or "not recorded",
    }


def _controls(found: Sequence[Setting]) -> str:
    told = {
        "random": "draws its map at random",
        "constant": "gives every feature the same value",
        "inverse": "is a method's map with the opposite sign",
        "edges": "draws the edges of the image",
        "truth": "is the mask that the data come with",
        "exact": "is the attribution of a known function in closed form",
    }
    controls = {m.name: m.label for setting in found for m in setting.methods if m.control}
    does = [f"{label} {told.get(name, 'looks at neither model nor data')}" for name, label in controls.items()]
    return f"{words.listed(does)}." if does else ""


def environments(tables: Tables, manifest: Manifest) -> dict[str, Any]:
    """All environments of the run as facts, and the command that rebuilds the page."""
    config = next(iter(_jobs(manifest)), {})
    rebuild = ["python", "-m", "xbench.report", f"name={manifest['name']}"]
    for key, usual in (("store", "results"), ("reports", "reports")):
        rebuild += [f"{key}={config[key]}"] if config.get(key, usual) != usual else []
    used = tables.cells["environment"].dropna().value_counts()
    found = tables.environment["environments"]
    shown = [
        {
            "id": id,
            "cells": words.count(int(used.get(id, 0)), "cell"),
            "facts": _flat(facts) if facts else [("environment", "the store no longer has its description")],
        }
        for id, facts in found.items()
    ]
    return {"environments": shown, "rebuild": shlex.join(rebuild)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as (dotted name, text) pairs; sizes in bytes in GiB."""
    flat: list[tuple[str, str]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat += _flat(item, f"{prefix}{name} · ")
        elif name == "memory" and isinstance(item, int):
            flat.append((f"{prefix}{name}", f"{item / 2**30:.1f} GiB"))
        else:
            text = ", ".join(map(str, item)) or "none" if isinstance(item, list) else str(item)
            plain = {"None": "not known", "True": "yes", "False": "no"}.get(text, text)
            flat.append((f"{prefix}{name}", plain))
    return flat
