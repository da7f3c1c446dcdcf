"""Reads weights without running code, loads them into a module, and computes their checksums."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from xbench.config import sources

NAMED = 8  # maximum number of keys in an error message


def digest(description: Mapping[str, object]) -> str:
    """sha256 of the canonical JSON of a description of everything that determines a model's outputs."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, allow_nan=False).encode()).hexdigest()


def module_digest(module: nn.Module) -> str:
    """sha256 over the parameters and buffers of a module: names, types, shapes and bytes.

    If a class of the module or of its parts is neither xbench's nor torch's, its source is included.
    """
    content = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    source = sources.fingerprint(*{type(part) for part in module.modules()})
    content.update(b"" if source is None else source.encode())
    return content.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a file that `torch.load(weights_only=True)` reads.

    From a file that holds {"state_dict": {...}} the inner dict is returned. Raises FileNotFoundError, or ValueError
    if the file is damaged, would run code, or holds anything other than named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights file {path} does not exist (paths are relative to {Path.cwd()})")
    try:
        if path.suffix == ".safetensors":
            found: object = load_safetensors(path.read_bytes())
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read as weights; a safetensors file or one that torch.load(weights_only=True) "
            f"accepts is needed: {error}"
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{path} must hold a state dict of named tensors, got {type(found).__name__}")
    return dict(found)


def fit_weights(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into `module`. Raises ValueError naming missing, unexpected and misshapen tensors."""
    own = module.state_dict()
    problems = []
    for title, names in (("missing", own.keys() - state.keys()), ("unexpected", state.keys() - own.keys())):
        if names:
            problems.append(f"{title} {_listed(sorted(names))}")
    shapes = [
        f"{name} (file {tuple(state[name].shape)}, model {tuple(own[name].shape)})"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if shapes:
        problems.append(f"wrong shape {_listed(shapes)}")
    if problems:
        raise ValueError(f"{source} does not fit {type(module).__name__}: " + "; ".join(problems))
    module.load_state_dict(state)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
