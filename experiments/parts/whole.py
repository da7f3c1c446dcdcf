"""The whole job on a workload: as the command's options, and as the loop around Captum that a notebook would have."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from experiments.parts.methods import captums, captums_call, chunks, methods
from experiments.parts.workloads import Workload, load
from xbench.datasets import Dataset, Split

DRAWS = 10  # of infidelity and of sensitivity-max
NO_MEMORY = "can't allocate memory"  # torch's words on a CPU
ALGORITHMS = (
    "saliency", "input_x_gradient", "ig", "gradient_shap", "smoothgrad", "deeplift", "guided_backprop", "occlusion",
    "feature_ablation", "kernel_shap",
)  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """A workload's samples as a data set of the command; `copies` of them where more work is wanted."""

    workload: str
    copies: int = 1

    def load(self) -> Dataset:
        w = load(self.workload)
        x, target = torch.cat([w.x] * self.copies), torch.cat([w.target] * self.copies)
        masks = torch.cat([w.masks] * self.copies)
        split = Split(tuple(f"sample-{i}" for i in range(len(x))), x, target, masks)
        with torch.inference_mode():
            outputs = w.model(w.x[:1]).shape[1]
        references = Split(tuple(f"reference-{i}" for i in range(len(w.references))), w.references, w.target[:4])
        return Dataset(
            name=self.workload,
            modality="image" if x.dim() == 4 else "series",  # embedded tokens: a grid of floats, tokens as features
            classes=tuple(str(i) for i in range(outputs)),
            test=split,
            train=lambda: references,
            fingerprint=hashlib.sha256(x.numpy().tobytes()).hexdigest(),
            origin="random numbers, see experiments/parts/workloads.py",
            baseline=torch.zeros_like(w.x[:1]),
            features=w.features.expand_as(w.x[:1]),
        )


def network(workload: str) -> nn.Module:
    """A workload's model, for `xbench.models.custom.Custom`."""
    return load(workload).model


def write_config(folder: Path, workload: str, copies: int = 1) -> None:
    """Option files `dataset=whole` and `model=whole` below `folder`."""
    files = {
        "dataset": f"_target_: experiments.parts.whole.Samples\nworkload: {workload}\ncopies: {copies}\n",
        "model": "_target_: xbench.models.custom.Custom\nname: whole\n"
        f"module: {{_target_: experiments.parts.whole.network, _partial_: true, workload: {workload}}}\n",
    }
    for group, text in files.items():
        (folder / group).mkdir(parents=True)
        (folder / group / "whole.yaml").write_text(text)


def options(w: Workload) -> list[str]:
    """The command's arguments: the same methods, with the same parameters, as the loop around Captum."""

    def listed(values: tuple[int, ...]) -> str:
        return f"[{','.join(map(str, values))}]"

    return [
        "dataset=whole", "model=whole", "target=label", "controls=false", "n=null",
        f"algorithm=[{','.join(ALGORITHMS)}]",
        f"algorithm.ig.n_steps={w.steps}",
        f"algorithm.gradient_shap.n_samples={w.draws}",
        f"algorithm.smoothgrad.nt_samples={w.draws}",
        f"algorithm.kernel_shap.n_samples={w.draws}",
        f"algorithm.occlusion.sliding_window_shapes={listed(w.windows)}",
        f"algorithm.occlusion.strides={listed(w.strides)}",
        "metric=[infidelity,sensitivity_max]",
        f"metric.infidelity.n_perturb_samples={DRAWS}",
        f"metric.sensitivity_max.n_perturb_samples={DRAWS}",
        "metric.sensitivity_max.floor=false",  # Captum has no such thing
    ]  # fmt: skip


def sized(name: str, steps: int | None) -> Workload:
    """A workload, with so many steps and draws of the methods instead of its own."""
    w = load(name)
    return w if steps is None else replace(w, steps=steps, draws=steps)


def search(w: Workload) -> dict[str, int]:
    """Captum's best chunk of each method that has one, from two calls each; chunks that find no memory are left out."""
    found = {}
    for name in ALGORITHMS:
        method = methods(w)[name]
        if method.chunk is not None:
            times = {}
            for chunk in chunks(method, len(w.x)):
                run = captums_call(w, method, chunk)
                try:
                    run()
                    start = time.perf_counter()
                    run()
                    times[chunk] = time.perf_counter() - start
                except RuntimeError as error:
                    if NO_MEMORY not in str(error):
                        raise
            found[name] = min(times, key=times.__getitem__)
    return found


def loop(w: Workload, chosen: Mapping[str, int]) -> pd.DataFrame:
    """Method after method with Captum: maps, infidelity and sensitivity-max; a row each, with mean scores.

    A method that Captum refuses on this model has a row without numbers.
    """
    from captum import metrics

    def noise(x: Tensor) -> tuple[Tensor, Tensor]:
        drawn = 0.1 * torch.randn_like(x)
        return drawn, x - drawn

    rows = []
    for name in ALGORITHMS:
        method = methods(w)[name]
        peer, given = captums(w, method, chosen.get(name))
        print(name, flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            try:
                maps = peer.attribute(w.x, **given)
            except RuntimeError as error:
                if NO_MEMORY in str(error):
                    raise
                rows.append({"algorithm": name})
                continue
            seconds = time.perf_counter() - start
            infidelity = metrics.infidelity(
                w.model, noise, w.x, maps, target=w.target, n_perturb_samples=DRAWS
            )  # fmt: skip
            sensitivity = metrics.sensitivity_max(peer.attribute, w.x, n_perturb_samples=DRAWS, **given)
        rows.append({
            "algorithm": name, "infidelity": float(infidelity.mean()), "sensitivity_max": float(sensitivity.mean()),
            "runtime": seconds,
        })  # fmt: skip
    return pd.DataFrame(rows)
