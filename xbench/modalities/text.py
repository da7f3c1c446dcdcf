"""Texts: words in their order; a model's encoder makes tokens of them."""

from xbench.modalities.late import drawings, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    holds="texts",
    features={"tokens": groups.tokens, "words": groups.own, "sentences": groups.sentences},
    view="words",
    heat=drawings.values,
    seconds=2.0e-4,
)
