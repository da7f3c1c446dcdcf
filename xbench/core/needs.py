"""Requirements of a method on the model, the samples and their annotations."""

from __future__ import annotations

import enum


class Need(enum.Enum):
    """A requirement of an algorithm or a metric; where it is not met, cells are skipped with `needs ...`."""

    GRADIENT = "a gradient"
    MODULE = "a module whose operations can be seen"
    SAMPLES = "at least two samples"
    CONVOLUTION = "a convolutional layer"
    ATTENTION = "an attention layer"
    NUMBERS = "real-valued points"
    IMAGES = "images"
    TRUTH = "masks of where the evidence lies"
    GRAPHS = "graphs"
    OUTPUTS = "a choice among several outputs"
    PROBABILITIES = "a probability as the explained output"


class NotApplicable(ValueError):
    """A method does not apply to this model or these samples, with any parameters: its cells are skipped."""
