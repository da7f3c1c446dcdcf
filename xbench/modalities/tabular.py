"""Rows of a table (n, columns)."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    axes=("columns",),
    groups=groups.each,
    called="columns",
    features={"columns": groups.elements, "groups": groups.own},
    view="bars",
    heat=drawings.values,
    seconds=2e-6,
)
