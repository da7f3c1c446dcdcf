"""Image classifiers from timm."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from xbench.boundary import libraries
from xbench.datasets.cache import sha256_file
from xbench.datasets.record import Dataset
from xbench.models.accuracy import cached_accuracy
from xbench.models.encoders import encode_tensors
from xbench.models.randomness import seeded
from xbench.models.record import Model
from xbench.models.torchvision import ImageNetInput, Preprocessing, check_images
from xbench.models.weights import digest, fit_weights, read_weights

log = logging.getLogger("xbench")

PUBLISHED = "DEFAULT"


@dataclass(frozen=True)
class Timm:
    """A classifier of timm by name, on any data set of images.

    arch: a name from `timm.list_models`, with or without a tag of weights, e.g. "resnet18" or "resnet18.a1_in1k".
    weights: None = random weights from `seed` (with a warning that the maps are meaningless); "DEFAULT" = timm's
        published weights of that name, from the hub or its cache; else the path of a safetensors or `weights_only`
        file.
    classes: number of outputs; None = that of timm's weights, otherwise the data set's.
    size: side of the square to which the image is resized; None = the network's own size; 0 = no resizing.

    If the outputs are not the data set's classes, `accuracy` is None and only the predicted class can be explained.
    Raises ModuleNotFoundError without timm.
    """

    arch: str = "resnet18"
    weights: str | None = None
    classes: int | None = None
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        timm = _timm()
        if not timm.is_model(self.arch):
            near = difflib.get_close_matches(str(self.arch), timm.list_models(), n=3, cutoff=0.5)
            raise ValueError(f"timm has no classifier {self.arch!r}; nearest: {', '.join(near) or 'none'}")
        if self.classes is not None and self.classes < 1:
            raise ValueError(f"classes must be >= 1 or null, got {self.classes}")
        if self.size is not None and self.size < 0:
            raise ValueError(f"size must be >= 0 (0: as it is) or null, got {self.size}")

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.arch

    def fingerprint(self, dataset: Dataset) -> str | None:
        """sha256 of everything that determines the outputs, without building the model; None: no weights file."""
        if self.weights is None:
            source: dict[str, object] = {"seed": self.seed, "torch": torch.__version__}
        elif self.weights == PUBLISHED:
            source = {"published": [self._published.hf_hub_id, self._published.url]}
        elif not Path(self.weights).is_file():
            return None
        else:
            source = {"sha256": sha256_file(Path(self.weights))}
        shape = {"size": self._preprocessing.size, "classes": self._outputs(dataset)}
        return digest({"timm": self.arch, "version": _timm().__version__, **shape, **source})

    def load(self, dataset: Dataset) -> Model:
        """Raises ValueError (not images; weights do not fit) or FileNotFoundError (weights unavailable)."""
        check_images(self.arch, dataset, 4)
        with seeded(self.seed):
            network = self._network(dataset)
        module = ImageNetInput(network, self._preprocessing).eval()
        fingerprint = self.fingerprint(dataset)
        assert fingerprint is not None  # the weights file has just been read
        model = Model(self.arch, module, fingerprint, encode_tensors)
        if self.weights in (None, PUBLISHED):
            return model  # random outputs, or not the data set's classes
        return replace(model, accuracy=cached_accuracy(model, dataset))

    def _network(self, dataset: Dataset) -> nn.Module:
        published, outputs = self.weights == PUBLISHED, self._outputs(dataset)
        try:
            with libraries.one_voice():
                network: nn.Module = _timm().create_model(self.arch, pretrained=published, num_classes=outputs)
        except (OSError, RuntimeError) as error:
            if not published:
                raise
            raise FileNotFoundError(
                f"the weights of {self.arch} could not be loaded from the hub or its cache: {error}. Run "
                f"`hf download {self._published.hf_hub_id}` on a machine with a network and copy its cache (HF_HOME), "
                "or give model.weights=/path/to/file, or model.weights=null"
            ) from error
        if self.weights is None:
            log.warning("model %s has RANDOM weights (weights: null): maps say nothing of the data", self.arch)
        elif not published:
            source = f"weights {self.weights} (with model.classes={outputs})"
            fit_weights(network, read_weights(Path(self.weights)), source)
        return network

    @property
    def _published(self) -> Any:  # noqa: ANN401  (timm's PretrainedCfg)
        """timm's configuration of the weights of that name."""
        return _timm().get_pretrained_cfg(self.arch)

    def _outputs(self, dataset: Dataset) -> int:
        if self.classes is not None:
            return self.classes
        return int(self._published.num_classes) if self.weights == PUBLISHED else len(dataset.classes)

    @property
    def _preprocessing(self) -> Preprocessing:
        known = self._published
        how = Preprocessing(known.input_size[1], tuple(known.mean), tuple(known.std))
        return how if self.size is None else replace(how, size=self.size or None)


def _timm() -> ModuleType:
    with libraries.extra("timm", "model=timm"):
        import timm
    return timm
