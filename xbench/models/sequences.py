"""Networks for data in time: series, waveforms, spectrograms and clips."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from xbench.boundary import libraries


class SeriesCNN(nn.Module):
    """Series (n, channels, steps) -> logits (n, classes): three convolutions in time, the maximum over time.

    shape: (channels, steps). classes: how many outputs. width: of the first convolution.
    """

    modality: ClassVar[str] = "series"

    def __init__(self, shape: tuple[int, int], classes: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(shape[0], width, 9, padding=4),
            nn.ReLU(),
            nn.Conv1d(width, width, 9, padding=4),
            nn.ReLU(),
            nn.Conv1d(width, 2 * width, 9, padding=4),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(1),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(2 * width, classes))

    def forward(self, series: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(series))
        return logits


class SeriesLSTM(nn.Module):
    """Series (n, channels, steps) -> logits (n, classes): an LSTM in both directions, the maximum over time.

    shape: (channels, steps). classes: how many outputs. width: of the hidden state.
    """

    modality: ClassVar[str] = "series"

    def __init__(self, shape: tuple[int, int], classes: int, width: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(shape[0], width, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, series: Tensor) -> Tensor:
        states, _ = self.lstm(series.transpose(1, 2))
        logits: Tensor = self.classifier(states.amax(1))
        return logits


class M5(nn.Module):
    """Waveforms (n, 1, samples) -> logits (n, classes).

    Source: Dai, Dai, Qu, Li, Das 2017, "Very Deep Convolutional Neural Networks for Raw Waveforms" (arXiv
    1610.00087), the network with five weight layers. Differences from the paper: fewer channels, a first window that
    fits rates from 4 to 16 kHz, and a last pooling that averages over the remaining time.

    shape: (1, samples). classes: how many outputs. width: channels of the first convolution.
    """

    modality: ClassVar[str] = "audio"

    def __init__(self, shape: tuple[int, int], classes: int, width: int = 32) -> None:
        super().__init__()
        if shape[1] < 1280:
            raise ValueError(f"waveforms must have at least 1280 samples for five poolings, got {shape[1]}")
        widths = [shape[0], width, width, 2 * width, 2 * width]
        layers: list[nn.Module] = []
        for place, (given, made) in enumerate(pairwise(widths)):
            kernel, stride = (40, 4) if place == 0 else (3, 1)
            layers += [
                nn.Conv1d(given, made, kernel, stride=stride, padding=kernel // 2),
                nn.BatchNorm1d(made),
                nn.ReLU(),
                nn.MaxPool1d(4),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, waves: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(waves).mean(2))
        return logits


class MelCNN(nn.Module):
    """Waveforms (n, 1, samples) -> logits (n, classes): a convolutional network on log mel spectrograms.

    torchaudio's spectrogram is part of the model, so attributions reach the waveform.

    shape: (1, samples). classes: how many outputs. rate: samples per second.
    bands: number of mel bands. width: channels of the first convolution.
    """

    modality: ClassVar[str] = "audio"

    def __init__(
        self, shape: tuple[int, int], classes: int, rate: int | None = None, bands: int = 40, width: int = 16
    ) -> None:
        super().__init__()
        with libraries.extra("audio", "model=mel_cnn"):
            from torchaudio.transforms import MelSpectrogram  # only needed here, and slow to load

        if rate is None:
            raise ValueError("rate: these data do not say how many samples a second has; give model.architecture.rate")

        self.spectrogram = MelSpectrogram(rate, n_fft=400 if rate >= 8000 else 256, hop_length=80, n_mels=bands)
        self.features = nn.Sequential(
            nn.BatchNorm2d(1),
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, waves: Tensor) -> Tensor:
        bands = torch.log(self.spectrogram(waves) + 1e-4)
        logits: Tensor = self.classifier(self.features(bands).mean((2, 3)))
        return logits


class VideoCNN(nn.Module):
    """Clips (n, channels, frames, height, width) in [0, 1] -> logits (n, classes): convolutions in space and time.

    shape: (channels, frames, height, width). classes: how many outputs. width: of the first convolution.
    """

    modality: ClassVar[str] = "video"

    def __init__(self, shape: tuple[int, int, int, int], classes: int, width: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(shape[0], width, (3, 5, 5), padding=(1, 2, 2)),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(2.0 * clips - 1.0).mean((2, 3, 4)))
        return logits
