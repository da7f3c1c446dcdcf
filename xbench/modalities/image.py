"""Images (n, C, H, W)."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    axes=("C", "H", "W"),
    groups=groups.squares,
    called="patches",
    features={"pixels": groups.pixels, "patches": groups.eighths, "superpixels": groups.superpixels},
    blurred=2,
    picture=drawings.image,
    heat=drawings.image_heat,
    seconds=2.7e-4,
)
