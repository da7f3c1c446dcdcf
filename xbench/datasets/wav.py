"""Reads and resamples WAV files."""

from __future__ import annotations

import io
import math
import warnings

import torch
from torch import Tensor

from xbench.boundary import libraries
from xbench.datasets.decoding import reading

_KERNEL = 2**24  # maximum size of the resampling filter; 44,100 to 48,000 per second needs 23,520 numbers


def read_wav(content: bytes, place: str) -> tuple[Tensor, int]:
    """A WAV file as (T,) in -1..1, channels averaged, and its rate. Raises ValueError naming the place."""
    from scipy.io import wavfile  # only needed here, and slow to load

    with reading(place, "is no WAV file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # raised for non-audio chunks
        warnings.filterwarnings("error", "Reached EOF prematurely", wavfile.WavFileWarning)
        rate, samples = wavfile.read(io.BytesIO(content))
        wave = torch.from_numpy(samples.copy())
    if samples.size == 0 or rate < 1:
        raise ValueError(f"{place} holds no sound ({samples.size} samples, {rate} per second)")
    scale = 1.0 if wave.is_floating_point() else float(torch.iinfo(wave.dtype).max)
    wave = (wave.float() - 128) / 127 if wave.dtype == torch.uint8 else wave.float() / scale
    if not bool(wave.isfinite().all()):
        raise ValueError(f"{place} holds a sample that is no number")
    return (wave.mean(1) if wave.dim() == 2 else wave), rate


def resampled(wave: Tensor, own: int, rate: int, place: str) -> Tensor:
    """Resample a recording (T,) from `own` to `rate` samples per second. Raises ValueError if the filter is huge."""
    common = math.gcd(own, rate)
    if own // common * (rate // common) > _KERNEL:
        raise ValueError(f"{place} has {own} samples per second, which have too little in common with {rate}")
    with libraries.extra("audio", f"{place}: to take {own} samples per second at {rate}"):
        from torchaudio.functional import resample  # only needed here, and slow to load

    resampled: Tensor = resample(wave, own, rate)
    return resampled
