"""A folder of video clips per class."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xbench.boundary import libraries
from xbench.datasets.decoding import check_pixels
from xbench.datasets.folders import Folder
from xbench.modalities.parts.groups import tubes

# By default FFmpeg tries every format it knows, and some, such as playlists, make it open other files.
_FORMATS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm", "protocol_whitelist": "file"}


@dataclass(frozen=True)
class ClipFolder(Folder):
    """Video clips in a folder per class: `frames` frames spread evenly over each clip, resized to side x side.

    Clips have at least one frame; frames of short clips are repeated. Needs PyAV: `pip install 'xbench[video]'`. The
    baseline is grey; the features are tubes of a seventh of the side over two frames.
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

    def check(self, path: Path) -> None:
        with self._open(path):
            pass

    def decode(self, path: Path) -> Tensor:
        with self._open(path) as clip:  # count the frames: the header may be wrong
            count = sum(1 for _ in clip.decode(video=0))
        if not count:
            raise ValueError("it has no frames")
        chosen = np.linspace(0, count - 1, self.frames).round().astype(int).tolist()
        wanted, pictures = set(chosen), {}
        with self._open(path) as clip:
            for place, frame in enumerate(clip.decode(video=0)):
                if place in wanted:
                    pictures[place] = frame.to_ndarray(format="rgb24", width=self.side, height=self.side)
        values = torch.from_numpy(np.stack([pictures[place] for place in chosen]))
        return values.permute(3, 0, 1, 2).float() / 255

    @contextlib.contextmanager
    def _open(self, path: Path) -> Iterator[Any]:
        """Open a clip and check the size of its frames."""
        with libraries.extra("video", "dataset=clip_folder"):
            import av
        with av.open(str(path), options=_FORMATS) as clip:
            if not clip.streams.video:
                raise ValueError("it has no pictures, only sound")
            check_pixels(clip.streams.video[0].width, clip.streams.video[0].height, self.max_pixels)
            yield clip

    def features(self) -> Tensor:
        return tubes(3, self.frames, self.side, self.side, -(-self.side // 7))
