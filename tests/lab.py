"""Models and a dataset of a user, good and bad, for tests that run the command on them."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from xbench.datasets.record import Dataset, Split

CLASSES = 3


@dataclass(frozen=True)
class Blobs:
    """Images (n, 1, 6, 6) whose class is the third with the bright blob; `empty` gives no feature at all."""

    n: int = 8
    empty: bool = False
    label: int | None = None

    def load(self) -> Dataset:
        images = torch.rand(self.n, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(self.n) % CLASSES
        for image, label in zip(images, labels, strict=True):
            image[0, :, 2 * label : 2 * label + 2] += 1
        split = Split(tuple(f"blob-{i}" for i in range(self.n)), images, labels)
        features = torch.arange(36).reshape(1, 1, 6, 6) // 4
        return Dataset(
            name="blobs",
            modality="image",
            classes=("left", "middle", "right"),
            test=split,
            train=lambda: split,
            fingerprint=hashlib.sha256(images.numpy().tobytes()).hexdigest(),
            origin="a test",
            baseline=torch.zeros(1, 1, 6, 6),
            features=features * 0 - 1 if self.empty else features,
            value_range=(0.0, 2.0),
        )


def _break(fault: str) -> None:
    if fault == "raises":
        raise RuntimeError("sensor offline")
    if fault == "hangs":
        time.sleep(600)
    if fault == "dies" or (fault == "dies once" and not Path("died").exists()):
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Net(nn.Module):
    """A small net with fixed weights and a fault on demand."""

    def __init__(self, fault: str = "none") -> None:
        super().__init__()
        self.fault = fault
        if fault == "dies in a worker" and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        self.first, self.second = nn.Linear(36, 12), nn.Linear(12, CLASSES)
        numbers = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=numbers) / 3

    def forward(self, x: Tensor) -> Tensor:
        if self.fault == "writes into its input":
            x -= 0.4
            x /= 0.5
        if self.fault == "normalises":
            x = (x - 0.4) / 0.5
        hidden = torch.relu(self.first(x.flatten(1)))
        if self.fault == "unknown operation":
            hidden = torch.special.i0e(hidden)
        if self.fault == "no gradient":
            hidden = hidden.detach()
        if (x.detach().flatten(1).numpy().max(1) == 0).any():  # a sample of baseline only
            _break(self.fault)
        out = self.second(hidden)
        if self.fault == "draws":
            out = out + torch.rand(out.shape)
        if self.fault == "centres":
            out = out - out.mean(0)
        if self.fault == "nan":
            out = out + torch.where(x.flatten(1).sum(1, keepdim=True) > 0, torch.nan, 0.0)
        if self.fault == "scaled":
            out = 3 * out * out.abs()
        if self.fault == "shape":
            return out[:1]
        if self.fault == "constant":
            return torch.ones(len(x), CLASSES)
        return out


class Places(nn.Module):
    """Classes of four places of an image, (n, 4, 3); it takes the argument of `Net` and does nothing with it."""

    def __init__(self, fault: str = "none") -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 4 * CLASSES))
        numbers = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=numbers) / 3

    def forward(self, x: Tensor) -> Tensor:
        places: Tensor = self.net(x).unflatten(1, (4, CLASSES))
        return places


class Kinked(nn.Module):
    """A CNN with a unit at its kink: where its batch-norms are folded one element's slope is another by a thousandth.

    `fault` may be "dies once in a worker", after some evaluations. An evaluation takes two milliseconds.
    """

    def __init__(self, fault: str = "none") -> None:
        super().__init__()
        self.fault, self.calls = fault, 0
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Linear(4 * 36, CLASSES)
        numbers = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=numbers) / 3

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.002)
        self.calls += 1
        worker = multiprocessing.parent_process() is not None
        if self.fault == "dies once in a worker" and worker and self.calls > 15:
            _break("dies once")
        out: Tensor = self.second(torch.relu(self.norm(self.first(x))).flatten(1))
        if isinstance(self.norm, nn.Identity):
            some = x.flatten(1)[:, 7:8]
            out = out + 1e-3 * (some - some.detach())
        return out
