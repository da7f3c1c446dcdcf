"""Replaces values of environment variables by the variable's name in everything that is written or sent."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)
_PLACE = re.compile(r"_(PATH|FILE|DIR)$", re.IGNORECASE)
_LONG = 8  # minimum characters of a value that is replaced inside a text; a shorter value could be an ordinary word


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret: HF_TOKEN does, HF_TOKEN_PATH does not."""
    return bool(_SECRET.search(name)) and not _PLACE.search(name)


def by_name(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config, with `${oc.env:NAME}` left as written."""
    with _names():
        return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


class Redactor:
    """Replaces environment values that the configs use, and values of secret variables, by the variables' names."""

    def __init__(self, configs: Sequence[DictConfig]) -> None:
        self._settings: dict[tuple[str, str], str] = {}
        for cfg in configs:
            self._settings |= dict(_differing("", OmegaConf.to_container(cfg, resolve=True), by_name(cfg)))
        parts = {value: _written(name) for name, value in os.environ.items() if is_secret(name)}
        parts |= {value: name for (_, value), name in self._settings.items()}
        long = [part for part in parts.items() if len(part[0]) >= _LONG]
        self._parts = sorted(long, key=lambda part: -len(part[0]))  # longest first: one value may contain another

    def __call__(self, value: Any, key: str = "") -> Any:  # noqa: ANN401  (any JSON, and the same again)
        """The value without secrets; `key` names its setting."""
        if isinstance(value, str):
            if (key, value) in self._settings:
                return self._settings[key, value]
            for secret, name in self._parts:
                value = value.replace(secret, name)
            return value
        if isinstance(value, Mapping):
            return {name: self(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(inner, key) for inner in value]
        return value

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A cell's record without secrets; its key is computed from the unredacted values."""
        info = record.get("info", {})
        if "parameters" in info:
            info = info | {"parameters": self(info["parameters"])}
        told = {name: self(record[name]) for name in ("identity", "reason", "traceback") if name in record}
        return {**record, **told, **({"info": info} if "info" in record else {})}


def _written(name: str) -> str:
    return f"${{oc.env:{name}}}"


@contextmanager
def _names() -> Iterator[None]:
    """Inside the block, `oc.env` resolves a variable that is set to `${oc.env:NAME}` instead of its value."""

    def resolve(name: str, *default: Any) -> Any:  # noqa: ANN401  (a default has any type)
        return _written(name) if name in os.environ else oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", resolve, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _differing(key: str, values: Any, names: Any) -> Iterator[tuple[tuple[str, str], str]]:  # noqa: ANN401  (any JSON)
    """Strings that differ between `values` and `names`, as ((setting, value), name)."""
    if isinstance(values, dict) and isinstance(names, dict):
        for name in values.keys() & names.keys():
            yield from _differing(str(name), values[name], names[name])
    elif isinstance(values, list) and isinstance(names, list):
        for value, name in zip(values, names, strict=False):
            yield from _differing(key, value, name)
    elif isinstance(values, str) and isinstance(names, str) and values != names:
        yield (key, values), names
