"""`features=`: what one feature is, chosen by name for any data: pixels or superpixels, words or sentences, edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from xbench.boundary import libraries
from xbench.datasets.generated import windows
from xbench.datasets.images import patches
from xbench.datasets.record import Dataset
from xbench.inputs.spectral import cells, in_frames, spectrum
from xbench.models.record import Encoded

WINDOWS = 32
CELLS = "cells"  # in time and frequency
SEGMENTS = 64  # superpixels per image, about
_ENDS = {".", "!", "?"}

Groups = tuple[Tensor, ...]


def regroup(name: str, dataset: Dataset, encoded: Encoded) -> Groups:
    """The features called `name`, one tensor (1 or n, ...) per input; what was no feature stays none.

    Raises ValueError when the data have no such features, naming those they have.
    """
    _check(name, dataset)
    made = _CHOICES[dataset.modality][name](encoded)
    if encoded.features is None:
        return made
    return tuple(
        torch.where(own < 0, -1, group) if bool((own < 0).any()) else group
        for own, group in zip(encoded.features, made, strict=True)
    )


def as_cells(
    dataset: Dataset, encoded: Encoded, baselines: Groups, distribution: Groups | None
) -> tuple[Encoded, Groups, Groups | None]:
    """Waveforms and their baselines as spectra, whose features are time-frequency cells; see `xbench.inputs.spectral`.

    Raises ValueError when the data are no sounds.
    """
    _check(CELLS, dataset)
    (waves,) = encoded.inputs
    spectra = spectrum(waves)
    masks = encoded.masks and tuple(in_frames(mask, spectra.shape[2]) for mask in encoded.masks)
    made = replace(
        encoded,
        inputs=(spectra,),
        baseline=tuple(map(spectrum, encoded.baseline)),
        features=(cells(spectra),),
        masks=masks,
    )
    return made, tuple(map(spectrum, baselines)), distribution and tuple(map(spectrum, distribution))


def _check(name: str, dataset: Dataset) -> None:
    choices = _CHOICES[dataset.modality]
    if name not in choices:
        known = ", ".join(choices)
        raise ValueError(f"features: {dataset.modality} data have {known}, not {name!r}; null is the data set's own")


def _own(encoded: Encoded) -> Groups:
    if encoded.features is None:
        raise ValueError("features: the data set has no groups of its own")
    return encoded.features


def _elements(encoded: Encoded) -> Groups:
    """Every element on its own."""
    shape = encoded.inputs[0].shape[1:]
    return (torch.arange(shape.numel()).reshape(1, *shape),)


def _after_image(encoded: Encoded, image: Tensor) -> Groups:
    """Features of the image, then what the other parts have, renumbered behind them."""
    if len(encoded.inputs) == 1:
        return (image,)
    first = int(image.max()) + 1
    others = _own(encoded)[1:]
    lowest = min(int(other[other >= 0].min()) for other in others)
    rows = max(len(image), *(len(other) for other in others))
    moved = (torch.where(other >= 0, other - lowest + first, -1) for other in others)
    return (image.expand(rows, *image.shape[1:]), *moved)


def _places(encoded: Encoded) -> Groups:
    """Every pixel with all its channels."""
    shape = encoded.inputs[0].shape[1:]
    number = torch.arange(shape[1:].numel()).reshape(1, 1, *shape[1:])
    return _after_image(encoded, number.expand(1, *shape).contiguous())


def _patches(encoded: Encoded) -> Groups:
    channels, height, width = encoded.inputs[0].shape[1:]
    side = max(1, round(min(height, width) / 8))
    return _after_image(encoded, patches(channels, height, width, side))


def _superpixels(encoded: Encoded) -> Groups:
    """SLIC: Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods" (TPAMI)."""
    with libraries.extra("superpixels", "features=superpixels"):
        from skimage.segmentation import slic
    images = encoded.inputs[0]
    segments = min(SEGMENTS, images[0, 0].numel() // 4)
    found = []
    for image in images:
        values = image.permute(1, 2, 0).double().numpy()
        grey = values.shape[2] != 3
        kept = values if not grey else values.mean(2)
        labels = slic(kept, n_segments=segments, start_label=0, channel_axis=None if grey else 2)
        _, dense = torch.unique(torch.from_numpy(labels), return_inverse=True)
        found.append(dense.expand(image.shape))
    return _after_image(encoded, torch.stack(found))


def _tokens(encoded: Encoded) -> Groups:
    own = _own(encoded)[0] >= 0
    return (torch.where(own, own.cumsum(1) - 1, -1),)


def _sentences(encoded: Encoded) -> Groups:
    """Up to and with a full stop, exclamation or question mark."""
    own, tokens = _own(encoded)[0], encoded.tokens
    if tokens is None:
        raise ValueError("features=sentences: this model's encoder gives no tokens to find their ends in")
    ends = torch.tensor([[token in _ENDS for token in row] for row in tokens])
    number = ends.cumsum(1) - ends.long()  # of the sentence that a token lies in
    return (torch.where(own >= 0, number, -1),)


def _windows(encoded: Encoded) -> Groups:
    """Equal windows in time; each channel has its own."""
    channels, steps = encoded.inputs[0].shape[1:]
    count = min(WINDOWS, steps)
    return ((windows(steps, count)[None] + count * torch.arange(channels)[:, None])[None],)


def _channels(encoded: Encoded) -> Groups:
    shape = encoded.inputs[0].shape[1:]
    number = torch.arange(shape[0]).reshape(1, -1, *[1] * (len(shape) - 1))
    return (number.expand(1, *shape).contiguous(),)


def _frames(encoded: Encoded) -> Groups:
    shape = encoded.inputs[0].shape[1:]
    return (torch.arange(shape[1])[None, None, :, None, None].expand(1, *shape).contiguous(),)


def _only(part: int) -> Callable[[Encoded], Groups]:
    def of(encoded: Encoded) -> Groups:
        return tuple(
            group if place == part else torch.full_like(group, -1) for place, group in enumerate(_own(encoded))
        )

    return of


_IMAGE = {"pixels": _places, "patches": _patches, "superpixels": _superpixels}
_CHOICES: Mapping[str, Mapping[str, Callable[[Encoded], Groups]]] = {
    "image": _IMAGE,
    "multimodal": _IMAGE,
    "text": {"tokens": _tokens, "words": _own, "sentences": _sentences},
    "audio": {"samples": _elements, "windows": _windows, CELLS: _own},
    "series": {"samples": _elements, "windows": _windows, "channels": _channels},
    "video": {"pixels": _places, "frames": _frames, "tubes": _own},
    "tabular": {"columns": _elements, "groups": _own},
    "graph": {"nodes": _only(0), "edges": _only(1)},
}
NAMES = tuple(dict.fromkeys(name for choices in _CHOICES.values() for name in choices))
