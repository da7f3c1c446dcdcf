"""Reference models: xbench's own small networks, trained on first use and cached."""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xbench.config import sources
from xbench.datasets.cache import cache_directory
from xbench.datasets.record import Dataset, Lazy, Split, SplitPart, by_part
from xbench.modalities import MODALITIES
from xbench.models import trained
from xbench.models.accuracy import accuracy, predict_split
from xbench.models.encoders import FusionEncoder, WordEncoder, encode_tensors
from xbench.models.randomness import one_thread, seeded
from xbench.models.record import Encoded, Model
from xbench.models.training import fit, tensor_batches, word_batches
from xbench.models.vocabulary import Vocabulary
from xbench.models.weights import digest, fit_weights

log = logging.getLogger("xbench")

VERSION = 1  # raise it when the same parameters train to other weights


@dataclass(frozen=True)
class Reference:
    """A small classifier, trained from a fixed seed on first use (under two minutes on two cores).

    name: the name in tables.
    architecture: builds the network: a class, or a class with some arguments bound (`_partial_: true` in YAML). It has
        an attribute `modality`, and an integer `version` that is raised when its computation changes. A text network
        is called with `vocabulary` and `classes`, and names its word vectors `embedding`; all others are called with
        `shape`, the shape of one sample (a dict of shapes for several parts, plus `vocabulary` if one of them is a
        text), and `classes`, 1 for a regression. Its method `calibrate(*inputs, targets)`, if any, gets the training
        samples before training.
    epochs, lr, batch_size, seed: settings of the training (see `training.fit`).
    min_steps: minimum number of batches; a small data set is repeated for more epochs.
    max_steps: maximum number of batches; a large data set gets fewer epochs, but at least one.
    mask_rate: texts: mean share of words hidden behind the neutral token during training.
    vocabulary, min_count: texts: maximum number of words, and minimum count of each.
    words: texts: chooses the vocabulary, f(texts, vocabulary, min_count) -> `Vocabulary`; None = the most frequent.

    Weights, vocabulary and test accuracy are kept under `models/` in the cache directory.
    """

    name: str
    architecture: Callable[..., nn.Module]
    epochs: int
    min_steps: int = 1
    max_steps: int = 2000
    lr: float = 1e-3
    batch_size: int = 64
    seed: int = 0
    mask_rate: float = 0.0
    vocabulary: int = 20_000
    min_count: int = 1
    words: Callable[[Sequence[str], int, int], Vocabulary] | None = None

    def __post_init__(self) -> None:
        if not callable(self.architecture) or self.modality not in MODALITIES:
            raise TypeError(
                f"architecture must be a module class with an attribute modality ({', '.join(MODALITIES)}), "
                f"in YAML with `_partial_: true`; got {self.architecture!r}"
            )
        for name in ("epochs", "min_steps", "max_steps", "batch_size", "min_count", "vocabulary"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        if not self.lr > 0:
            raise ValueError(f"lr must be > 0, got {self.lr!r}")
        if not 0.0 <= self.mask_rate < 1.0:
            raise ValueError(f"mask_rate must lie in [0, 1), got {self.mask_rate!r}")

    @property
    def modality(self) -> str | None:
        built = self.architecture.func if isinstance(self.architecture, partial) else self.architecture
        return getattr(built, "modality", None)

    @property
    def _of_texts(self) -> bool:
        return self.modality is not None and MODALITIES[self.modality].holds == "texts"

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name

    def fingerprint(self, dataset: Dataset) -> str | None:
        """sha256 of the cached weights; None if this model has not been trained on this data."""
        return trained.fingerprint(self._folder(dataset))

    def load(self, dataset: Dataset) -> Model:
        """The trained model. Raises ValueError if the model takes another kind of data."""
        if dataset.modality != self.modality:
            raise ValueError(
                f"model {self.name!r} is for {self.modality} data, but data set {dataset.name!r} is {dataset.modality}"
            )
        found = trained.load(self._folder(dataset)) or self._train(dataset)
        module = self._build(dataset, found.vocabulary)
        fit_weights(module, found.state, f"the cached model in {self._folder(dataset)}")
        return Model(
            name=self.name,
            module=module.eval(),
            fingerprint=found.sha256,
            encode=self._encoder(module, found.vocabulary),
            site="embedding" if self._of_texts else None,
            accuracy=found.accuracy,
        )

    def _identity(self) -> dict[str, object]:
        """Everything that determines the weights, as JSON."""
        bound = self.architecture if isinstance(self.architecture, partial) else partial(self.architecture)
        source = sources.fingerprint(self.architecture, self.words)
        return {
            "version": VERSION,
            **({} if source is None else {"source": source}),
            "name": self.name,
            "architecture": _place(bound),
            # YAML gives lists where Python gives tuples; both build the same network.
            "arguments": {name: list(v) if isinstance(v, tuple) else v for name, v in bound.keywords.items()},
            "training": [
                self.epochs,
                self.min_steps,
                self.max_steps,
                self.lr,
                self.batch_size,
                self.seed,
                self.mask_rate,
            ],
            "words": [self.vocabulary, self.min_count, *([] if self.words is None else [_place(self.words)])],
        }

    def _folder(self, dataset: Dataset) -> Path:
        return cache_directory() / "models" / digest({**self._identity(), "data": dataset.fingerprint})

    def _build(self, dataset: Dataset, vocabulary: Vocabulary | None) -> nn.Module:
        """A fresh network, initialised from the seed."""
        classes = max(1, len(dataset.classes))
        with seeded(self.seed):
            if vocabulary is not None and self._of_texts:
                return self.architecture(vocabulary=len(vocabulary.words), classes=classes)
            inputs = dataset.test.inputs
            if isinstance(inputs, Mapping):
                shapes = {name: tuple(part.shape[1:]) for name, part in inputs.items() if not isinstance(part, tuple)}
                words = {} if vocabulary is None else {"vocabulary": len(vocabulary.words)}
                return self.architecture(shape=shapes, classes=classes, **words)
            assert not isinstance(inputs, tuple)  # Dataset checks it
            return self.architecture(shape=tuple(inputs.shape[1:]), classes=classes, **self._rate(dataset))

    def _rate(self, dataset: Dataset) -> dict[str, int]:
        """The data set's sampling rate as an argument, for an architecture whose `rate` is null."""
        asked = inspect.signature(self.architecture).parameters.get("rate")
        if asked is None or asked.default is not None or dataset.rate is None:
            return {}
        return {"rate": dataset.rate}

    def _train(self, dataset: Dataset) -> trained.Trained:
        trained.check_writable(self._folder(dataset))
        train = dataset.train()
        epochs = self._epochs(len(train))
        guess = MODALITIES[dataset.modality].seconds * len(train) * epochs
        log.info("training %s on %s (first use, about %.0f s)", self.name, dataset.name, max(1.0, guess))
        start = time.perf_counter()
        vocabulary = self._vocabulary(train)
        module = self._build(dataset, vocabulary)
        with one_thread():
            self._fit(module, _arguments(train, vocabulary), train.targets)
            seconds = time.perf_counter() - start
            outputs = predict_split(module, self._encoder(module, vocabulary), dataset, dataset.test)
            reached = accuracy(outputs, dataset.test.targets)
        log.info(
            "trained %s on %s in %.1f s: test %s %.4f (%d samples)",
            self.name, dataset.name, seconds, "accuracy" if dataset.classes else "R²", reached, len(dataset.test),
        )  # fmt: skip
        about = {
            "identity": self._identity(),
            "dataset": dataset.name,
            "seconds": seconds,
            "torch": torch.__version__,
        }
        return trained.save(self._folder(dataset), module.state_dict(), vocabulary, reached, about)

    def _vocabulary(self, train: Split) -> Vocabulary | None:
        parts: Mapping[str, SplitPart] = by_part(train.inputs)
        texts = [part for part in parts.values() if isinstance(part, tuple)]
        return (self.words or Vocabulary.build)(texts[0], self.vocabulary, self.min_count) if texts else None

    def _encoder(self, module: nn.Module, vocabulary: Vocabulary | None) -> Callable[[Dataset, Split], Encoded]:
        if vocabulary is None:
            return encode_tensors
        if self._of_texts:
            return WordEncoder(vocabulary)
        embedding = module.embedding
        assert isinstance(embedding, nn.Embedding)
        return FusionEncoder(vocabulary, embedding)

    def _fit(self, module: nn.Module, inputs: tuple[Tensor | Lazy, ...], targets: Tensor) -> None:
        first = inputs[0]
        if self._of_texts:
            assert isinstance(first, Tensor)
            batches = word_batches(first, targets, self.batch_size, self.mask_rate)
        else:
            batches = tensor_batches(inputs, targets, self.batch_size)
        calibrate = getattr(module, "calibrate", None)
        if callable(calibrate):
            calibrate(*inputs, targets)
        generator = torch.Generator().manual_seed(self.seed)
        with seeded(self.seed), torch.enable_grad():
            fit(module, batches, self._steps(len(targets)), self._epochs(len(targets)), self.lr, generator)

    def _steps(self, rows: int) -> int:
        """Batches per epoch."""
        return math.ceil(rows / self.batch_size)

    def _epochs(self, rows: int) -> int:
        steps = self._steps(rows)
        often = max(self.epochs, math.ceil(self.min_steps / steps))
        return max(1, min(often, self.max_steps // steps))


def _place(built: Callable[..., object]) -> str:
    """The module and name of a function or class (unwrapping partials), and its version if it has one."""
    bare: Any = built.func if isinstance(built, partial) else built
    version = getattr(bare, "version", None)
    return f"{bare.__module__}.{bare.__qualname__}" + (f" {version}" if isinstance(version, int) else "")


def _arguments(train: Split, vocabulary: Vocabulary | None) -> tuple[Tensor | Lazy, ...]:
    """Arguments that build the network; training images may have another size than the images to explain."""
    parts: Mapping[str, SplitPart] = by_part(train.inputs)
    tensors: list[Tensor | Lazy] = []
    for part in parts.values():
        if not isinstance(part, tuple):
            tensors.append(part)
        else:
            assert vocabulary is not None
            tensors.append(vocabulary.ids(part))
    return (*tensors, *train.extra)
