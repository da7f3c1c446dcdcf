"""Clips (n, C, T, H, W)."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    axes=("C", "T", "H", "W"),
    groups=groups.tubes_of_squares,
    called="tubes",
    features={"pixels": groups.pixels, "frames": groups.frames, "tubes": groups.own},
    blurred=2,
    picture=drawings.film,
    heat=drawings.film_heat,
)
