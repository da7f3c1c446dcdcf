"""Tables made by a known function: attributions have a closed form, and which columns matter is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset


class LinearFunction(nn.Module):
    """f(x) = W x, one row of W per class; with a baseline x0 the attribution of column j is W_cj (x_j - x0_j)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x)
        return logits


class ProductFunction(nn.Module):
    """f_c(x) = sum over the class's pairs of w x_i x_j; at baseline 0 each of a pair has the half of its product."""

    left: Tensor
    right: Tensor
    weight: Tensor

    def __init__(self, left: Tensor, right: Tensor, weight: Tensor) -> None:
        super().__init__()
        for name, values in (("left", left), ("right", right), ("weight", weight)):
            self.register_buffer(name, values)  # (classes, pairs)

    def forward(self, x: Tensor) -> Tensor:
        products = x[:, self.left.flatten()] * x[:, self.right.flatten()]
        logits: Tensor = (products.reshape(len(x), *self.left.shape) * self.weight).sum(2)
        return logits


@dataclass(frozen=True)
class PlantedLinear:
    """Columns of normal numbers; each class adds up a few of its own, all others are distractors.

    The label is the largest sum, and its mask the columns that speak for the label. `model=known` explains the
    function itself, for which Integrated Gradients, DeepLIFT, LRP and Shapley values are W_cj x_j exactly.

    columns: in all. relevant: columns of each class. classes, n (to explain), train, seed: what the names say.
    """

    columns: int = 16
    relevant: int = 3
    classes: int = 3
    n: int = 200
    train: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes < 2 or self.relevant < 1 or self.classes * self.relevant > self.columns:
            raise ValueError(
                f"columns: {self.classes} classes of {self.relevant} relevant columns need at least "
                f"{self.classes * self.relevant} and two classes, got {self.columns}"
            )

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        own = torch.randperm(self.columns, generator=random)[: self.classes * self.relevant]
        own = own.reshape(self.classes, self.relevant)
        size = 0.5 + torch.rand(own.shape, generator=random)
        weight = torch.zeros(self.classes, self.columns).scatter_(1, own, size)
        return _planted(self, "planted_linear", lambda: LinearFunction(weight), weight != 0, random)


@dataclass(frozen=True)
class PlantedInteraction:
    """Columns of normal numbers; each class adds up products of pairs of its own, all others are distractors.

    No column says anything alone, so methods that look at one at a time are put to the test. The label is the largest
    sum, and its mask the columns of the label's pairs. `model=known` explains the function itself, for which
    Shapley values and Integrated Gradients give each of a pair w x_i x_j / 2.

    columns: in all. pairs: of each class. classes, n (to explain), train, seed: what the names say.
    """

    columns: int = 16
    pairs: int = 2
    classes: int = 2
    n: int = 200
    train: int = 8000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes < 2 or self.pairs < 1 or 2 * self.classes * self.pairs > self.columns:
            raise ValueError(
                f"columns: {self.classes} classes of {self.pairs} pairs need at least "
                f"{2 * self.classes * self.pairs} and two classes, got {self.columns}"
            )

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        own = torch.randperm(self.columns, generator=random)[: 2 * self.classes * self.pairs]
        left, right = own.reshape(2, self.classes, self.pairs)
        weight = 0.5 + torch.rand(left.shape, generator=random)
        used = torch.zeros(self.classes, self.columns).scatter_(1, left, 1).scatter_(1, right, 1).bool()
        return _planted(self, "planted_interaction", lambda: ProductFunction(left, right, weight), used, random)


def _planted(
    source: PlantedLinear | PlantedInteraction,
    name: str,
    known: Callable[[], nn.Module],
    used: Tensor,
    random: torch.Generator,
) -> Dataset:
    values = torch.randn(source.n + source.train, source.columns, generator=random)
    with torch.no_grad():
        labels = known()(values).argmax(1)
    return Generated(
        name=name,
        modality="tabular",
        classes=tuple(f"class {number}" for number in range(source.classes)),
        inputs=values,
        labels=labels,
        n=source.n,
        origin=f"{source.columns} normal columns labelled by a known function",
        masks=used[labels],
        further={
            "baseline": torch.zeros(1, source.columns),
            "features": torch.arange(source.columns)[None],
            "columns": tuple(f"x{number}" for number in range(source.columns)),
            "known": known,
        },
    ).dataset()
