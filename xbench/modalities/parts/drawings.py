"""Pictures of samples, and maps in their frames, as the report shows them.

A map is drawn in the frame of its sample's picture, or in one of which the picture is a multiple, so that the report
can lay one over the other whatever they show. What the sample's own axes do not tell apart, such as channels or the
dimensions of an embedding, is summed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xbench.modalities.parts.spectral import BINS
from xbench.modalities.record import Shaped

COLUMNS = 256  # of a picture along time
STRIP = 24  # rows of a curve

Range = tuple[float, float] | None
Heats = dict[str, np.ndarray]


def image(parts: Mapping[str, Tensor], values: Range) -> np.ndarray:
    """Images (n, C, H, W), the first of the parts."""
    return _colours(_first(parts), values)


def film(parts: Mapping[str, Tensor], values: Range) -> np.ndarray:
    """Clips (n, C, T, H, W), their frames side by side."""
    return _colours(_film(_first(parts)), values)


def series(parts: Mapping[str, Tensor], values: Range) -> np.ndarray:
    """Series (n, C, T) as curves, each channel in its own range."""
    return _curves(_first(parts))


def sound(parts: Mapping[str, Tensor], values: Range) -> np.ndarray:
    """Waveforms (n, 1, T) as a curve above a spectrogram."""
    return np.concatenate([_curves(_first(parts)), _spectrogram(_first(parts))], axis=1)


def values(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> Heats:
    """One value per word or column."""
    first = maps[0]
    return {"heat": _numpy(first.flatten(2).sum(2) if first.dim() > 2 else first)}


def image_heat(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> Heats | None:
    """Maps of pixels (n, C, H, W), or (n, H, W) as at a layer."""
    first = maps[0]
    return {"heat": _numpy(first if first.dim() == 3 else first.sum(1))} if first.dim() in (3, 4) else None


def image_and_words_heat(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> Heats | None:
    """Maps of pixels and, in a second tensor, of words or their vectors."""
    if len(maps) != 2:
        return None
    return {"heat": _numpy(maps[0].sum(1)), "words": _numpy(maps[1].flatten(2).sum(2))}


def film_heat(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> Heats | None:
    """Maps of clips, their frames side by side."""
    return {"heat": _numpy(_film(maps[0]).sum(1))} if maps[0].dim() == 5 else None


def series_heat(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> Heats | None:
    """Maps of series, (n, C, columns)."""
    return {"heat": _numpy(_binned(maps[0]))} if _like(parts, maps[0]) else None


def sound_heat(parts: Mapping[str, Shaped], maps: tuple[Tensor, ...]) -> Heats | None:
    """Maps of waveforms over curve and spectrogram; those of a spectrum over the latter."""
    first = maps[0]
    if _like(parts, first):
        return {"heat": _numpy(_binned(first.sum(1, keepdim=True)))}
    if first.dim() == 3 and first.shape[1] == 2 * BINS:
        return {"heat": _spectral_heat(first, next(iter(parts.values())).shape[2])}
    return None


def _first(parts: Mapping[str, Tensor]) -> Tensor:
    return next(iter(parts.values()))


def _like(parts: Mapping[str, Shaped], values: Tensor) -> bool:
    """Whether a map of series has the form of the samples."""
    return values.dim() == 3 and tuple(values.shape) == tuple(next(iter(parts.values())).shape)


def _numpy(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.numpy())


def _colours(images: Tensor, value_range: tuple[float, float] | None) -> np.ndarray:
    """Images (n, C, H, W) as (n, H, W, C) in 0..1, C being 1 or 3."""
    low, high = value_range or (float(images.min()), float(images.max()))
    shown = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
    shown = shown if shown.shape[1] in (1, 3) else shown.mean(1, keepdim=True)
    return shown.permute(0, 2, 3, 1).contiguous().numpy()


def _film(clips: Tensor) -> Tensor:
    """(n, C, T, H, W) with the frames side by side, (n, C, H, T * W)."""
    n, channels, frames, height, width = clips.shape
    return clips.transpose(2, 3).reshape(n, channels, height, frames * width)


def _binned(series: Tensor) -> Tensor:
    """(n, C, T) summed in at most COLUMNS equal bins along time; the last may be shorter."""
    size = -(-series.shape[2] // COLUMNS)
    padded = F.pad(series, (0, -series.shape[2] % size))
    binned: Tensor = padded.unflatten(2, (-1, size)).sum(3)
    return binned


def _curves(series: Tensor) -> np.ndarray:
    """Series (n, C, T) as curves, (n, C * STRIP, columns, 1): dark on white, each channel in its own range."""
    n, channels, steps = series.shape
    size = -(-steps // COLUMNS)
    padded = F.pad(series.float(), (0, -steps % size), mode="replicate").unflatten(2, (-1, size))
    low, high = padded.amin((2, 3), keepdim=True), padded.amax((2, 3), keepdim=True)
    unit = (padded - low) / (high - low).clamp(min=1e-12)
    top, bottom = unit.amax(3), unit.amin(3)  # (n, C, columns): what a column spans
    if size == 1:  # from each point to the next, so that a line is closed
        after = torch.cat([unit[:, :, 1:, 0], unit[:, :, -1:, 0]], dim=2)
        top, bottom = torch.maximum(top, after), torch.minimum(bottom, after)
    level = torch.linspace(1, 0, STRIP)[None, None, :, None]
    thick = 0.5 / (STRIP - 1)
    drawn = (level <= top.unsqueeze(2) + thick) & (level >= bottom.unsqueeze(2) - thick)
    strip: np.ndarray = 1 - 0.85 * drawn.reshape(n, channels * STRIP, -1, 1).float().numpy()
    return strip


def _spectrogram(waves: Tensor) -> np.ndarray:
    """Waveforms (n, 1, T) as log spectrograms of two strips' height below the curve, dark where loud."""
    window = 256
    hop = max(1, waves.shape[2] // COLUMNS)
    found = torch.stft(
        F.pad(waves[:, 0].float(), (window, window)),
        window,
        hop,
        window=torch.hann_window(window),
        return_complex=True,
        center=False,
    )
    loud = found.abs().clamp(min=1e-6).log().flip(1)  # low tones at the bottom
    low, high = loud.amax((1, 2), keepdim=True) - 5, loud.amax((1, 2), keepdim=True)
    dark = ((loud - low) / (high - low)).clamp(0, 1)
    shown = F.interpolate(dark[:, None], size=(2 * STRIP, _columns(waves.shape[2])), mode="area")[:, 0]
    return (1 - 0.85 * shown)[..., None].numpy()


def _spectral_heat(maps: Tensor, steps: int) -> np.ndarray:
    """Maps of spectra (n, 2 * BINS, frames) in the frame of curve and spectrogram, over the latter."""
    both = maps.unflatten(1, (2, BINS)).sum(1, keepdim=True)  # of real and imaginary part
    below = F.interpolate(both.flip(2), size=(2 * STRIP, _columns(steps)), mode="nearest")[:, 0]
    return _numpy(F.pad(below, (0, 0, STRIP, 0)))


def _columns(steps: int) -> int:
    """Number of columns in the picture of a series."""
    return -(-steps // -(-steps // COLUMNS))
