"""The user's own PyTorch model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from xbench.config import sources
from xbench.datasets.record import Dataset, Lazy, Split
from xbench.modalities import MODALITIES
from xbench.models.accuracy import cached_accuracy
from xbench.models.encoders import encode_tensors
from xbench.models.randomness import seeded
from xbench.models.record import Encoded, Model
from xbench.models.weights import digest, fit_weights, module_digest, read_weights

log = logging.getLogger("xbench")

Encode = Callable[[Dataset, Split], Encoded]


class Normalized(nn.Module):
    """A network preceded by (x - mean) / std, so that points and baselines are in the data's own units."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], dims: int) -> None:
        super().__init__()
        self.network = network
        shape = (1, len(mean), *[1] * (dims - 2))  # dims: of the input, channels second
        self.register_buffer("mean", torch.tensor(mean).reshape(shape))
        self.register_buffer("std", torch.tensor(std).reshape(shape))

    def forward(self, inputs: Tensor, *extra: object) -> object:
        return self.network((inputs - self.mean) / self.std, *extra)


@dataclass(frozen=True)
class Custom:
    """Any `nn.Module` of the user, on any data set.

    module: a class or function that builds the network, with its arguments bound (in YAML `_target_` and
        `_partial_: true`, so that nothing is built before it is needed).
    weights: path of a safetensors file or one that `torch.load(weights_only=True)` reads; None = the builder's own
        weights (random weights are drawn from `seed`).
    name: the name in tables.
    site: name of the submodule at whose output gradient points enter (texts: the embedding).
    output: the part of a structured output to explain, e.g. "logits".
    mean, std: normalisation by channel that the network expects but does not apply; None = none.
    encode: for texts, or inputs other than one tensor: `f(dataset, split) -> Encoded`.
    """

    module: Callable[[], nn.Module]
    weights: str | None = None
    name: str = "custom"
    site: str | None = None
    output: str | int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    encode: Encode | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.module, nn.Module) or not callable(self.module):
            raise TypeError(
                "module must be something to call that builds the network (in YAML: `_target_` with "
                f"`_partial_: true`), got {type(self.module).__name__}"
            )
        if self.encode is not None and not callable(self.encode):
            raise TypeError(f"encode must be a function of (dataset, split), got {self.encode!r}")
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ValueError(f"mean and std go together, one number per channel; got {self.mean} and {self.std}")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be > 0, got {list(self.std)}")

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name

    def fingerprint(self, dataset: Dataset) -> None:
        """None: the weights are known only after the builder has run."""

    def load(self, dataset: Dataset) -> Model:
        """Raises TypeError (not a module), FileNotFoundError or ValueError (weights absent or incompatible)."""
        if MODALITIES[dataset.modality].holds != "numbers" and self.encode is None:
            raise ValueError(
                f"model {self.name!r} needs `encode` for data set {dataset.name!r}: a function "
                "(dataset, split) -> xbench.models.Encoded with token ids as inputs"
            )
        with seeded(self.seed):
            network = self.module()
        if not isinstance(network, nn.Module):
            built = type(network).__name__
            raise TypeError(f"model {self.name!r}: {self.module!r} built a {built}, not an nn.Module")
        if self.weights is None:
            log.warning("model %s has no weights file: it is explained as its builder left it", self.name)
        else:
            fit_weights(network, read_weights(Path(self.weights)), f"weights file {self.weights}")
        module = self._normalized(network, dataset).eval()
        site = self.site if self.site is None or module is network else f"network.{self.site}"
        encode = encode_tensors if self.encode is None else partial(_of_a_copy, self.encode)
        model = Model(self.name, module, self._fingerprint(module), encode, site, self.output)
        return replace(model, accuracy=cached_accuracy(model, dataset))

    def _fingerprint(self, module: nn.Module) -> str:
        """sha256 of the weights and of the source of the network, its builder and the encoder."""
        weights, source = module_digest(module), sources.fingerprint(self.module, self.encode)
        return weights if source is None else digest({"weights": weights, "source": source})

    def _normalized(self, network: nn.Module, dataset: Dataset) -> nn.Module:
        if self.mean is None or self.std is None:
            return network
        inputs = dataset.test.inputs
        if not isinstance(inputs, Tensor | Lazy):
            raise ValueError(f"mean and std need tensor inputs, but {dataset.name!r} holds texts")
        return Normalized(network, self.mean, self.std, len(inputs.shape))


def _of_a_copy(encode: Encode, dataset: Dataset, split: Split) -> Encoded:
    """Encode a copy of the split: the user's function may write into the samples, which the report shows."""
    return encode(dataset, split.subset(range(len(split))))
