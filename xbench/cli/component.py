"""Prints one data set or model in full: its parameters as command-line keys, and the docstring of its class."""

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from xbench.boundary.printable import say
from xbench.config.arguments import parameters
from xbench.config.compose import Composer
from xbench.config.nodes import instantiate


def show(group: str, name: str, description: str, config_dir: Path | None) -> None:
    """Print one option; imports its class."""
    node = Composer(None if config_dir is None else str(config_dir)).option(group, name)
    given = cast(dict[str, Any], OmegaConf.to_container(node))
    target = instantiate({"_target_": given["_target_"], "_partial_": True}, group).func
    lines = list(_parameters(group, given, target)) or ["there are none"]
    text = [name, f"    {description}", "", f"class  {target.__module__}.{target.__qualname__}", "", "parameters"]
    said = inspect.cleandoc(target.__doc__ or "")
    say("\n".join([*text, *(f"    {line}" for line in lines), "", said]).rstrip(), sys.stdout)


def _parameters(group: str, given: Mapping[str, Any], target: Callable[..., Any]) -> Iterator[str]:
    """The parameters of the option file, with `???` for required ones; then the class's other defaults."""
    yield from _flat(group, given)
    for name, parameter in (parameters(target) or {}).items():
        if name not in given and parameter.default is not parameter.empty:
            yield f"+{group}.{name}={_shown(parameter.default)}"


def _flat(place: str, value: object) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{place}={_shown(value)}"
        return
    for name, inner in value.items():
        if name != "_partial_" and not (name == "_target_" and inner != "???"):
            yield from _flat(f"{place}.{name}", inner)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
