"""Images in channels-last order: the same numbers, often at twice the speed on a CPU, where the model allows it.

Convolutions and poolings keep the order they are given, so nothing on the model changes; only the points are laid
out differently in memory. A model that reads memory directly (a `view` after a convolution) refuses, and one whose
result depends on the order of summation by more than rounding is left alone: both orders are compared on the first
rows of every kind of evaluation.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from xbench.engine.subject import Subject
from xbench.plan import Answer, Rule, Want

_TOLERANCE = 1e-5  # of the largest value; float32 sums in another order stay below
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def try_channels_last(
    subject: Subject, flat: Tensor, samples: Tensor, want: Want, rule: Rule | None, expected: Answer
) -> bool:
    """Whether the subject gives `expected` also with its images in channels-last order."""
    if not _promising(subject):
        return False
    try:
        answer = replace(subject, channels_last=True).evaluate(flat, samples, want, rule)
    except Exception:  # whatever a user's model raises: the same rows passed in the usual order
        return False
    pairs = (
        (answer.value, expected.value),
        (answer.gradient, expected.gradient),
        (answer.activation, expected.activation),
    )
    return all(_close(a, b) for a, b in pairs if a is not None and b is not None)


def _promising(subject: Subject) -> bool:
    images = any(len(shape) == 3 for shape in subject.layout.shapes)
    single = all(dtype == torch.float32 for dtype in subject.layout.dtypes)
    convolutional = any(isinstance(module, _CONVOLUTIONS) for module in subject.model.modules())
    return subject.device.type == "cpu" and subject.inject is None and images and single and convolutional


def _close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= _TOLERANCE * b.abs().max())
