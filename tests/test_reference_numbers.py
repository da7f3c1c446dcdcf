"""Numbers of xbench's own components, kept with their versions: who changes the numbers must raise the version.

A stored result names a component of xbench by its version alone, so numbers that change under the same version would be
reused. `python -m tests.test_reference_numbers` writes tests/reference_numbers.json anew, unless a version is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from tests.algorithms import test_contract as algorithms
from tests.metrics import contract as metrics
from tests.metrics.toys import known
from tests.models_for_tests import ConvNet, numbers, weights
from xbench import algorithms as a
from xbench.config.nodes import CONF, instantiate

pytestmark = pytest.mark.slow

KEPT = Path(__file__).with_name("reference_numbers.json")
COMMAND = "python -m tests.test_reference_numbers"
CLOSE = 1e-6  # of the size of what is compared: rounding on another processor is far below it
Numbers = dict[str, list[float]]  # by place or column: the size of a tensor, and what tells its values apart

OWN = sorted(name for name in algorithms.NODES if not issubclass(type(algorithms.algorithm(name)), a.ExternalAlgorithm))
SHAPES = {"image": (3, 16, 16), "tabular": (6,), "series": (2, 32), "audio": (1, 16000), "video": (3, 4, 16, 16)}


def told(values: Tensor) -> list[float]:
    """The norm of a tensor and two projections of it, which change with any of its values."""
    flat = values.detach().double().flatten()
    found = [float(flat.norm()), *(numbers(2, len(flat), seed=7) @ flat).tolist()]
    return [float(f"{number:.12g}") for number in found]


def of_algorithm(name: str) -> tuple[int, Numbers]:
    places = [site for known, site in algorithms.PAIRS if known == name]
    method = algorithms.algorithm(name)
    found = {place: told(algorithms.expected(name, place, "target").maps) for place in places}
    return method.facts.version, found


def of_metric(name: str) -> tuple[int, Numbers]:
    metric = metrics.parameterised(name)
    setting = metrics.setting_of(metric, list(range(metrics.N)))
    columns = metrics.score(known(weights(ConvNet())), metrics.samples(), metric, a.Saliency(abs=False), **setting)
    return metric.facts.version, {column: told(values.nan_to_num(-1.0)) for column, values in columns.items()}


@cache
def networks() -> Mapping[str, partial[Any]]:
    """The architectures of the reference models that take one tensor."""
    found = {}
    for path in sorted((Path(CONF) / "model").glob("*.yaml")):
        node = OmegaConf.load(path).get("architecture")
        if node is not None and "_target_" in node:  # else a variant of another file's
            built = instantiate({**node, "rate": 16000} if "rate" in node else node, path.stem)
            if getattr(built.func, "modality", None) in SHAPES:
                found[path.stem] = built
    return found


def of_model(name: str) -> tuple[int, Numbers]:
    built = networks()[name]
    shape = SHAPES[built.func.modality]
    network = weights(built(shape=shape, classes=3))
    return getattr(built.func, "version", 1), {"outputs": told(network(numbers(2, *shape)))}


COMPONENTS = {
    **{f"algorithm {name}": partial(of_algorithm, name) for name in OWN},
    **{f"metric {name}": partial(of_metric, name) for name in metrics.names()},
    **{f"model {name}": partial(of_model, name) for name in networks()},
}


def kept() -> dict[str, dict[str, Any]]:
    return json.loads(KEPT.read_text())


def problem(name: str, version: int, found: Numbers, known: Mapping[str, Any] | None) -> str | None:
    """What must be done about numbers that are not those that are kept; None: nothing."""
    if known is None:
        return f"{name} has no reference numbers yet: run {COMMAND}"
    same = found.keys() == known["numbers"].keys() and all(
        abs(one - other) <= CLOSE * abs(known["numbers"][key][0]) + 1e-12
        for key, values in found.items()
        for one, other in zip(values, known["numbers"][key], strict=True)
    )
    if version != known["version"]:
        return f"{name} has version {version}, its reference numbers are of {known['version']}: run {COMMAND}"
    return None if same else f"numbers of {name} changed: raise its version and regenerate with {COMMAND}"


@pytest.mark.parametrize("name", COMPONENTS)
def test_numbers_are_those_of_the_version(name: str) -> None:
    said = problem(name, *COMPONENTS[name](), kept().get(name))
    assert said is None, said


def test_numbers_are_kept_of_what_there_is() -> None:
    assert kept().keys() <= COMPONENTS.keys(), f"reference numbers of what is gone: run {COMMAND}"


def test_a_change_of_numbers_or_version_alone_is_noticed() -> None:
    name = "algorithm ig"
    version, found = COMPONENTS[name]()
    known = kept()[name]
    moved = {place: [values[0], values[1] + 1e-5 * values[0], values[2]] for place, values in found.items()}
    assert problem(name, version, found, known) is None
    assert str(problem(name, version, moved, known)).startswith(f"numbers of {name} changed: raise its version and")
    assert "has version" in str(problem(name, version + 1, found, known))
    assert "has version" in str(problem(name, version + 1, moved, known))
    assert "no reference numbers yet" in str(problem(name, version, found, None))


def write() -> None:
    """Keep the numbers of today; those that changed under the same version are refused."""
    torch.set_num_threads(1)
    before: dict[str, Any] = kept() if KEPT.exists() else {}
    after: dict[str, Any] = {}
    for name, compute in COMPONENTS.items():
        version, found = compute()
        known = before.get(name)
        if known is not None and known["version"] == version:
            said = problem(name, version, found, known)
            if said is not None:
                raise SystemExit(said)
            after[name] = known  # other last digits are no change
        else:
            after[name] = {"version": version, "numbers": found}
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in after.items())
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
