"""Files of strangers before a decoder: which formats it may try, how large they may be, what a damaged one raises."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

PIXELS = 50_000_000  # of a picture or a frame: 150 MB while it is decoded
# Pillow would try every format that it knows, and hands PostScript over to Ghostscript, whatever the name of the file.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")


@contextlib.contextmanager
def reading(place: object, what: str = "cannot be read") -> Iterator[None]:
    """Inside the block, whatever a decoder raises is a ValueError that names the place; a missing package is not."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # of a damaged file a decoder raises anything: struct.error, ZeroDivisionError, its own
        raise ValueError(f"{place} {what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """One line on why a file cannot be read."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def shown(path: Path | str) -> str:
    """The path for a reader, also where its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def check_pixels(width: int, height: int, most: int) -> None:
    """Raises ValueError when that is more than is decoded."""
    if width * height > most:
        raise ValueError(
            f"it has {width} x {height} pixels, and at most {most:,} are decoded; make it smaller or raise "
            "dataset.max_pixels"
        )


@contextlib.contextmanager
def open_image(source: Path | BytesIO, most: int = PIXELS) -> Iterator[Any]:
    """A picture that is not decoded yet. Raises ValueError when it is none, or has more pixels than `most`."""
    from PIL import Image  # only needed here

    try:
        image = Image.open(source, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"it is no picture in {', '.join(FORMATS)}") from error
    with image:
        check_pixels(*image.size, most)
        yield image
