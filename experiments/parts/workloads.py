"""What is explained: four models of the kinds people explain, with random weights from fixed seeds, and their samples.

Random weights cost what trained ones do; which numbers come out is compared between the contenders, not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Workload:
    """A model, its samples, and the parameters that make every method a fair amount of work on it.

    Attributes:
        title: how tables call it.
        model: in evaluation mode.
        x: (n, ...) samples; target: (n,) classes; references: (4, ...) rows of baselines.
        features: (1, ...) feature numbers, for the methods that switch features.
        windows, strides: of occlusion.
        steps: points of path integrals; draws: samples of random methods.
        layer: where layer methods read; convolution: where Grad-CAM reads, None without one.
    """

    title: str
    model: nn.Module
    x: Tensor
    target: Tensor
    references: Tensor
    features: Tensor
    windows: tuple[int, ...]
    strides: tuple[int, ...]
    steps: int
    draws: int
    layer: str
    convolution: str | None = None

    @property
    def n_features(self) -> int:
        return int(self.features.max()) + 1

    @property
    def masks(self) -> Tensor:
        """(n, ...) bool: the first quarter of the features, made up as the evidence for metrics of localisation."""
        return (self.features < max(1, self.n_features // 4)).expand(len(self.x), *self.features.shape[1:])

    @property
    def n_windows(self) -> int:
        """Places of the occlusion window; it divides every dimension evenly."""
        count = 1
        for size, window, stride in zip(self.x.shape[1:], self.windows, self.strides, strict=True):
            count *= (size - window) // stride + 1
        return count


class Block(nn.Module):
    """A pre-norm transformer block with ReLU, of modules that every library knows."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.relu, self.down = nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.out(mixed)
        return x + self.down(self.relu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    """Embedded tokens (n, tokens, width) -> logits (n, 2): the part of a text model that attribution works on."""

    def __init__(self, width: int = 256, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, embedded: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(embedded)).mean(1))
        return logits


def grid(size: int, patch: int) -> Tensor:
    """(1, 1, size, size) feature numbers: square patches."""
    cell = torch.arange(size) // patch
    return (cell[:, None] * (size // patch) + cell[None]).reshape(1, 1, size, size)


def cnn() -> Workload:
    """A small CNN: 32 images 1x28x28, 49 patches."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
    ).eval()  # fmt: skip
    x = torch.rand(32, 1, 28, 28)
    return Workload(
        "small CNN, 32 images 1x28x28", model, x, torch.arange(32) % 10, torch.rand(4, 1, 28, 28), grid(28, 4),
        (1, 4, 4), (1, 4, 4), steps=50, draws=50, layer="3", convolution="3",
    )  # fmt: skip


def resnet18() -> Workload:
    """ResNet-18: 4 images 3x224x224, 16 patches of 56x56, so that the heavy methods end."""
    from torchvision.models import resnet18 as build

    x = torch.rand(4, 3, 224, 224)
    return Workload(
        "ResNet-18, 4 images 3x224x224", build(weights=None).eval(), x, torch.arange(4), torch.rand(4, 3, 224, 224),
        grid(224, 56), (3, 56, 56), (1, 56, 56), steps=10, draws=10, layer="layer3", convolution="layer4",
    )  # fmt: skip


def resnet18_small() -> Workload:
    """ResNet-18: 8 images 3x64x64, 16 patches of 16x16."""
    from torchvision.models import resnet18 as build

    x = torch.rand(8, 3, 64, 64)
    return Workload(
        "ResNet-18, 8 images 3x64x64", build(weights=None).eval(), x, torch.arange(8), torch.rand(4, 3, 64, 64),
        grid(64, 16), (3, 16, 16), (1, 16, 16), steps=10, draws=10, layer="layer3", convolution="layer4",
    )  # fmt: skip


def transformer() -> Workload:
    """A transformer of 4 layers and width 256: 16 sequences of 32 tokens, points at the embedding."""
    features = torch.arange(32)[None, :, None].expand(1, 32, 256).clone()
    return Workload(
        "transformer 4x256, 16 sequences of 32", Encoder().eval(), torch.randn(16, 32, 256), torch.arange(16) % 2,
        torch.randn(4, 32, 256), features, (1, 256), (1, 1), steps=20, draws=20, layer="blocks.1",
    )  # fmt: skip


def mlp() -> Workload:
    """A network for tables: 256 rows of 30 features."""
    model = nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)).eval()
    return Workload(
        "MLP, 256 rows of 30 features", model, torch.randn(256, 30), torch.arange(256) % 2, torch.randn(4, 30),
        torch.arange(30)[None], (1,), (1,), steps=50, draws=50, layer="2",
    )  # fmt: skip


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "cnn": cnn,
    "resnet18": resnet18,
    "transformer": transformer,
    "mlp": mlp,
}

SMALL: dict[str, Callable[[], Workload]] = {"resnet18_small": resnet18_small}  # where rows are counted, not timed


def load(name: str) -> Workload:
    """The same workload in every process; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {**WORKLOADS, **SMALL}[name]()
