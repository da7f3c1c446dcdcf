"""What a method cannot do without: of the model, of the samples, of what is known about them."""

from __future__ import annotations

import enum


class Need(enum.Enum):
    """What an algorithm or a metric cannot do without; its cells are skipped with `needs ...` where it is missing."""

    GRADIENT = "a gradient"
    MODULE = "a module whose operations can be seen"
    SAMPLES = "at least two samples"
    CONVOLUTION = "a convolutional layer"
    ATTENTION = "an attention layer"
    NUMBERS = "real-valued points"
    IMAGES = "images"
    TRUTH = "masks of where the evidence lies"
    OUTPUTS = "a choice among several outputs"


class NotApplicable(ValueError):
    """A method does not suit this model or these samples, whatever its parameters: its cells are skipped."""
