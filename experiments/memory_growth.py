"""Does peak memory grow when a method evaluates the model ten times as often?

    python experiments/memory_growth.py [--methods ig lime] [--factor 10] [--write]

Every algorithm and every metric of conf/ that has a number of evaluations to choose (steps, samples, draws), once as
its config says and once with `factor` times as many, and the methods that take many baselines with `factor` times as
many of those, on a convolutional network and 4 images 3x64x64. The peak is that of the tensors alive at the same time,
exact to the byte, with 16 rows per evaluation throughout. What is measured is the call: baselines are the user's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

import xbench
from experiments.parts.printing import finish, hardware, number, table
from xbench.algorithms import Algorithm
from xbench.config.nodes import CONF, instantiate
from xbench.engine.memory import LiveBytes
from xbench.metrics import Metric

NAME = "memory_growth"
COUNTS = ("n_steps", "n_samples", "nt_samples", "max_evals", "n_perturb_samples")
ROWS, BASELINES, TARGET = 16, 6, 1.05  # rows per evaluation, baselines (they fill one), the growth allowed


@dataclass(frozen=True)
class Growth:
    """The peaks of one method in bytes; `what` was multiplied."""

    method: str
    what: str
    small: int
    large: int

    @property
    def ratio(self) -> float:
        return self.large / self.small


def model() -> nn.Module:
    """Three convolutions on 3x64x64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
        ).eval()  # fmt: skip


def uniform(*shape: int) -> Tensor:
    """Images that are the same everywhere."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def components(group: str) -> dict[str, Algorithm | Metric]:
    """Every component of a group of conf/ that names a class and leaves nothing for the user to fill in."""
    found = {}
    for path in sorted((CONF / group).glob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(path))
        if isinstance(node, dict) and "_target_" in node and "???" not in node.values():
            made = instantiate(node, path.stem)
            assert isinstance(made, (Algorithm, Metric))
            found[path.stem] = made
    return found


def count_of(component: Algorithm | Metric) -> str | None:
    """The field that says how often the model is evaluated."""
    names = {field.name for field in fields(component)}  # type: ignore[arg-type]
    return next((name for name in COUNTS if name in names), None)


def peak(call: Callable[[], object]) -> int:
    """Bytes of tensors alive at the same time, once everything that is made once has been made."""
    call()
    with LiveBytes() as live:
        call()
    return live.peak


def growths(wanted: Sequence[str] | None, factor: int) -> list[Growth]:
    """One line per method and number."""
    net, x, target = model(), uniform(4, 3, 64, 64), torch.arange(4)
    cell = torch.arange(64) // 16
    features = (4 * cell[:, None] + cell).expand(1, 3, 64, 64)
    found: list[Growth] = []

    def explained(algorithm: Algorithm, baselines: Tensor | None) -> int:
        read = "3" if {"conductance", "internal_influence"} & {type(algorithm).__module__.rpartition(".")[2]} else None
        return peak(
            lambda: xbench.attribute(
                net, x, algorithm, target=target, baselines=baselines, features=features, read=read, rows=ROWS
            )
        )

    def scored(metric: Metric) -> int:
        return peak(
            lambda: xbench.measure(
                net, x, xbench.algorithms.Saliency(), metric, target=target, features=features, rows=ROWS
            )
        )

    def add(method: str, what: str, small: int, large: int) -> None:
        found.append(Growth(method, what, small, large))
        print(f"{method:20} {what:18} {small / 2**20:8.2f} MiB -> {large / 2**20:8.2f} MiB", flush=True)

    for name, algorithm in components("algorithm").items():
        if wanted and name not in wanted:
            continue
        assert isinstance(algorithm, Algorithm)
        field, few = count_of(algorithm), uniform(BASELINES, 3, 64, 64)
        if field is not None:
            more = replace(algorithm, **{field: factor * getattr(algorithm, field)})  # type: ignore[type-var]
            given = few if algorithm.facts.distribution else None
            add(name, field, explained(algorithm, given), explained(more, given))
        if algorithm.facts.distribution:
            add(name, "baselines", explained(algorithm, few), explained(algorithm, few.repeat(factor, 1, 1, 1)))
    for name, metric in components("metric").items():
        field = count_of(metric)
        if field is not None and (not wanted or name in wanted):
            assert isinstance(metric, Metric)
            more = replace(metric, **{field: factor * getattr(metric, field)})  # type: ignore[type-var]
            add(name, field, scored(metric), scored(more))
    return found


def show(found: Sequence[Growth], factor: int) -> str:
    """The table, and the target beside what was found."""
    lines = [
        [g.method, g.what, number(g.small / 2**20), number(g.large / 2**20), number(g.ratio, 3)] for g in found
    ]  # fmt: skip
    over = [f"{g.method} ({g.what}) {number(g.ratio, 3)}" for g in found if g.ratio >= TARGET]
    verdict = f"Growth of {TARGET - 1:.0%} or more: {', '.join(over) or 'none'} (target: none)."
    return table(["method", f"x {factor}", "MiB", f"MiB at x {factor}", "ratio"], lines) + f"\n\n{verdict}"


def main(arguments: Sequence[str] | None = None) -> list[Growth]:
    """Print the table; its lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", help="names in conf/algorithm and conf/metric; all unless given")
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    options = parser.parse_args(arguments)
    known = [*components("algorithm"), *components("metric")]
    for name in options.methods or []:
        if name not in known:
            parser.error(f"--methods: expected some of {', '.join(known)}, got {name}")
    found = growths(options.methods, options.factor)
    about = "Does peak memory grow when a method evaluates the model ten times as often? The target is below the table."
    command = f"python experiments/{NAME}.py"
    threads = torch.get_num_threads()
    finish(NAME, about, command, hardware(threads), show(found, options.factor), options.write)
    return found


if __name__ == "__main__":
    main()
