"""An image with a sentence, parts named image (n, C, H, W) and text."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    holds="both",
    features={"pixels": groups.pixels, "patches": groups.eighths, "superpixels": groups.superpixels},
    blurred=2,
    view="both",
    picture=drawings.image,
    heat=drawings.image_and_words_heat,
)
