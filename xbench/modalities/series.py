"""Series of one or several channels (n, C, T)."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    axes=("C", "T"),
    groups=groups.in_time,
    called="windows",
    features={"samples": groups.elements, "windows": groups.windows_in_time, "channels": groups.channels},
    blurred=1,
    picture=drawings.series,
    heat=drawings.series_heat,
)
