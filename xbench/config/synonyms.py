"""What others call the same thing: Captum's classes, in any spelling, and the option that is meant."""

from __future__ import annotations

from collections.abc import Sequence

# Letters of the name alone; a name that becomes an option's by its letters alone, such as GuidedGradCam, needs none.
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
    """The option that `name` means, with the setting where Captum's class says where it looks; None if there is none.

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
    """The option of these letters alone, or the one that Captum's name stands for."""
    by_letters = {_letters(option): option for option in options}
    meant = _CAPTUM.get(letters) or by_letters.get(letters)
    return meant if meant in options else None


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
