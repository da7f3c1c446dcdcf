"""Decodes untrusted files: limits formats and sizes, and turns decoder errors into ValueError."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

PIXELS = 50_000_000  # per picture or frame: 150 MB during decoding
# By default Pillow tries every format it knows, whatever the file's name, and hands PostScript over to Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")


@contextlib.contextmanager
def reading(place: object, what: str = "cannot be read") -> Iterator[None]:
    """Turn any error of a decoder inside the block into a ValueError that names the place, except a missing package."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # decoders raise anything: struct.error, ZeroDivisionError, their own
        raise ValueError(f"{place} {what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The reason why a file cannot be read, in one line."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def shown(path: Path | str) -> str:
    """The path as printable text, even if its bytes are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def check_pixels(width: int, height: int, most: int) -> None:
    """Raise ValueError if width x height exceeds `most` pixels."""
    if width * height > most:
        raise ValueError(
            f"it has {width} x {height} pixels, and at most {most:,} are decoded; make it smaller or raise "
            "dataset.max_pixels"
        )


@contextlib.contextmanager
def open_image(source: Path | BytesIO, most: int = PIXELS) -> Iterator[Any]:
    """Open a picture without decoding it. Raises ValueError if it is not a picture or has more than `most` pixels."""
    from PIL import Image, UnidentifiedImageError  # only needed here

    try:
        image = Image.open(source, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(f"it is no picture in {', '.join(FORMATS)}") from error
    with image:
        check_pixels(*image.size, most)
        yield image
