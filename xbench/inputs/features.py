"""`features=`: chooses features by name for any data: pixels or superpixels, words or sentences, edges."""

from __future__ import annotations

from dataclasses import replace

import torch

from xbench.datasets.record import Dataset
from xbench.modalities import MODALITIES
from xbench.modalities.audio import CELLS
from xbench.modalities.parts.groups import Groups
from xbench.modalities.parts.spectral import cells, in_frames, spectrum
from xbench.models.record import Encoded


def regroup(name: str, dataset: Dataset, encoded: Encoded) -> Groups:
    """The features named `name`, one tensor (1 or n, ...) per input; elements outside any feature stay outside.

    Raises ValueError, naming the available features, if the data have none of this name.
    """
    _check(name, dataset)
    made = MODALITIES[dataset.modality].features[name](encoded)
    if encoded.features is None:
        return made
    return tuple(
        torch.where(own < 0, -1, group) if bool((own < 0).any()) else group
        for own, group in zip(encoded.features, made, strict=True)
    )


def as_cells(
    dataset: Dataset, encoded: Encoded, baselines: Groups, distribution: Groups | None
) -> tuple[Encoded, Groups, Groups | None]:
    """Waveforms and their baselines as spectra, with time-frequency cells as features; see `modalities.parts.spectral`.

    Raises ValueError if the data are not sounds.
    """
    _check(CELLS, dataset)
    (waves,) = encoded.inputs
    spectra = spectrum(waves)
    masks = encoded.masks and tuple(in_frames(mask, spectra.shape[2]) for mask in encoded.masks)
    made = replace(
        encoded,
        inputs=(spectra,),
        baseline=tuple(map(spectrum, encoded.baseline)),
        features=(cells(spectra),),
        masks=masks,
    )
    return made, tuple(map(spectrum, baselines)), distribution and tuple(map(spectrum, distribution))


def _check(name: str, dataset: Dataset) -> None:
    choices = MODALITIES[dataset.modality].features
    if name not in choices:
        known = ", ".join(choices)
        raise ValueError(f"features: {dataset.modality} data have {known}, not {name!r}; null is the data set's own")
