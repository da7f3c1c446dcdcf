"""Toy models in float64 with different weights for every class, and switches that make them fail."""

from itertools import pairwise

import torch
from torch import Tensor, nn


def weights(module: nn.Module, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """Fill parameters and batch-norm statistics from a generator of their own; float64, evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            fan = max(1, parameter[0].numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            parameter.mul_(scale / fan**0.5)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator, dtype=torch.float64) / 3)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
    return module


def numbers(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers that are the same everywhere."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Fuse(nn.Module):
    """Passes its input on; refuses more than `max_rows` rows for want of memory, or fails at call `fail_at`."""

    def __init__(self) -> None:
        super().__init__()
        self.max_rows: int | None = None
        self.fail_at: int | None = None
        self.calls = 0
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.rows.append(len(x))
        if self.fail_at is not None and self.calls >= self.fail_at:
            raise RuntimeError("the fuse has blown")
        if self.max_rows is not None and len(x) > self.max_rows:
            raise torch.cuda.OutOfMemoryError(f"no room for {len(x)} rows")
        return x


class ConvNet(nn.Module):
    """(n, 1, 6, 6) -> 3 classes. Smooth, so that path integrals converge; one in-place activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.smooth1 = nn.SiLU(inplace=True)
        self.conv2 = nn.Conv2d(3, 2, 3)
        self.smooth2 = nn.Softplus()
        self.pool = nn.AvgPool2d(2)
        self.dropout = nn.Dropout(0.5)
        self.hidden = nn.Linear(8, 5)
        self.tanh = nn.Tanh()
        self.fuse = Fuse()
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.smooth1(self.norm(self.conv1(x)))
        x = self.pool(self.smooth2(self.conv2(x)))
        x = self.dropout(x.flatten(1))
        return self.out(self.fuse(self.tanh(self.hidden(x))))


class ReluNet(nn.Module):
    """(n, 2, 6, 6) -> 4 classes: convolution, ReLU, average pool, linear, ReLU, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(3, 4, 2)
        self.relu2 = nn.ReLU()
        self.hidden = nn.Linear(16, 6)
        self.relu3 = nn.ReLU()
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        return self.out(self.relu3(self.hidden(x.flatten(1))))


class TextNet(nn.Module):
    """Token ids (n, 7) and a mask (n, 7) of real positions -> 3 classes, through an embedding of 4 dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 4)
        self.conv = nn.Conv1d(4, 6, 3, padding=1)
        self.hidden = nn.Linear(6, 5)
        self.fuse = Fuse()
        self.out = nn.Linear(5, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = torch.tanh(self.conv(self.embedding(ids).transpose(1, 2)))
        x = (x * mask.unsqueeze(1)).sum(2) / mask.sum(1, keepdim=True)
        return self.out(self.fuse(torch.tanh(self.hidden(x))))


class AttentionNet(nn.Module):
    """Token ids (n, 7) and a mask (n, 7) -> 3 classes: two layers of self-attention, read at the first position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 4)
        self.attention1 = nn.MultiheadAttention(4, 2, batch_first=True)
        self.attention2 = nn.MultiheadAttention(4, 2, batch_first=True)
        self.hidden = nn.Linear(4, 5)
        self.fuse = Fuse()
        self.out = nn.Linear(5, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        x = x + torch.tanh(self.attention1(x, x, x, mask == 0, need_weights=False)[0])
        x = x + torch.tanh(self.attention2(x, x, x, mask == 0)[0])
        return self.out(self.fuse(torch.tanh(self.hidden(x[:, 0]))))


class TwoInputs(nn.Module):
    """(n, 3) and (n, 2, 2) -> 3 classes, with a product between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(3, 4)
        self.right = nn.Linear(4, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(torch.tanh(self.left(a)) * torch.sigmoid(self.right(b.flatten(1))))


class Quadratic(nn.Module):
    """f(x) = x.A.x / 2 + b.x + c of (n, d), one output, (n,)."""

    def __init__(self, d: int, seed: int = 3) -> None:
        super().__init__()
        a = numbers(d, d, seed=seed)
        self.a = nn.Parameter((a + a.T) / 2)
        self.b = nn.Parameter(numbers(d, seed=seed + 1))

    def forward(self, x: Tensor) -> Tensor:
        return ((x @ self.a) * x).sum(1) / 2 + x @ self.b + 0.7

    def gradient(self, x: Tensor) -> Tensor:
        """A.x + b, (n, d)."""
        return (x @ self.a + self.b).detach()


def mlp(*sizes: int, activation: type[nn.Module] = nn.Tanh, seed: int = 0) -> nn.Sequential:
    """Linear layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(a, b), *([activation()] if i < len(sizes) - 2 else [])]
    module = weights(nn.Sequential(*layers), seed)
    assert isinstance(module, nn.Sequential)
    return module
