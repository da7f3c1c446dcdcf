"""The cache of trained reference models: one folder per model, whole files, checksums."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from xbench.boundary.files import set_aside, write_atomic
from xbench.datasets.cache import sha256_file
from xbench.models.vocabulary import Vocabulary

log = logging.getLogger("xbench")

CARD = "model.json"


@dataclass(frozen=True)
class Trained:
    """Result of training: the weights, the vocabulary of a text model, and the test accuracy."""

    state: dict[str, Tensor]
    vocabulary: Vocabulary | None
    accuracy: float
    sha256: str


def fingerprint(folder: Path) -> str | None:
    """sha256 of the cached weights file; None if it is absent or damaged."""
    card = _card(folder)
    if card is None:
        return None
    weights = folder / _weights_name(str(card["sha256"]))
    return str(card["sha256"]) if weights.is_file() and sha256_file(weights) == card["sha256"] else None


def load(folder: Path) -> Trained | None:
    """The trained model in this folder; None if it is absent or damaged. A damaged model is set aside."""
    if not (folder / CARD).exists():
        return None
    if fingerprint(folder) is None:
        _set_aside(folder, "its checksum is wrong or a file is damaged")
        return None
    card = _card(folder)
    assert card is not None  # fingerprint has read it
    weights = folder / _weights_name(str(card["sha256"]))
    try:
        state = load_safetensors(weights.read_bytes())
        with safe_open(weights, framework="pt") as opened:
            words = (opened.metadata() or {}).get("vocabulary")
        vocabulary = None if words is None else Vocabulary.from_json(words)
        return Trained(state, vocabulary, float(str(card["accuracy"])), str(card["sha256"]))
    except (SafetensorError, ValueError, OSError) as error:
        _set_aside(folder, str(error))
        return None


def save(
    folder: Path,
    state: dict[str, Tensor],
    vocabulary: Vocabulary | None,
    accuracy: float,
    about: dict[str, object],
) -> Trained:
    """Store a trained model. The weights are named by their checksum and written first, so that two processes that
    train the same model at once cannot leave a card that does not match the weights.
    """
    metadata = None if vocabulary is None else {"vocabulary": vocabulary.to_json()}
    content = save_safetensors({name: tensor.contiguous() for name, tensor in state.items()}, metadata)
    sha256 = hashlib.sha256(content).hexdigest()
    write_atomic(folder / _weights_name(sha256), content)
    card = {**about, "accuracy": accuracy, "sha256": sha256}
    write_atomic(folder / CARD, json.dumps(card, indent=1, sort_keys=True).encode())
    return Trained(state, vocabulary, accuracy, sha256)


def check_writable(folder: Path) -> None:
    """Raise OSError before the training if the folder cannot be written."""
    probe = folder / "writable"
    write_atomic(probe, b"")
    probe.unlink(missing_ok=True)


def _weights_name(sha256: str) -> str:
    return f"weights-{sha256[:12]}.safetensors"


def _card(folder: Path) -> dict[str, object] | None:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = isinstance(card, dict) and isinstance(card.get("sha256"), str) and "accuracy" in card
    return card if complete else None


def _set_aside(folder: Path, reason: str) -> None:
    log.warning("the cached model in %s is set aside and trained again: %s", folder, reason)
    for path in [folder / CARD, *folder.glob("weights-*.safetensors")]:
        set_aside(path, reason)
