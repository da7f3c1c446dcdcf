"""Values of the environment stay out of what is written and sent: the name of the variable stands in their place."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)
_PLACE = re.compile(r"_(PATH|FILE|DIR)$", re.IGNORECASE)
_LONG = 8  # characters from which a value is also found inside a text; a shorter one could be any word


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds what nobody else may see, such as HF_TOKEN; HF_TOKEN_PATH does not."""
    return bool(_SECRET.search(name)) and not _PLACE.search(name)


def by_name(cfg: DictConfig) -> dict[str, Any]:
    """The config with everything resolved but `${oc.env:NAME}`, which stays as it is written."""
    with _names():
        return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


class Redactor:
    """Puts names in the place of values: those that the configs take from the environment, and those of secrets."""

    def __init__(self, configs: Sequence[DictConfig]) -> None:
        self._settings: dict[tuple[str, str], str] = {}
        for cfg in configs:
            self._settings |= dict(_differing("", OmegaConf.to_container(cfg, resolve=True), by_name(cfg)))
        parts = {value: _written(name) for name, value in os.environ.items() if is_secret(name)}
        parts |= {value: name for (_, value), name in self._settings.items()}
        long = [part for part in parts.items() if len(part[0]) >= _LONG]
        self._parts = sorted(long, key=lambda part: -len(part[0]))  # one may hold another

    def __call__(self, value: Any, key: str = "") -> Any:  # noqa: ANN401  (any JSON, and the same again)
        """The value without secrets; `key` is the setting that it is of."""
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
        """A cell's record without secrets; its key is made of the values."""
        info = record.get("info", {})
        if "parameters" in info:
            info = info | {"parameters": self(info["parameters"])}
        told = {name: self(record[name]) for name in ("identity", "reason", "traceback") if name in record}
        return {**record, **told, **({"info": info} if "info" in record else {})}


def _written(name: str) -> str:
    return f"${{oc.env:{name}}}"


@contextmanager
def _names() -> Iterator[None]:
    """Inside the block `oc.env` gives the name of a variable that is set, as it is written in a config."""

    def resolve(name: str, *default: Any) -> Any:  # noqa: ANN401  (a default may be anything)
        return _written(name) if name in os.environ else oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", resolve, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _differing(key: str, values: Any, names: Any) -> Iterator[tuple[tuple[str, str], str]]:  # noqa: ANN401  (any JSON)
    """Texts of the first that are others in the second, with the settings that they are of."""
    if isinstance(values, dict) and isinstance(names, dict):
        for name in values.keys() & names.keys():
            yield from _differing(str(name), values[name], names[name])
    elif isinstance(values, list) and isinstance(names, list):
        for value, name in zip(values, names, strict=False):
            yield from _differing(key, value, name)
    elif isinstance(values, str) and isinstance(names, str) and values != names:
        yield (key, values), names
