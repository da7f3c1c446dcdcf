"""The function that generated a data set's labels, if it is known: its attributions have a known answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xbench.datasets.record import Dataset
from xbench.models.accuracy import cached_accuracy
from xbench.models.encoders import encode_tensors
from xbench.models.record import Model
from xbench.models.weights import module_digest


@dataclass(frozen=True)
class Known:
    """The data set's own label function, such as the weights of `planted_linear`; it needs no training."""

    name: str = "known"

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name

    def fingerprint(self, dataset: Dataset) -> str | None:
        """sha256 of the function's weights."""
        return None if dataset.known is None else module_digest(dataset.known())

    def load(self, dataset: Dataset) -> Model:
        """Raises ValueError if the label function of the data set is unknown."""
        if dataset.known is None:
            raise ValueError(
                f"model {self.name!r}: nobody knows the function that made the labels of {dataset.name!r}; it is for "
                "data such as planted_linear"
            )
        module = dataset.known().eval()
        model = Model(self.name, module, module_digest(module), encode_tensors)
        return replace(model, accuracy=cached_accuracy(model, dataset))
