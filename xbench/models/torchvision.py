"""Image and video classifiers from torchvision."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import WeightsEnum

from xbench.boundary.files import write_atomic
from xbench.datasets.cache import sha256_file
from xbench.datasets.download import DownloadError, download
from xbench.datasets.record import Dataset, Lazy
from xbench.models.accuracy import cached_accuracy
from xbench.models.encoders import encode_tensors
from xbench.models.randomness import seeded
from xbench.models.record import Model
from xbench.models.weights import digest, fit_weights, read_weights

log = logging.getLogger("xbench")

IMAGENET_CLASSES = 1000
SIZE = {"inception_v3": 299}  # input side of each network; 224 for all others, 112 for clips
KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # mean and std of videos
KINETICS_CLASSES = 400


@dataclass(frozen=True)
class Preprocessing:
    """Side of the square image a network takes (None: any), and the normalisation of values in [0, 1]."""

    size: int | None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # ImageNet
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class ImageNetInput(nn.Module):
    """Images (n, 1 or 3, height, width) in [0, 1] -> the input format of a torchvision network -> its logits.

    Clips (n, 1 or 3, frames, height, width) are treated frame by frame. Grey images are repeated to three channels, and
    images of another size are resized (bilinear). These steps are inside the model: maps have the shape of the original
    image, and a black baseline is the tensor of zeros.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, how: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.size = how.size
        self.register_buffer("mean", torch.tensor(how.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(how.std).reshape(1, 3, 1, 1))

    def forward(self, samples: Tensor) -> Tensor:
        clips = samples.dim() == 5
        images = samples.transpose(1, 2).flatten(0, 1) if clips else samples
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if self.size is not None and tuple(images.shape[2:]) != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        normal = (images - self.mean) / self.std
        if clips:
            normal = normal.unflatten(0, (len(samples), -1)).transpose(1, 2)
        logits: Tensor = self.network(normal)
        return logits


@dataclass(frozen=True)
class Torchvision:
    """A classifier of torchvision by name, on any data set of images, or of clips.

    arch: a name from `torchvision.models.list_models` for `torchvision.models` (images), e.g. "resnet18", or for
        `torchvision.models.video` (clips), e.g. "r3d_18".
    weights: None = random weights from `seed` (with a warning that the maps are meaningless); "DEFAULT" or another of
        torchvision's names such as "IMAGENET1K_V1" = trained on ImageNet (Kinetics) and downloaded when needed; else
        the path of a safetensors or `weights_only` file.
    classes: number of outputs; None = that of torchvision's weights (1000, clips 400), otherwise the data set's.
    size: side of the square to which the image is resized; None = the network's own size; 0 = no resizing.

    If the outputs are not the data set's classes (ImageNet weights on digits), `accuracy` is None and only the
    predicted class can be explained.
    """

    arch: str = "resnet18"
    weights: str | None = None
    classes: int | None = None
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        known = [*torchvision.models.list_models(module=torchvision.models), *_clips()]
        if self.arch not in known:
            near = difflib.get_close_matches(str(self.arch), known, n=3, cutoff=0.5) or known[:5]
            raise ValueError(f"torchvision has no classifier {self.arch!r}; nearest: {', '.join(near)}")
        if self.classes is not None and self.classes < 1:
            raise ValueError(f"classes must be >= 1 or null, got {self.classes}")
        if self.size is not None and self.size < 0:
            raise ValueError(f"size must be >= 0 (0: as it is) or null, got {self.size}")
        if self.weights is not None and self._named() is None and not _looks_like_path(self.weights):
            names = ", ".join(torchvision.models.get_model_weights(self.arch).__members__)
            raise ValueError(f"weights of {self.arch} must be null, {names} or a file, got {self.weights!r}")

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.arch

    def fingerprint(self, dataset: Dataset) -> str | None:
        """sha256 of everything that determines the outputs, without building the model; None: no weights file."""
        named, source = self._named(), {}
        if self.weights is None:
            source = {"seed": self.seed, "torch": torch.__version__, "torchvision": torchvision.__version__}
        elif named is not None:
            source = {"url": named.url, **self._replaced(named)}
        elif not Path(self.weights).is_file():
            return None
        else:
            source = {"sha256": sha256_file(Path(self.weights))}
        shape = {"size": self._preprocessing().size, "classes": self._outputs(dataset)}
        return digest({"torchvision": self.arch, **shape, **source})

    def load(self, dataset: Dataset) -> Model:
        """Raises ValueError (not images; weights do not fit) or FileNotFoundError (weights unavailable)."""
        check_images(self.arch, dataset, 5 if self.arch in _clips() else 4)
        with seeded(self.seed):
            network = torchvision.models.get_model(self.arch, weights=None, **self._arguments(dataset))
        if self.weights is None:
            log.warning("model %s has RANDOM weights (weights: null): maps say nothing of the data", self.arch)
        else:
            source = f"weights {self.weights} (with model.classes={self._outputs(dataset)})"
            fit_weights(network, self.state(), source)
        module = ImageNetInput(network, self._preprocessing()).eval()
        fingerprint = self.fingerprint(dataset)
        assert fingerprint is not None  # the weights file has just been read
        model = Model(self.arch, module, fingerprint, encode_tensors)
        if self.weights is None or self._named() is not None:
            return model  # not the data set's classes, or random outputs
        return replace(model, accuracy=cached_accuracy(model, dataset))

    def _replaced(self, named: WeightsEnum) -> dict[str, str]:
        """The sha256 of a weights file that differs from the checksum in torchvision's file name."""
        path = _checkpoint(named)
        found = sha256_file(path) if path.is_file() else ""
        return {"sha256": found} if found and not found.startswith(_checksum(named.url)) else {}

    def _named(self) -> WeightsEnum | None:
        """torchvision's weights of that name, or None when `weights` is a path or null."""
        return torchvision.models.get_model_weights(self.arch).__members__.get(self.weights)

    def _outputs(self, dataset: Dataset) -> int:
        if self.classes is not None:
            return self.classes
        published = KINETICS_CLASSES if self.arch in _clips() else IMAGENET_CLASSES
        return published if self._named() is not None else len(dataset.classes)

    def _arguments(self, dataset: Dataset) -> dict[str, int | bool]:
        """Constructor arguments of the network that the weights belong to."""
        arguments: dict[str, int | bool] = {"num_classes": self._outputs(dataset)}
        size = self._preprocessing().size
        if self.arch.startswith("vit_") and size is not None:
            arguments["image_size"] = size
        if self.arch in ("googlenet", "inception_v3"):
            # ImageNet weights of these two were trained with another normalisation; the network converts the input.
            arguments |= {"transform_input": self._named() is not None, "init_weights": False}
        return arguments

    def _preprocessing(self) -> Preprocessing:
        named = self._named()
        if named is None:
            clips = self.arch in _clips()
            how = Preprocessing(112, *KINETICS) if clips else Preprocessing(SIZE.get(self.arch, 224))
        else:
            asked = named.transforms()
            how = Preprocessing(asked.crop_size[0], tuple(asked.mean), tuple(asked.std))
        return how if self.size is None else replace(how, size=self.size or None)

    def state(self) -> dict[str, Tensor]:
        """The requested weights. Raises FileNotFoundError if they are unavailable."""
        weights, named = str(self.weights), self._named()
        if named is None:
            return read_weights(Path(weights))
        path = _checkpoint(named)
        if not path.is_file():
            try:
                write_atomic(path, download(named.url, _checksum(named.url), patience=True))
            except DownloadError as error:
                raise FileNotFoundError(
                    f"weights {weights} of {self.arch} are not on this machine: {error}. Put the file "
                    f"{named.url} at {path}, or give model.weights=/path/to/file, or model.weights=null"
                ) from error
        return read_weights(path)


def _checkpoint(named: WeightsEnum) -> Path:
    """The file in which torchvision keeps published weights."""
    file: Path = Path(torch.hub.get_dir()) / "checkpoints" / named.url.rpartition("/")[2]
    return file


def _checksum(url: str) -> str:
    """The first digits of the sha256 in names like resnet18-f37072fd.pth."""
    return url.rpartition("-")[2].partition(".")[0]


def _looks_like_path(text: str) -> bool:
    return Path(text).suffix != "" or "/" in text or Path(text).exists()


def _clips() -> list[str]:
    """The names of the video classifiers."""
    found: list[str] = torchvision.models.list_models(module=torchvision.models.video)
    return found


def check_images(name: str, dataset: Dataset, dims: int) -> None:
    """Raise ValueError unless the data set holds images (dims 4) or clips (dims 5) of 1 or 3 channels."""
    inputs, kind = dataset.test.inputs, "clips" if dims == 5 else "images"
    if not isinstance(inputs, Tensor | Lazy) or len(inputs.shape) != dims or inputs.shape[1] not in (1, 3):
        shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor | Lazy) else "texts"
        raise ValueError(f"model {name!r} takes {kind} of 1 or 3 channels, but {dataset.name!r} holds {shape}")
