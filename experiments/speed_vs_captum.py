"""How fast and how lean is xbench beside Captum, and how near to what the bare model can do?

    python experiments/speed_vs_captum.py [--quick] [--workloads cnn mlp] [--methods ig deeplift] [--write]

Contenders are processes of their own that take turns on the same model and samples: xbench, Captum with its default
arguments, Captum with the best value of its chunk argument (searched first; methods without one are the default
again), and the bare model at its best batch size. Seconds are medians over the rounds. Peak memory is what a warm
call takes beyond the process before it, in a fresh copy of the process: of the tensors (exact) and of the process.
Efficiency is nominal rows x bare seconds per row / our seconds. Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from experiments.parts.contender import Contender
from experiments.parts.methods import Method, chunks, difference, methods
from experiments.parts.printing import HERE, finish, geometric_mean, hardware, number, table
from experiments.parts.workloads import WORKLOADS, Workload, load

NAME = "speed_vs_captum"
# Efficiency aimed at without rewrites of the model; with them 1.2 on ResNet-18.
EFFICIENCY = {"resnet18": 0.9, "transformer": 0.9, "cnn": 0.8}
EFFICIENT = ("ig", "occlusion", "kernel_shap", "deeplift")
MOST_ROWS = {"cnn": 512, "resnet18": 16, "transformer": 256, "mlp": 8192}  # batch sizes of the bare model


@dataclass
class Row:
    """One method on one workload; ratios above 1 are in our favour, but for memory."""

    workload: str
    method: str
    seconds: dict[str, float] = field(default_factory=dict)
    chunk: int | None = None
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    efficiency: float | None = None
    gap: float | None = None
    notes: list[str] = field(default_factory=list)

    def ratio(self, peer: str) -> float | None:
        """Seconds of `default` or `tuned` by ours."""
        if "xbench" in self.seconds and peer in self.seconds:
            return self.seconds[peer] / self.seconds["xbench"]
        return None

    def memory(self, kind: str, peer: str = "tuned") -> float | None:
        """Our peak by that of the peer."""
        if "xbench" in self.peaks and peer in self.peaks and self.peaks[peer][kind] > 0:
            return self.peaks["xbench"][kind] / self.peaks[peer][kind]
        return None

    @property
    def mebibytes(self) -> float | None:
        """What our tensors take at most."""
        return self.peaks["xbench"]["tensors"] / 2**20 if "xbench" in self.peaks else None


def race(
    row: Row, method: Method, contenders: dict[str, Contender], n: int, rounds: int, warm_ups: int, quick: bool
) -> None:
    """Fill in the seconds: search Captum's chunk, then take turns."""
    contestants: dict[str, dict[str, object]] = {}
    for name in ("xbench", "default"):
        calls = warm_ups if name == "xbench" else 1
        answers = [contenders[name].ask(do="time", method=row.method) for _ in range(calls)]
        if "error" in answers[-1]:
            row.notes.append(f"{'xbench' if name == 'xbench' else 'Captum'} raises {str(answers[-1]['error'])[:90]}")
        else:
            contestants[name] = {"method": row.method}
    if "default" in contestants and method.chunk is not None:
        candidates = chunks(method, n)[:: 2 if quick else 1]
        times = {}
        for chunk in candidates:
            request = {"do": "time", "method": row.method, "chunk": chunk}
            contenders["tuned"].ask(**request)
            answer = contenders["tuned"].ask(**request)
            if "error" not in answer:
                times[chunk] = float(str(answer["seconds"]))
        if times:
            row.chunk = min(times, key=times.__getitem__)
            contestants["tuned"] = {"method": row.method, "chunk": row.chunk}
    elif "default" in contestants:
        contestants["tuned"] = {"method": row.method}
        contenders["tuned"].ask(do="time", method=row.method)
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        order = list(contestants) if turn % 2 == 0 else list(reversed(contestants))
        for name in order:
            found[name].append(contenders[name].seconds(do="time", **contestants[name]))
    row.seconds = {name: statistics.median(times) for name, times in found.items()}
    if method.chunk is None and "default" in found:  # the same call in two processes: one peer, more rounds
        row.seconds["default"] = row.seconds["tuned"] = statistics.median(found["default"] + found["tuned"])


def compare(row: Row, method: Method, contenders: dict[str, Contender]) -> None:
    """Fill in the difference of the maps."""
    with tempfile.TemporaryDirectory() as folder:
        maps = []
        for name in ("xbench", "default"):
            path = str(Path(folder) / name)
            contenders[name].ask(do="maps", method=row.method, path=path)
            maps.append(torch.load(path))
    row.gap = difference(*maps) if method.same else None


def weigh(row: Row, fresh: dict[str, Contender]) -> None:
    """Fill in the peaks, from processes that have run nothing else."""
    for name in row.seconds:
        chunk = {"chunk": row.chunk} if name == "tuned" and row.chunk is not None else {}
        answer = fresh[name].ask(do="peak", method=row.method, **chunk)
        if "error" in answer:
            row.notes.append(f"peak of {name}: {str(answer['error'])[:60]}")
        else:
            row.peaks[name] = {kind: float(str(value)) for kind, value in answer.items()}


def workload_rows(name: str, options: argparse.Namespace) -> list[Row]:
    """All methods on one workload."""
    w: Workload = load(name)
    wanted = {key: m for key, m in methods(w).items() if not options.methods or key in options.methods}
    rounds, warm_ups = (3, 2) if options.quick else (7, 3)
    if name == "resnet18":
        rounds, warm_ups = (1, 2) if options.quick else (3, 3)
    peers = {"xbench": "xbench", "default": "captum", "tuned": "captum", "bare": "bare"}
    rewrites = not options.without_rewrites
    contenders = {key: Contender(peer, name, options.threads, rewrites) for key, peer in peers.items()}
    fresh = {key: Contender(peer, name, options.threads, rewrites) for key, peer in peers.items() if key != "bare"}
    rows = []
    try:
        needs = {m.backward for m in wanted.values() if m.whole}
        most = MOST_ROWS[name]

        def limits() -> dict[bool, float]:
            return {b: contenders["bare"].seconds(do="bare", backward=b, most=most) for b in needs}

        before = limits()
        for key, method in wanted.items():
            row = Row(name, key)
            race(row, method, contenders, len(w.x), rounds, warm_ups, options.quick)
            if "xbench" in row.seconds and "default" in row.seconds:
                compare(row, method, contenders)
            if not options.no_memory:
                weigh(row, fresh)
            rows.append(row)
            times = "  ".join(f"{k} {s * 1e3:.1f} ms" for k, s in row.seconds.items())
            print(f"{name:12} {key:20} {times}", flush=True)
        after = limits()
        for row in rows:
            method = wanted[row.method]
            if method.whole and "xbench" in row.seconds:
                bare = min(before[method.backward], after[method.backward])
                row.efficiency = method.rows * len(w.x) * bare / row.seconds["xbench"]
    finally:
        for contender in [*contenders.values(), *fresh.values()]:
            contender.__exit__(None, None, None)
    return rows


def means(rows: Sequence[Row]) -> list[str]:
    """Cells of the line that sums up rows."""

    def mean(values: list[float | None]) -> str:
        return number(geometric_mean([v for v in values if v is not None and v > 0]))

    return [
        mean([row.ratio("default") for row in rows]),
        mean([row.ratio("tuned") for row in rows]),
        mean([row.memory("tensors") for row in rows]),
        mean([row.memory("resident") for row in rows]),
        "",
    ]


def show(rows: Sequence[Row]) -> str:
    """The table of every workload, and the targets beside what was found."""
    parts = []
    header = ["method", "xbench ms", "x default", "x tuned", "chunk"]
    header += ["tensor MiB", "tensor peak", "process peak", "efficiency", "maps"]
    for name in dict.fromkeys(row.workload for row in rows):
        group = [row for row in rows if row.workload == name]
        lines = []
        for row in group:
            ours = row.seconds.get("xbench")
            gap = "–" if row.gap is None else f"{row.gap:.0e}"
            lines.append([
                row.method, number(ours and ours * 1e3, 1), number(row.ratio("default")), number(row.ratio("tuned")),
                "–" if row.chunk is None else str(row.chunk), number(row.mebibytes, 1),
                number(row.memory("tensors")), number(row.memory("resident")), number(row.efficiency), gap,
            ])  # fmt: skip
        default, tuned, tensors, resident, _ = means(group)
        lines.append(["geometric mean", "", default, tuned, "", "", tensors, resident, "", ""])
        parts.append(f"## {load(name).title}\n\n{table(header, lines)}")
        parts += [f"- {row.method}: {note}" for row in group for note in row.notes]
    default, tuned, tensors, resident, _ = means(rows)
    slow = [f"{r.workload}/{r.method} {number(r.ratio('tuned'))}" for r in rows if (r.ratio("tuned") or 9) < 1]
    heavy = [
        f"{r.workload}/{r.method} {number(r.memory('tensors'))} ({number(r.mebibytes, 1)} MiB)"
        for r in rows
        if (r.memory("tensors") or 0) > 1
    ]
    idle = [
        f"{r.workload}/{r.method} {number(r.efficiency)}"
        for r in rows
        if r.method in EFFICIENT and r.efficiency is not None and r.efficiency < EFFICIENCY.get(r.workload, 0)
    ]
    goals = [
        ["x Captum default, geometric mean", default, "3.0"],
        ["x Captum tuned, geometric mean", tuned, "1.4"],
        ["slower than tuned", str(len(slow)), "0"],
        ["tensor peak above tuned", str(len(heavy)), "0"],
        ["efficiency below 0.9 (ResNet-18, transformer), 0.8 (CNN)", str(len(idle)), "0"],
    ]
    parts.append("## All\n\n" + table(["", "found", "target"], goals))
    missed = {"slower than tuned": slow, "tensor peak above tuned": heavy, "efficiency below the target": idle}
    parts.append("\n".join(f"- {what}: {', '.join(which)}" for what, which in missed.items() if which))
    parts.append(
        "`x default`, `x tuned`: Captum's seconds by ours. `tensor MiB`: our peak, beyond the process before the call; "
        "tensor and process peak: ours by Captum's tuned. `maps`: largest difference by the largest value, – where "
        "draws or estimators differ by definition."
    )
    return "\n\n".join(parts)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Time ratios by method and workload."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row.method for row in rows))
    figure, axes = plt.subplots(figsize=(7, 0.3 * len(names) + 1.5))
    for mark, workload in zip("osD^", dict.fromkeys(row.workload for row in rows), strict=False):
        for peer, colour in (("default", "tab:orange"), ("tuned", "tab:blue")):
            points = [(row.ratio(peer), names.index(row.method)) for row in rows if row.workload == workload]
            known = [(x, y) for x, y in points if x is not None]
            label = f"{workload}, {peer}"
            axes.scatter(*zip(*known, strict=True) if known else ([], []), marker=mark, color=colour, s=22, label=label)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("Captum's seconds by xbench's (right of the line: xbench is faster)")
    axes.legend(fontsize=6, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Print the tables; the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a coarser search")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--methods", nargs="+", help="xbench's names; all unless given")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-memory", action="store_true", help="leave out the peaks")
    parser.add_argument("--without-rewrites", action="store_true", help="xbench leaves the model as it is")
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md and .svg")
    options = parser.parse_args(arguments)
    for name in options.methods or []:
        known = sorted({key for w in WORKLOADS for key in methods(load(w))})
        if name not in known:
            parser.error(f"--methods: expected some of {', '.join(known)}, got {name}")
    rows = [row for name in options.workloads for row in workload_rows(name, options)]
    suffix = "_without_rewrites" if options.without_rewrites else ""
    name = NAME + suffix
    about = (
        "How fast and how lean is xbench beside Captum, and how near to what the bare model can do? The targets are in "
        f"the last table.\n\n![Time ratios by method and workload]({name}.svg)"
    )
    flags = {"--quick": options.quick, "--without-rewrites": options.without_rewrites, "--no-memory": options.no_memory}
    command = " ".join([f"python experiments/{NAME}.py", *(flag for flag, given in flags.items() if given)])
    finish(name, about, command, hardware(options.threads), show(rows), options.write)
    if options.write:
        plot(rows, HERE / f"{name}.svg")
    return rows


if __name__ == "__main__":
    main()
