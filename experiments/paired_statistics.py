"""Do the intervals cover, do the tests keep their level, and how long do all statistics of a large table take?

    python experiments/paired_statistics.py [--tables 4000] [--parts coverage level speed] [--write]

Coverage: the share of 95 % intervals that hold the true mean difference, of scores with heavy tails, for 8, 32 and 200
samples. Level: the share of tables of five equal methods in which any of the ten pairs is significant. Speed: seconds
and peak memory of a made store of 500 samples x 40 methods x 30 columns. `--write` puts the tables into
docs/statistics.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from experiments.parts.printing import hardware, number, table
from xbench.tables import paired, pairwise
from xbench.tables.stats import drawn_shares

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "statistics.md"
COUNTS = (8, 32, 200)
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def lognormal(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return np.exp(random.normal(size=shape))


def two_lognormals(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Two scores with a common part per sample, one half the size of the other."""
    common = random.normal(size=shape)
    first, second = (np.exp(0.7 * common + 0.7 * random.normal(size=shape)) for _ in range(2))
    return first - 0.5 * second


def two_paretos(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return random.pareto(3, size=shape) - 0.5 * random.pareto(3, size=shape)


def two_hits(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return (random.random(shape) < 0.95).astype(float) - (random.random(shape) < 0.8)


# Name -> how differences (tables, n) are drawn, and their mean.
DIFFERENCES: Mapping[str, tuple[Draw, float]] = {
    "normal": (lambda random, shape: random.normal(size=shape), 0.0),
    "Student's t, 3 degrees of freedom": (lambda random, shape: random.standard_t(3, size=shape), 0.0),
    "log-normal": (lognormal, math.exp(0.5)),
    "two dependent log-normals": (two_lognormals, 0.5 * math.exp(0.49)),
    "two Paretos, exponent 3": (two_paretos, 0.25),
    "hits, 95 % and 80 %": (two_hits, 0.15),
}


def intervals(differences: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """95 % intervals of the mean of each row (P, n), by five methods; xbench's is the last."""
    n = differences.shape[1]
    mean, error = differences.mean(1), differences.std(1, ddof=1) / math.sqrt(n)
    centred = differences - mean[:, None]
    shares = drawn_shares(n)
    means = shares @ centred.T
    spread = np.sqrt(np.maximum(shares @ np.square(centred).T - np.square(means), 0) / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(means / np.where(spread > 1e-9 * error, spread, 0), posinf=np.inf, neginf=-np.inf)
        skewness = (centred**3).sum(1) / np.maximum(np.square(centred).sum(1), 1e-300) ** 1.5
    ordered, ratios = np.sort(means, axis=0), np.sort(ratios, axis=0)
    half = stdtrit(n - 1, 0.975) * error
    ours = paired.mean_differences(differences)
    return {
        "percentile": (mean + ordered[49], mean + ordered[-50]),
        "BCa": _bca(mean, means, ordered, np.nan_to_num(skewness) / 6),
        "bootstrap-t": (mean - ratios[-50] * error, mean - ratios[49] * error),
        "Student's t": (mean - half, mean + half),
        "xbench": (ours.low, ours.high),
    }


def _bca(
    mean: np.ndarray, means: np.ndarray, ordered: np.ndarray, acceleration: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Efron 1987: the quantiles of the resampled means, moved by their bias and skewness."""
    count = len(means)
    bias = ndtri(np.clip(((means < 0).mean(0) + (means <= 0).mean(0)) / 2, 0.5 / count, 1 - 0.5 / count))
    ends = []
    for tail in (0.025, 0.975):
        moved = bias + ndtri(tail)
        level = ndtr(bias + moved / (1 - acceleration * moved))
        place = np.clip(np.round(level * (count - 1)), 0, count - 1).astype(int)
        ends.append(mean + np.take_along_axis(ordered, place[None], axis=0)[0])
    return ends[0], ends[1]


def coverage(tables_drawn: int) -> dict[tuple[int, str], dict[str, float]]:
    """The share of intervals that hold the true mean, by number of samples and kind of differences."""
    found = {}
    for n in COUNTS:
        for name, (draw, truth) in DIFFERENCES.items():
            random = np.random.default_rng([n, *name.encode()])
            ends = intervals(draw(random, (tables_drawn, n)))
            found[n, name] = {
                kind: float(np.mean((low <= truth) & (truth <= high))) for kind, (low, high) in ends.items()
            }
    return found


def level(tables_drawn: int, methods: int = 5) -> dict[tuple[int, str], tuple[float, float]]:
    """Of equal methods, the share of significant pairs without Holm and of tables with any significant pair with it."""
    found = {}
    for n in (*COUNTS, 60):
        for name in ("continuous", "ties"):
            random = np.random.default_rng([n, *name.encode()])
            scores = random.normal(size=(tables_drawn, 1, n)) + random.standard_t(3, size=(tables_drawn, methods, n))
            scores = np.round(scores) if name == "ties" else np.exp(scores)
            pairs = np.triu_indices(methods, 1)
            p = np.stack([paired.signed_rank(paired.differences(each, pairs)).p for each in scores])
            family = np.mean([paired.holm(row).min() < pairwise.LEVEL for row in p])
            found[n, name] = (float(np.mean(p < pairwise.LEVEL)), float(family))
    return dict(sorted(found.items()))


def speed(size: Sequence[int]) -> list[tuple[str, float, float]]:
    """Stage, seconds and MiB, as `experiments.parts.large_table` prints them: in a process without torch."""
    command = [sys.executable, "-m", "experiments.parts.large_table", *map(str, size)]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=alone)
    return [tuple(stage) for stage in json.loads(done.stdout)]


def main(given: Sequence[str] | None = None) -> dict[str, str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=4000)
    parser.add_argument(
        "--parts", nargs="+", choices=("coverage", "level", "speed"), default=["coverage", "level", "speed"]
    )
    parser.add_argument(
        "--size", nargs=3, type=int, default=(500, 40, 30), help="samples, methods and columns of the speed"
    )
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(given)
    shown: dict[str, str] = {}
    if "coverage" in asked.parts:
        covered = coverage(asked.tables)
        kinds = list(next(iter(covered.values())))
        rows = [[name, str(n), *(number(found[kind], 3) for kind in kinds)] for (n, name), found in covered.items()]
        shown["coverage"] = table(["differences", "n", *kinds], rows)
    if "level" in asked.parts:
        rows = [
            [name, str(n), *(number(share, 3) for share in shares)]
            for (n, name), shares in level(asked.tables // 2).items()
        ]
        shown["level"] = table(["scores", "n", "pairs, p < 0.05", "tables with a pair, adjusted p < 0.05"], rows)
    if "speed" in asked.parts:
        stages = speed(asked.size)
        rows = [[name, number(seconds, 1), number(peak, 0)] for name, seconds, peak in stages]
        shown["speed"] = f"{hardware(1)}\n\n" + table(["stage", "seconds", "MiB"], rows)
    for name, text in shown.items():
        print(f"\n{name}\n\n{text}")
    if asked.write:
        page = PAGE.read_text(encoding="utf-8")
        for name, text in shown.items():
            page = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- end -->)",
                lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}",
                page,
                flags=re.DOTALL,
            )
        PAGE.write_text(page, encoding="utf-8")
    return shown


if __name__ == "__main__":
    main()
