"""Waveforms (n, 1, T)."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

CELLS = "cells"  # in time and frequency: what is explained is then the spectrum

MODALITY = Modality(
    axes=("1", "T"),
    groups=groups.in_time,
    called="windows",
    features={"samples": groups.elements, "windows": groups.windows_in_time, CELLS: groups.own},
    blurred=1,
    picture=drawings.sound,
    heat=drawings.sound_heat,
)
