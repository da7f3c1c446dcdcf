"""A folder of video clips per class."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.folders import Folder
from xbench.datasets.images import tubes


@dataclass(frozen=True)
class ClipFolder(Folder):
    """Video clips in a folder per class: `frames` frames spread evenly over each clip, resized to side x side.

    Clips may have any length from one frame on; a frame is used twice where there are too few. Needs PyAV:
    `pip install 'xbench[video]'`. Grey is the baseline; tubes of a seventh of the side over two frames are features.
    """

    endings: ClassVar[tuple[str, ...]] = (".mp4", ".avi", ".mov", ".mkv", ".webm")
    kind: ClassVar[str] = "clip"
    modality: ClassVar[str] = "video"
    level: ClassVar[float] = 0.5

    frames: int = 16
    side: int = 112

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.frames, self.side, self.side)

    def check(self, content: bytes) -> None:
        av = _decoder()
        with av.open(io.BytesIO(content)) as clip:
            if not clip.streams.video:
                raise ValueError("it has no pictures, only sound")

    def decode(self, content: bytes) -> Tensor:
        av = _decoder()
        size = {"width": self.side, "height": self.side}
        with av.open(io.BytesIO(content)) as clip:
            pictures = [frame.to_ndarray(format="rgb24", **size) for frame in clip.decode(video=0)]
        if not pictures:
            raise ValueError("it has no frames")
        chosen = np.linspace(0, len(pictures) - 1, self.frames).round().astype(int)
        clip_values = torch.from_numpy(np.stack([pictures[i] for i in chosen]))
        return clip_values.permute(3, 0, 1, 2).float() / 255

    def features(self) -> Tensor:
        return tubes(3, self.frames, self.side, self.side, -(-self.side // 7))


def _decoder() -> Any:  # noqa: ANN401  (a module that may be absent)
    try:
        import av
    except ImportError as error:
        raise ModuleNotFoundError("video files need PyAV: pip install 'xbench[video]'") from error
    return av
