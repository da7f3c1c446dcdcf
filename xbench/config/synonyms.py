"""Maps names of Captum's classes, in any spelling, to options."""

from __future__ import annotations

from collections.abc import Sequence

# Keys are the letters of the name; names with the same letters as the option, such as GuidedGradCam, need no entry.
_CAPTUM = {
    "gradient": "saliency",
    "integratedgradients": "ig",
    "limebase": "lime",
    "noisetunnel": "smoothgrad",
    "shapleyvaluesampling": "shapley_sampling",
    "shapleyvalues": "shapley_exact",
}
_LAYER = dict.fromkeys(("activation", "conductance", "gradient_x_activation", "internal_influence"), "read=NAME")
_NEURON = "neuron=[LAYER,INDEX]"


def synonym(name: str, options: Sequence[str]) -> str | None:
    """The option that `name` means, with the setting for Captum's layer and neuron classes; None if unknown.

    `LayerIntegratedGradients` and `layer_integrated_gradients` give "ig with layer=NAME".
    """
    letters = _letters(name)
    meant = _option(letters, options)
    if meant is None and letters.startswith("neuron"):
        meant = _option(letters.removeprefix("neuron"), options)
        return meant and f"{meant} with {_NEURON}"
    if meant is None and letters.startswith("layer"):
        meant = _option(letters.removeprefix("layer"), options)
        return meant and f"{meant} with {_LAYER.get(meant, 'layer=NAME')}"
    return meant


def _option(letters: str, options: Sequence[str]) -> str | None:
    """The option with these letters, or the option of Captum's name."""
    by_letters = {_letters(option): option for option in options}
    meant = _CAPTUM.get(letters) or by_letters.get(letters)
    return meant if meant in options else None


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
