"""Arrays as data URIs: attribution maps as 8-bit grey PNGs that the browser colours, inputs as they are."""

import base64
import io

import numpy as np
from PIL import Image

LONGEST = 256  # pixels; larger pictures are reduced, because a gallery shows them about 110 pixels wide
PERCENTILE = 99.0


def scale(heat: np.ndarray) -> float:
    """The magnitude shown in the strongest colour: the 99th percentile of |heat|, 0 for a map of zeros.

    If the 99th percentile is 0 (one hot pixel), the largest magnitude is used instead.
    """
    size = np.abs(heat)
    return float(np.percentile(size, PERCENTILE) or size.max(initial=0.0))


def map_png(heat: np.ndarray) -> tuple[str, float]:
    """A finite map (H, W) as a grey PNG data URI and its scale: 1 = -scale, 128 = 0, 255 = +scale."""
    heat = _reduced(np.asarray(heat, dtype=np.float32))
    limit = scale(heat)
    unit = heat / limit if limit else heat
    grey = np.round(128 + 127 * np.clip(unit, -1, 1)).astype(np.uint8)
    return _uri(Image.fromarray(grey)), limit


def input_png(image: np.ndarray) -> str:
    """An input (H, W, 1 or 3) in 0..1 as a PNG data URI; values outside are clipped."""
    image = np.clip(np.asarray(image, dtype=np.float32), 0, 1)
    channels = [_reduced(image[..., channel]) for channel in range(image.shape[-1])]
    pixels = np.round(255 * np.stack(channels, axis=-1)).astype(np.uint8)
    return _uri(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _reduced(plane: np.ndarray) -> np.ndarray:
    """`plane` (H, W), averaged down so that its longer side is at most LONGEST."""
    height, width = plane.shape
    if max(height, width) <= LONGEST:
        return plane
    factor = LONGEST / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX))


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
