"""Limits the size of YAML: aliases and interpolations can expand a few lines to endless values."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xbench.config.arguments import ConfigError, join

MOST = 100_000  # maximum number of values, with every alias and interpolation expanded
DEEPEST = 50  # maximum depth of nesting


def check_aliases(path: Path) -> None:
    """Raise ConfigError if a file's aliases are circular or multiply; other problems are reported on use."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        size = 0 if root is None else _size(root, {})
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return
    except RecursionError as error:
        raise ConfigError(f"{path}: an alias stands inside itself, or values are nested too deeply") from error
    if size > MOST:
        raise ConfigError(f"{path}: its aliases stand for more than {MOST} values; write it without them")


def check_values(node: DictConfig, key: str) -> None:
    """Check that everything at `key`, with interpolations, exists, is finite, and has text keys.

    Raises:
        ConfigError: the first problem found.
    """
    _walk(node, key, key, 0, 0)


def _walk(node: DictConfig | ListConfig, key: Any, place: str, depth: int, seen: int) -> int:  # noqa: ANN401  (any key)
    """The number of values, plus those `seen` before."""
    if seen > MOST or depth > DEEPEST:
        raise ConfigError(f"{place}: it is nested too deeply, or interpolations in it go in circles or multiply")
    try:
        value = None if OmegaConf.is_missing(node, key) else node[key]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{place}: {' '.join(str(error).split())}") from error
    if isinstance(value, DictConfig):
        for inner in value:
            if not isinstance(inner, str):
                kind = type(inner).__name__
                raise ConfigError(f"{place}: keys are text, got {inner!r} ({kind}); write it in quotes")
            seen = _walk(value, inner, join(place, inner), depth + 1, seen)
    elif isinstance(value, ListConfig):
        for number in range(len(value)):
            seen = _walk(value, number, f"{place}[{number}]", depth + 1, seen)
    return seen + 1


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values with every alias expanded; the size of a shared node is computed once."""
    if id(node) not in known:
        pairs = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
