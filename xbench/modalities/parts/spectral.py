"""Waveforms explained in time-frequency cells: points are spectra, which are converted back to waveforms for the model.

Source: Vielhaben, Lapuschkin, Montavon, Samek 2024, "Explainable AI for Time Series via Virtual Inspection Layers"
(arXiv 2303.06365). The inverse transform is a linear layer before the model, so every method can explain the spectrum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 256  # samples per window
HOP = WINDOW // 2
BINS = WINDOW // 2 + 1
BANDS = 8  # bands of equal width in a spectrum
TIMES = 16  # windows in a clip


def spectrum(waves: Tensor) -> Tensor:
    """Waveforms (n, 1, T) as their short-time Fourier transform (n, 2 * BINS, frames): real, then imaginary parts.

    Raises ValueError for waves of several channels.
    """
    if waves.dim() != 3 or waves.shape[1] != 1:
        raise ValueError(f"features=cells: expected waveforms of one channel (n, 1, T), got {tuple(waves.shape)}")
    padded = F.pad(waves[:, 0], (HOP, HOP + -waves.shape[2] % HOP))  # every sample lies in two windows
    window = torch.hann_window(WINDOW, dtype=waves.dtype, device=waves.device)
    found = torch.stft(padded, WINDOW, HOP, window=window, center=False, return_complex=True)
    return torch.cat([found.real, found.imag], dim=1)


class FromSpectrum(nn.Module):
    """A model of waveforms that takes their spectra, (n, 2 * BINS, frames); its layers are named `network.LAYER`.

    Overlapping windows are added and divided by the sum of their squares, as in `torch.istft`. The transform is a dense
    layer, in which relevance propagation distributes by contribution; a rule for convolutions would spread relevance
    over absent frequencies.

    network: the model. length: samples of a waveform.
    """

    waves: Tensor

    def __init__(self, network: nn.Module, length: int) -> None:
        super().__init__()
        self.network = network
        self.length = length
        time = torch.arange(WINDOW, dtype=torch.float64)
        bins = torch.arange(BINS, dtype=torch.float64)
        angle = 2 * torch.pi * bins[:, None] * time / WINDOW
        twice = torch.where((bins == 0) | (bins == WINDOW // 2), 1.0, 2.0)[:, None] / WINDOW
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        parts = torch.cat([twice * angle.cos(), -twice * angle.sin()])
        square = window.square()
        overlap = (square[:HOP] + square[HOP:]).repeat(2)
        self.register_buffer("waves", (parts * window / overlap).T.contiguous(), persistent=False)
        self.train(network.training)

    def forward(self, spectra: Tensor, *extra: Tensor) -> object:
        windows = F.linear(spectra.transpose(1, 2), self.waves.to(spectra.dtype))  # (n, frames, WINDOW)
        added = windows[:, :-1, HOP:] + windows[:, 1:, :HOP]
        return self.network(added.flatten(1)[:, None, : self.length], *extra)


def cells(spectra: Tensor) -> Tensor:
    """The cell of every number, (1, 2 * BINS, frames) int64: BANDS in frequency by up to TIMES in time."""
    frames = spectra.shape[2]
    times = min(TIMES, frames)
    band = torch.arange(BINS) * BANDS // BINS
    time = torch.arange(frames) * times // frames
    return (band.repeat(2)[:, None] * times + time)[None]


def in_frames(masks: Tensor, frames: int) -> Tensor:
    """Masks of waveforms (n, 1, T) as masks of frames, (n, 1, frames), taken at the middle of each frame."""
    middle = (torch.arange(frames) * HOP).clamp(max=masks.shape[2] - 1)
    return masks[:, :, middle]
