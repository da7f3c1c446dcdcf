"""Which elements are one feature: of a shape, where nothing is known, and of samples as a model takes them.

Groups are numbers from 0, one tensor (1 or n, ...) per input; -1 belongs to no feature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xbench.core.superpixels import superpixels as segmented
from xbench.modalities.record import Grouped

WINDOWS = 32  # in time
SQUARES = 8  # along the shorter side of an image or frame
_ENDS = {".", "!", "?"}

Groups = tuple[Tensor, ...]


def patches(channels: int, height: int, width: int, side: int = 4) -> Tensor:
    """(1, channels, height, width) int64: the number of the square of `side` pixels that a pixel lies in."""
    number = (torch.arange(height) // side)[:, None] * -(-width // side) + torch.arange(width) // side
    return number.expand(1, channels, height, width).contiguous()


def tubes(channels: int, frames: int, height: int, width: int, side: int) -> Tensor:
    """(1, channels, frames, height, width) int64: squares of `side` pixels over two frames."""
    number = patches(1, height, width, side)[0, 0]
    layers = torch.arange(frames) // 2 * (int(number.max()) + 1)
    return (number + layers[:, None, None]).expand(1, channels, frames, height, width).contiguous()


def windows(length: int, count: int) -> Tensor:
    """(length,) int64: the number of the window, of `count` nearly equal ones, that each position lies in."""
    return (torch.arange(length) * min(count, length)) // length


def each(shape: tuple[int, ...]) -> Tensor:
    """Every element on its own."""
    return torch.arange(torch.Size(shape).numel()).reshape(1, *shape)


def squares(shape: tuple[int, ...]) -> Tensor:
    """Squares of an image (C, H, W), with all its channels."""
    channels, height, width = shape
    return patches(channels, height, width, _side(shape))


def tubes_of_squares(shape: tuple[int, ...]) -> Tensor:
    """Squares of a clip (C, T, H, W) over two frames, with all its channels."""
    channels, frames, height, width = shape
    return tubes(channels, frames, height, width, _side(shape))


def in_time(shape: tuple[int, ...]) -> Tensor:
    """Equal windows of a series (C, T); each channel has its own."""
    channels, steps = shape
    return (windows(steps, WINDOWS) + WINDOWS * torch.arange(channels)[:, None])[None]


def _side(shape: tuple[int, ...]) -> int:
    return max(1, min(shape[-2:]) // SQUARES)


def own(samples: Grouped) -> Groups:
    """The groups of the data set or of the model's encoder. Raises ValueError if there are none."""
    if samples.features is None:
        raise ValueError("features: the data set has no groups of its own")
    return samples.features


def elements(samples: Grouped) -> Groups:
    """Every element on its own."""
    return (each(tuple(samples.inputs[0].shape[1:])),)


def _after_image(samples: Grouped, image: Tensor) -> Groups:
    """Features of the image, then what the other parts have, renumbered behind them."""
    if len(samples.inputs) == 1:
        return (image,)
    first = int(image.max()) + 1
    others = own(samples)[1:]
    lowest = min(int(other[other >= 0].min()) for other in others)
    rows = max(len(image), *(len(other) for other in others))
    moved = (torch.where(other >= 0, other - lowest + first, -1) for other in others)
    return (image.expand(rows, *image.shape[1:]), *moved)


def pixels(samples: Grouped) -> Groups:
    """Every pixel with all its channels."""
    shape = samples.inputs[0].shape[1:]
    number = torch.arange(shape[1:].numel()).reshape(1, 1, *shape[1:])
    return _after_image(samples, number.expand(1, *shape).contiguous())


def eighths(samples: Grouped) -> Groups:
    """Squares whose side is an eighth of the image's shorter one."""
    channels, height, width = samples.inputs[0].shape[1:]
    side = max(1, round(min(height, width) / 8))
    return _after_image(samples, patches(channels, height, width, side))


def superpixels(samples: Grouped) -> Groups:
    return _after_image(samples, segmented(samples.inputs[0], "features=superpixels"))


def tokens(samples: Grouped) -> Groups:
    """Every token on its own, without those that are none."""
    kept = own(samples)[0] >= 0
    return (torch.where(kept, kept.cumsum(1) - 1, -1),)


def sentences(samples: Grouped) -> Groups:
    """Up to and with a full stop, exclamation or question mark."""
    words, texts = own(samples)[0], samples.tokens
    if texts is None:
        raise ValueError("features=sentences: this model's encoder gives no tokens to find their ends in")
    ends = torch.tensor([[token in _ENDS for token in row] for row in texts])
    number = ends.cumsum(1) - ends.long()  # of the sentence that a token lies in
    return (torch.where(words >= 0, number, -1),)


def windows_in_time(samples: Grouped) -> Groups:
    """Equal windows in time; each channel has its own."""
    channels, steps = samples.inputs[0].shape[1:]
    count = min(WINDOWS, steps)
    return ((windows(steps, count)[None] + count * torch.arange(channels)[:, None])[None],)


def channels(samples: Grouped) -> Groups:
    """Every channel as a whole."""
    shape = samples.inputs[0].shape[1:]
    number = torch.arange(shape[0]).reshape(1, -1, *[1] * (len(shape) - 1))
    return (number.expand(1, *shape).contiguous(),)


def frames(samples: Grouped) -> Groups:
    """Every frame of a clip as a whole."""
    shape = samples.inputs[0].shape[1:]
    return (torch.arange(shape[1])[None, None, :, None, None].expand(1, *shape).contiguous(),)


def first(samples: Grouped) -> Groups:
    """The features of the first part alone."""
    return _only(0, samples)


def second(samples: Grouped) -> Groups:
    """The features of the second part alone."""
    return _only(1, samples)


def _only(part: int, samples: Grouped) -> Groups:
    return tuple(group if place == part else torch.full_like(group, -1) for place, group in enumerate(own(samples)))
