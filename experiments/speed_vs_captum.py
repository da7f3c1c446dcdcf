"""How fast and how lean is xbench beside Captum? Prints ratios from one run.

    python experiments/speed_vs_captum.py [--quick]

Every contender works on the same model and samples in one process, taking turns; seconds are medians over the
rounds, so that a noisy machine hits all of them alike. Captum's own chunk argument is searched ("tuned"). Memory is
measured in fresh processes. Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping

import psutil
import torch
from torch import Tensor, nn

import xbench
from xbench.algorithms import IntegratedGradients, KernelShap

N, STEPS, SAMPLES, PATCH = 32, 50, 200, 4


def cnn() -> nn.Module:
    """A small CNN for 28x28 images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
        ).eval()  # fmt: skip


def data() -> tuple[Tensor, Tensor]:
    images = torch.rand(N, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(N) % 10


def patches() -> Tensor:
    """49 features: patches of 4x4 pixels."""
    patch = torch.arange(28) // PATCH
    return (patch[:, None] * 7 + patch[None]).reshape(1, 1, 28, 28)


def race(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each contender; they take turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def show(title: str, seconds: Mapping[str, float]) -> None:
    ours = seconds["xbench"]
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:32} {value * 1000:10.1f} ms   {value / ours:6.2f} x xbench")


def integrated_gradients(rounds: int) -> None:
    from captum.attr import IntegratedGradients as Peer

    model, (x, target) = cnn(), data()
    peer = Peer(model)
    chunks = [32, 64, 128, 256, 400, 800]
    contenders: dict[str, Callable[[], object]] = {
        "xbench": lambda: xbench.attribute(model, x, IntegratedGradients(STEPS), target=target),
        "captum default": lambda: peer.attribute(x, target=target, n_steps=STEPS),
    }
    for chunk in chunks:
        contenders[f"captum internal_batch_size={chunk}"] = lambda chunk=chunk: peer.attribute(
            x, target=target, n_steps=STEPS, internal_batch_size=chunk
        )
    seconds = race(contenders, rounds)
    show(f"ig, {STEPS} steps, small CNN, {N} images 1x28x28", seconds)
    best = min(value for name, value in seconds.items() if "internal" in name)
    ours = xbench.attribute(model, x, IntegratedGradients(STEPS), target=target)
    theirs = peer.attribute(x, target=target, n_steps=STEPS)
    assert isinstance(ours, Tensor)
    gap = (ours - theirs).abs().max() / theirs.abs().max()
    print(f"  ratio to captum default {seconds['captum default'] / seconds['xbench']:.2f} (target 4)")
    print(f"  ratio to captum tuned   {best / seconds['xbench']:.2f} (target 1)")
    print(f"  largest relative difference of the maps {float(gap):.1e} (target 1e-5)")


def first_call(repeats: int) -> None:
    """ig called once in a fresh process, after a call on one image: what a script pays that calls once."""
    print(f"\nig, {STEPS} steps, {N} images, first call in a fresh process")
    medians = {}
    for name in ("xbench", "captum default"):
        found = []
        for _ in range(repeats):
            command = [sys.executable, __file__, "--first", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(float(done.stdout))
        medians[name] = statistics.median(found)
        print(f"  {name:32} {medians[name] * 1000:10.1f} ms")
    print(f"  ratio to captum default {medians['captum default'] / medians['xbench']:.2f} (target 4)")


def first(name: str) -> None:
    from captum.attr import IntegratedGradients as Peer

    model, (x, target) = cnn(), data()

    def ours(model: nn.Module, x: Tensor, target: Tensor) -> object:
        return xbench.attribute(model, x, IntegratedGradients(STEPS), target=target)

    def theirs(model: nn.Module, x: Tensor, target: Tensor) -> object:
        return Peer(model).attribute(x, target=target, n_steps=STEPS)

    run = ours if name == "xbench" else theirs
    run(cnn(), x[:1], target[:1])  # libraries initialise
    start = time.perf_counter()
    run(model, x, target)
    print(time.perf_counter() - start)


def kernel_shap(rounds: int) -> None:
    from captum.attr import KernelShap as Peer

    model, (x, target), features = cnn(), data(), patches()
    peer = Peer(model)
    seconds = race(
        {
            "xbench": lambda: xbench.attribute(
                model, x, KernelShap(n_samples=SAMPLES), target=target, features=features
            ),
            "captum default": lambda: peer.attribute(x, target=target, n_samples=SAMPLES, feature_mask=features),
            "captum perturbations_per_eval=50": lambda: peer.attribute(
                x, target=target, n_samples=SAMPLES, feature_mask=features, perturbations_per_eval=50
            ),
        },
        max(1, rounds // 3),
    )
    show(f"kernel_shap, {SAMPLES} samples, 49 features, small CNN, {N} images 1x28x28", seconds)
    print(f"  ratio to captum default {seconds['captum default'] / seconds['xbench']:.2f} (target 4)")


def memory() -> None:
    """Peak of ig at 50 and 5000 steps, each in a process of its own."""
    print(f"\nig, peak memory of the call beyond the process before it, small CNN, {N} images")
    peaks = {}
    for steps in (50, 5000):
        command = [sys.executable, __file__, "--peak", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        resident, tensors = map(int, done.stdout.split())
        peaks[steps] = resident, tensors
        print(f"  n_steps={steps:<6} resident {resident / 2**20:8.1f} MiB   tensors {tensors / 2**20:8.1f} MiB")
    for name, i in (("resident", 0), ("tensors", 1)):
        print(f"  5000 against 50 steps, {name}: {peaks[5000][i] / peaks[50][i]:.3f} (target at most 1.10)")


def peak(steps: int) -> None:
    """Print the peak resident bytes of a call beyond what was resident before, and those of its tensors."""
    from xbench.engine.memory import LiveBytes

    model, (x, target) = cnn(), data()
    for _ in range(3):  # until rows have settled and what is allocated once is there
        xbench.attribute(model, x, IntegratedGradients(50), target=target)
    process = psutil.Process()
    before, seen, done = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen[0] = max(seen[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    xbench.attribute(model, x, IntegratedGradients(steps), target=target)
    done.set()
    watcher.join()
    with LiveBytes() as live:
        xbench.attribute(model, x, IntegratedGradients(steps), target=target)
    print(max(seen[0] - before, 1), live.peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(arguments.peak)
        return
    warnings.filterwarnings("ignore", category=UserWarning, module="captum")
    if arguments.first:
        first(arguments.first)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    rounds = 3 if arguments.quick else 9
    integrated_gradients(rounds)
    first_call(rounds)
    kernel_shap(rounds)
    memory()


if __name__ == "__main__":
    main()
