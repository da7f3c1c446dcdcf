"""A small realistic grid in a store, without running anything: for tests of tables and reports.

Two datasets (digits: images 8x8; sst2-standin: texts), four algorithms (`random` is a control), three
metrics. `deeplift` ran out of memory on sst2-standin, `gradient_shap` was skipped there, and some scores
are undefined.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xbench.store.store import Store, cell_key

N = 6
ENVIRONMENT = {
    "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    "xbench": "0.1.0",
    "python": "3.11.7",
    "platform": "Linux-x86_64",
    "packages": {"torch": "2.11.0", "numpy": "2.4.6"},
    "hardware": {"cpu": "Example CPU", "cores": 2, "threads": 2, "memory": 8 * 2**30, "devices": []},
}
ALGORITHMS = {  # name -> (label, citation, kind, control, forward rows, backward rows, size of its errors)
    "ig": ("Integrated Gradients", "Sundararajan et al. 2017", "global", False, 0, 50, 0.1),
    "deeplift": ("DeepLIFT", "Shrikumar et al. 2017", "global", False, 2, 2, 0.2),
    "gradient_shap": ("GradientSHAP", "Lundberg and Lee 2017", "global", False, 0, 25, 0.3),
    "random": ("Random map", "control", "local", True, 0, 0, 1.0),
}
_FAITHFUL = {"direction": "lower", "unit": "", "family": "faithfulness"}
METRICS: dict[str, dict[str, dict[str, Any]]] = {
    "infidelity": {
        "infidelity": _FAITHFUL | {"label": "Infidelity", "meaning": "Errors of the predicted change.", "detail": True},
        "infidelity_scaled": _FAITHFUL | {"label": "Infidelity, scaled", "short": "Infid. scaled", "detail": True},
        "infidelity_relative": _FAITHFUL | {"label": "Infidelity, relative", "short": "Infid. relative", "lead": True},
    },
    "sensitivity_max": {
        "sensitivity_max": {"direction": "lower", "unit": "", "family": "robustness", "label": "Sensitivity (max)"}
    },
    "completeness": {"completeness": {"direction": "lower", "unit": ""}},  # as of a release that told no more
}
COST = {
    "runtime": {"direction": "lower", "unit": "s/sample"},
    "forward_rows": {"direction": "lower", "unit": "rows/sample"},
    "backward_rows": {"direction": "lower", "unit": "rows/sample"},
    "peak_memory": {"direction": "lower", "unit": "bytes"},
}
DATASETS: dict[str, dict[str, Any]] = {
    "digits": {
        "model": "cnn",
        "modality": "image",
        "classes": [str(digit) for digit in range(10)],
        "standin": False,
        "origin": "1,797 handwritten digits bundled with scikit-learn",
        "accuracy": 0.981,
    },
    "sst2-standin": {
        "model": "text_cnn",
        "modality": "text",
        "classes": ["negative", "positive"],
        "standin": True,
        "origin": "sentences of a small grammar, written for xbench; not SST-2",
        "accuracy": 0.937,
    },
}
TEXTS = [
    "a truly wonderful film",
    "not a good story at all",
    "the plot is dull & slow",
    "an extremely moving and funny <b>tale</b>",
    "it is never boring",
    "a bad film",
]


def cell(dataset: str, kind: str, algorithm: str | None = None, metric: str | None = None) -> dict[str, Any]:
    """The fields every record of this grid shares; complete enough for a failure."""
    model = DATASETS[dataset]["model"]
    identity = {"kind": kind, "model": model, "dataset": dataset, "algorithm": algorithm, "metric": metric}
    return {
        "key": cell_key(identity),
        "kind": kind,
        "status": "ok",
        "reason": None,
        "identity": identity,
        "model": model,
        "dataset": dataset,
        "algorithm": algorithm,
        "metric": metric,
        "samples": [f"test-{index:05d}" for index in range(N)],
        "columns": {},
        "values": {},
        "seconds": 0.5,
        "counters": {"forward_rows": 0, "backward_rows": 0, "repeated_rows": 0},
        "environment": "",
        "info": {},
    }


def fill(store: Store, environment: Mapping[str, object] = ENVIRONMENT) -> dict[str, Any]:
    """Write the grid's cells, environment and manifest (name "sample") and return the manifest."""
    name = store.save_environment(environment)
    cells: list[dict[str, Any]] = []
    for dataset in DATASETS:
        records = [_samples(store, dataset, name)]
        records += [_attribution(store, dataset, algorithm, name) for algorithm in ALGORITHMS]
        for algorithm in ALGORITHMS:
            records += [_score(store, dataset, algorithm, metric, name) for metric in METRICS]
        cells += [_planned(record) for record in records]
    manifest = {
        "name": "sample",
        "created": "2026-01-02T03:04:05Z",
        "command": ["xbench", "algorithm=[ig,deeplift,gradient_shap]", "name=sample"],
        "config": {"algorithm": {"ig": {"n_steps": 50}}, "seed": 0, "agreement": 0.25},
        "cells": cells,
        "n": N,
        "seed": 0,
    }
    store.save_manifest(manifest)
    return manifest


def _planned(record: Mapping[str, Any]) -> dict[str, Any]:
    skipped = record["status"] == "skipped"
    names = {name: record[name] for name in ("key", "kind", "model", "dataset", "algorithm", "metric")}
    status, reason = ("skipped", record["reason"]) if skipped else ("planned", None)
    return names | {"samples": N, "status": status, "reason": reason}


def _generator(*names: str) -> np.random.Generator:
    return np.random.default_rng(list("/".join(names).encode()))


def _samples(store: Store, dataset: str, environment: str) -> dict[str, Any]:
    facts, generator = DATASETS[dataset], _generator(dataset)
    image = facts["modality"] == "image"
    label = [index % len(facts["classes"]) for index in range(N)]
    record = cell(dataset, "samples") | {"environment": environment}
    record["info"] = {key: facts[key] for key in ("modality", "classes", "standin", "origin", "accuracy")} | {
        "predicted": [*label[:-1], (label[-1] + 1) % len(facts["classes"])],
        "label": label,
        "confidence": [round(value, 3) for value in generator.uniform(0.6, 1.0, N).tolist()],
        "tokens": None if image else _tokens(),
    }
    pictures = np.clip(generator.random((N, 8, 8, 1)) * np.hanning(8)[:, None, None] * 1.5, 0, 1)
    store.save(record, {"image": pictures.astype(np.float32)} if image else None)
    return record


def _tokens() -> list[list[str]]:
    width = max(len(text.split()) for text in TEXTS)
    return [text.split() + [""] * (width - len(text.split())) for text in TEXTS]


def _attribution(store: Store, dataset: str, algorithm: str, environment: str) -> dict[str, Any]:
    label, citation, kind, control, forward, backward, _ = ALGORITHMS[algorithm]
    record, generator = cell(dataset, "attribution", algorithm), _generator(dataset, algorithm)
    if dataset == "sst2-standin" and algorithm == "deeplift":
        record |= {"status": "oom", "reason": "one row needs 3.1 GiB, 2.0 GiB are free"}
        record["traceback"] = "Traceback ..."
        store.save_failure(record)
        return record
    if dataset == "sst2-standin" and algorithm == "gradient_shap":
        return record | {"status": "skipped", "reason": "gradient_shap needs more than one baseline"}
    rows = forward + backward
    values = {
        "runtime": (1e-4 * (rows + 1) * generator.uniform(0.9, 1.1, N)).tolist(),
        "forward_rows": [forward] * N,
        "backward_rows": [backward] * N,
        "peak_memory": [2**20 * (1 + rows // 4)] * N,
    }
    text = dataset == "sst2-standin"
    info = {"kind": kind, "grouped": False, "stochastic": control, "citation": citation, "label": label}
    info |= {
        "control": control,
        "parameters": {},
        "readout": "logit",
        "site": "embedding" if text else "input",
    }
    info |= {"warnings": ["a warning of the algorithm"] if algorithm == "gradient_shap" else []}
    counters = {"forward_rows": forward * N, "backward_rows": backward * N, "repeated_rows": 0}
    record |= {"columns": COST, "values": values, "info": info, "counters": counters}
    record["environment"] = environment
    shape = (N, max(len(text.split()) for text in TEXTS), 4) if text else (N, 1, 8, 8)
    maps = generator.normal(size=shape).astype(np.float32)
    heat = maps.sum(-1 if text else 1)
    lengths = np.array([len(words.split()) for words in TEXTS]) if text else np.full(N, 64)
    relevance = heat.reshape(N, -1)
    relevance = np.where(np.arange(relevance.shape[1]) < lengths[:, None], relevance, 0)
    store.save(record, {"map_0": maps, "heat": heat, "relevance": relevance, "features": lengths})
    return record


def _score(store: Store, dataset: str, algorithm: str, metric: str, environment: str) -> dict[str, Any]:
    record, generator = cell(dataset, "score", algorithm, metric), _generator(dataset, algorithm, metric)
    if dataset == "sst2-standin" and algorithm == "deeplift":
        return record  # planned, and neither finished nor failed: its attribution ran out of memory
    if dataset == "sst2-standin" and algorithm == "gradient_shap":
        return record | {"status": "skipped", "reason": "gradient_shap needs more than one baseline"}
    columns, size = METRICS[metric], ALGORITHMS[algorithm][-1]
    values = {name: (size * generator.gamma(2.0, 0.5, N)).tolist() for name in columns}
    if metric == "sensitivity_max" and algorithm == "gradient_shap":
        values["sensitivity_max"][1] = float("nan")
    if metric == "infidelity" and algorithm == "ig" and dataset == "digits":
        values["infidelity_relative"][0] = values["infidelity_relative"][3] = float("nan")
    info = {"perturbation": "gaussian", "parameters": {"n": 100}}
    record |= {"columns": columns, "values": values, "info": info, "environment": environment}
    record["counters"] = {"forward_rows": 100 * N, "backward_rows": 0, "repeated_rows": 0}
    store.save(record)
    return record
