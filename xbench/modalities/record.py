"""`Modality`: everything that xbench knows about one kind of data. No torch: whoever reads names must not load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Shaped(Protocol):
    """A part of samples that are numbers, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class Grouped(Protocol):
    """Samples as a model takes them, as far as features follow from them; see `xbench.models.record.Encoded`."""

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...
    @property
    def features(self) -> tuple[Tensor, ...] | None: ...
    @property
    def tokens(self) -> tuple[tuple[str, ...], ...] | None: ...


@dataclass(frozen=True, kw_only=True)
class Modality:
    """The facts of one kind of data; its name is that of the file in `xbench/modalities/` that holds it.

    holds: what samples are: numbers, texts, or parts of both kinds.
    axes: the dimensions of one sample that is one tensor, for messages; "1" has one entry. None: samples are texts or
        have several parts, and no function of a user's gives them.
    groups: features of samples of a shape, (1, *shape) int64, where the data set brings none. Needs `axes`.
    called: what the features that a data set brings are, for tables.
    features: what `features=` offers: a name, and the groups of samples, one tensor (1 or n, ...) per input.
    blurred: how many of the last axes have neighbours that are alike, which `baseline=blur` blurs. None: none have.
    view: how the report shows samples and maps: a picture, words, bars (a value per named element), or both, a picture
        above words.
    picture: samples by part, and the range of their values, as pictures (n, H, W, 1 or 3) in 0..1. None: words or bars
        stand for them.
    heat: maps (n, ...) of the parts as "heat", in the frame of the picture or one of which it is a multiple, or one
        value per word or bar; "words" are the values of the words below a picture. None where the maps have not the
        form of the samples, as at a layer.
    seconds: of training a reference model, per row and epoch on one core, for the line in the log.
    """

    holds: Literal["numbers", "texts", "both"] = "numbers"
    axes: tuple[str, ...] | None = None
    groups: Callable[[tuple[int, ...]], Tensor] | None = None
    called: str = "features"
    features: Mapping[str, Callable[[Grouped], tuple[Tensor, ...]]] = field(default_factory=dict)
    blurred: int | None = None
    view: Literal["picture", "words", "bars", "both"] = "picture"
    picture: Callable[[Mapping[str, Tensor], tuple[float, float] | None], np.ndarray] | None = None
    heat: Callable[[Mapping[str, Shaped], tuple[Tensor, ...]], dict[str, np.ndarray] | None]
    seconds: float = 1e-3

    @property
    def form(self) -> str:
        """Samples together, as messages write it: (n, C, H, W)."""
        return f"(n, {', '.join(self.axes or ())})"
