"""What does xbench do on a GPU: absolute times, efficiency in fp32 and bf16, and when memory ends?

    python experiments/on_a_gpu.py [--device cuda] [--images 1000] [--write]

ResNet-50 (images 3x224x224) and a BERT-base shape (12 layers, width 768, 128 tokens), random weights. Efficiency is
nominal rows x the bare model's best seconds per row / our seconds; bf16 is compared with the bare model under
autocast. `--tiny` and `--device cpu` are for trying the script. Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import xbench
from experiments.parts.bare import best
from experiments.parts.printing import finish, hardware, number, table
from experiments.parts.workloads import Encoder, grid
from xbench.algorithms import Algorithm, DeepLift, FeatureAblation, IntegratedGradients, KernelShap
from xbench.engine.memory import PeakMemory
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

NAME = "on_a_gpu"


class Autocast(nn.Module):
    """The bare model in bf16."""

    def __init__(self, model: nn.Module, kind: str) -> None:
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(self.kind, torch.bfloat16):
            out: Tensor = self.model(x)
        return out.float()


def seconds(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The fastest of some calls after one that does not count."""
    found = []
    for turn in range(rounds + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:
            found.append(time.perf_counter() - start)
    return min(found)


def workloads(tiny: bool, device: torch.device) -> dict[str, tuple[nn.Module, Tensor, Tensor, int]]:
    """Model, samples, features, and the most rows that the bare model is tried with."""
    from torchvision.models import resnet18, resnet50

    torch.manual_seed(0)
    images = torch.rand(2 if tiny else 64, 3, 64 if tiny else 224, 64 if tiny else 224)
    words = torch.randn(2 if tiny else 64, 8 if tiny else 128, 64 if tiny else 768)
    encoder = Encoder(64, 2, 4) if tiny else Encoder(768, 12, 12)
    cells = grid(images.shape[-1], images.shape[-1] // 7 if not tiny else 16)
    tokens = torch.arange(words.shape[1])[None, :, None].expand(1, *words.shape[1:]).clone()
    resnet = (resnet18 if tiny else resnet50)(weights=None)
    return {
        "ResNet-50": (resnet.eval().to(device), images.to(device), cells.to(device), 4 if tiny else 512),
        "BERT-base shape": (encoder.eval().to(device), words.to(device), tokens.to(device), 4 if tiny else 512),
    }


def efficiency(tiny: bool, device: torch.device) -> str:
    """Times of four methods, with and without rewrites, in both precisions."""
    lines = []
    for name, (model, x, features, most) in workloads(tiny, device).items():
        k = int(features.max()) + 1
        target = torch.arange(len(x), device=device) % 2
        given = {"target": target, "features": features}
        limits: dict[tuple[str, bool], tuple[float, int]] = {}
        for precision in ("fp32", "bf16"):
            bare = model if precision == "fp32" else Autocast(model, device.type)
            for backward in (False, True):
                limits[precision, backward] = best(bare, x, backward, most if not backward else most // 2)
                per_row, rows = limits[precision, backward]
                print(f"{name}: bare {precision}, backward {backward}: {1 / per_row:,.0f} rows/s at {rows}", flush=True)
        methods: dict[str, tuple[Algorithm, int, bool]] = {
            "ig 50": (IntegratedGradients(50 if not tiny else 4), 50 if not tiny else 4, True),
            "feature_ablation": (FeatureAblation(), k + 1, False),
            "kernel_shap 100": (KernelShap(n_samples=100 if not tiny else 20), 100 if not tiny else 20, False),
            "deeplift": (DeepLift(), 2, True),
        }
        for label, (method, rows, backward) in methods.items():
            for precision in ("fp32", "bf16"):
                if precision == "bf16" and label == "deeplift":
                    continue  # backward rules are not autocast
                for rewrites in (True, False):
                    speed = xbench.Speed(precision=precision, rewrites=rewrites)  # type: ignore[arg-type]
                    took = seconds(partial(xbench.attribute, model, x, method, speed=speed, **given), device, 2)
                    share = rows * len(x) * limits[precision, backward][0] / took
                    lines.append([
                        f"{name} x {len(x)}", label, precision, "yes" if rewrites else "no", number(took * 1e3, 1),
                        f"{rows * len(x) / took:,.0f}", number(share),
                    ])  # fmt: skip
                    print(*lines[-1], flush=True)
    return table(["model", "method", "precision", "rewrites", "ms", "rows/s", "efficiency"], lines)


def many(images: int, tiny: bool, device: torch.device) -> str:
    """ig over many images, whatever the memory."""
    model, x, _, _ = workloads(tiny, device)["ResNet-50"]
    x = x.cpu()[torch.arange(images) % len(x)]
    lines = []
    for precision in ("bf16", "fp32"):
        for steps in (50,) if not tiny else (3,):
            start = time.perf_counter()
            speed = xbench.Speed(precision=precision)  # type: ignore[arg-type]
            with PeakMemory(device) as peak:
                xbench.attribute(model, x, IntegratedGradients(steps), target=0, speed=speed)
            took = time.perf_counter() - start
            lines.append([f"{images} images, ig {steps}, {precision}", number(took, 1), f"{peak.bytes / 2**30:.2f}"])
            print(*lines[-1], flush=True)
    return table(["ResNet-50", "s", "peak GiB"], lines)


def ends(tiny: bool, device: torch.device) -> str:
    """Memory ends for real: a fixed number of rows that cannot fit, beside somebody who holds most of the card."""
    model, x, _, most = workloads(tiny, device)["ResNet-50"]
    x, ballast = x[:8], None
    expected = xbench.attribute(model, x, IntegratedGradients(50), target=0, rows=8)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        ballast = torch.empty(max(0, free - 6 * 2**30), dtype=torch.uint8, device=device)
    made = Explainer(Request(model, x, target=0, rows=most, memory="10TiB"))
    start = time.perf_counter()
    maps = made.attribute(IntegratedGradients(50))
    took = time.perf_counter() - start
    assert isinstance(expected, Tensor)
    gap = float((maps - expected.flatten(1)).abs().max() / expected.abs().max())
    counters = made.engine.counters
    del ballast
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the command, in processes of its own, comes next
    line = [str(most), str(counters.forward_rows), str(counters.repeated_rows), f"{gap:.0e}", number(took, 1)]
    print(*line, flush=True)
    return table(["rows asked for", "rows done", "rows repeated after out-of-memory", "difference", "s"], [line])


def flat(tiny: bool, device: torch.device) -> str:
    """Peak memory when the number of steps grows tenfold."""
    model, x, _, _ = workloads(tiny, device)["ResNet-50"]
    lines = []
    for steps in (50, 500) if not tiny else (3, 30):
        xbench.attribute(model, x[:16], IntegratedGradients(steps), target=0)
        with PeakMemory(device) as peak:
            xbench.attribute(model, x[:16], IntegratedGradients(steps), target=0)
        lines.append([f"ig {steps}", f"{peak.bytes / 2**20:.1f}"])
        print(*lines[-1], flush=True)
    return table(["method", "peak MiB"], lines)


def command(tiny: bool, device: torch.device) -> str:
    """The whole command with one process on the card, two, and on the CPU: the same table?"""
    import tempfile

    import pandas as pd

    lines, tables = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for devices in ("cpu", str(device), f"{device}*2"):
            name = devices.replace(":", "").replace("*", "x")
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "xbench", f"run.devices={devices}", f"name={name}", f"store={name}",
                 "display=none", "algorithm=[saliency,ig,gradient_shap]", "n=16"],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            took = time.perf_counter() - start
            if done.returncode:
                print(done.stdout[-2000:], done.stderr[-2000:])
            frame = pd.read_csv(Path(folder, "reports", name, "tables", "summary.csv"))
            tables[devices] = frame[~frame["metric"].isin(["runtime", "peak_memory"])].reset_index(drop=True)
            first = tables["cpu"]["mean"]
            gap = float(((tables[devices]["mean"] - first).abs() / first.abs().clip(lower=1e-3)).max())
            lines.append([f"run.devices={devices}", str(done.returncode), number(took, 1), f"{gap:.0e}"])
            print(*lines[-1], flush=True)
    return table(["command", "exit code", "s", "largest difference of means from the CPU"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--tiny", action="store_true", help="small models, to try the script")
    parser.add_argument("--write", action="store_true", help=f"write experiments/{NAME}.md")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("this machine has no CUDA device; --device cpu --tiny tries the script", file=sys.stderr)
        return 2
    torch.backends.cudnn.benchmark = False
    parts = {
        "Out of memory for real": lambda: ends(options.tiny, device),
        "The command": lambda: command(options.tiny, device),
        "Flat memory": lambda: flat(options.tiny, device),
        "Efficiency": lambda: efficiency(options.tiny, device),
        "Many images": lambda: many(options.images, options.tiny, device),
    }
    body = []
    for title, part in parts.items():
        print(f"\n== {title}", flush=True)
        body.append(f"## {title}\n\n{part()}")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no accelerator"
    where = f"{card}; {hardware(torch.get_num_threads())}"
    title = (__doc__ or "").split("\n\n")[0]
    finish(NAME, title, f"python experiments/{NAME}.py", where, "\n\n".join(body), options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
