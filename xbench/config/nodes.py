"""Builds components from config nodes: finds conf/, checks names, types and ranges, and computes identities.

A node is a mapping with `_target_` and parameters. xbench builds everything from a config with `instantiate`, not with
Hydra's function of that name: YAML lists become the tuples of frozen dataclasses, errors of name, type or range give
the key in the config, and Hydra 1.4's list of allowed targets is not needed.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xbench.boundary.own_code import one_line
from xbench.config import sources
from xbench.config.arguments import ConfigError, check, fit, hints, join, nearest, parameters

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel contains conf/ inside the package; a checkout has it next to the package.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
__all__ = ["CONF", "ConfigError", "canonical", "identity", "instantiate", "nearest", "plain", "source"]
_BOOL = "true or false"
_FOLDERS = (["xbench", "algorithms"], ["xbench", "metrics"])
_SPECIAL = ("_target_", "_partial_", "_args_", "_recursive_")


def plain(node: DictConfig | Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The node as dictionaries and lists, with interpolations resolved and mandatory values checked."""
    if not isinstance(node, Mapping | DictConfig):
        raise ConfigError(f"{path} must be a component (a mapping with _target_), got {node!r}")
    if not isinstance(node, DictConfig):
        return dict(node)
    try:
        missing = sorted(OmegaConf.missing_keys(node))  # keys from the root of the node's config
        if missing:
            place = missing[0] if missing[0].startswith(f"{path}.") else join(path, missing[0])
            raise ConfigError(f"{place} must be given: add {place}=VALUE")
        found = OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    return cast(dict[str, Any], found)


def instantiate(node: DictConfig | Mapping[str, Any], path: str = "") -> Any:  # noqa: ANN401
    """Build the component that `node` describes, nested nodes first.

    `path` is the node's place in the config ("algorithm.ig"), for errors. `_partial_: true` gives a partial,
    `_recursive_: false` hands nested nodes over unbuilt, `_args_` are positional arguments, all as in Hydra.

    Raises:
        ConfigError: a target that cannot be imported, an unknown or missing parameter, a wrong type, or a
            value that the component refuses.
    """
    values = plain(node, path)
    target, given = _checked(values, path)
    build = _build if values.get("_recursive_", True) else lambda value, _path: value
    arguments = [build(value, f"{path}._args_") for value in values.get("_args_", ())]
    keywords = {name: build(value, f"{path}.{name}") for name, value in given.items()}
    if values.get("_partial_", False):
        return functools.partial(target, *arguments, **keywords)
    try:
        return target(*arguments, **keywords)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a user's component may raise anything to refuse its values
        raise ConfigError(f"{path}: {one_line(error)}") from error


def canonical(node: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """The node as JSON with every parameter, so that naming a default explicitly gives the same identity.

    `_target_` is the place of definition, not the alias in the config; `_version_` is the component's integer
    `version`, if any. Nested nodes, and defaults that are components, have the same form.
    """
    values = plain(node)
    target, given = _checked(values, str(values.get("_target_")))
    annotated = hints(target)
    defaults = {
        name: fit(parameter.default, annotated.get(name, Any))
        for name, parameter in (parameters(target) or {}).items()
        if parameter.default is not parameter.empty
    }
    if is_dataclass(target):  # the signature shows a placeholder for the default of a `default_factory`
        factories = {f.name: f.default_factory for f in fields(target) if callable(f.default_factory)}
        defaults |= {name: factory() for name, factory in factories.items() if name in defaults}
    special = {name: values[name] for name in ("_args_", "_partial_") if values.get(name)}
    every = special | defaults | given
    return _described(target) | {name: _json(value) for name, value in every.items()}


def source(node: DictConfig | Mapping[str, Any]) -> str | None:
    """The fingerprint of all source that the node builds from and that is not xbench's own; None: there is none.

    A class whose settings name code by other means than `_target_` has a method `computed_by`, which takes the node and
    returns that code, as objects or names of modules.
    """
    return sources.fingerprint(*_code(plain(node)))


def _checked(values: Mapping[str, Any], path: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The target of a node and its checked parameters. Raises ConfigError."""
    target = _locate(values, path)
    for name, kind, said in (("_args_", list, "a list"), ("_partial_", bool, _BOOL), ("_recursive_", bool, _BOOL)):
        if not isinstance(values.get(name, kind()), kind):
            raise ConfigError(f"{join(path, name)} must be {said}, got {values[name]!r}")
    given = {name: value for name, value in values.items() if name not in _SPECIAL}
    positional, partial = len(values.get("_args_", ())), values.get("_partial_", False)
    return target, check(target, given, path, positional=positional, partial=partial)


def _code(value: Any) -> Iterator[object]:  # noqa: ANN401  (any YAML value)
    """The code that a node runs: its targets, and the modules that name them."""
    if isinstance(value, dict):
        if "_target_" in value:
            target = _locate(value, "")
            yield target
            named = str(value["_target_"]).rpartition(".")[0]
            defined = str(getattr(target, "__module__", None))
            if named in sys.modules and not defined.startswith(f"{named}."):  # not a package that names its content
                yield named
            yield from getattr(target, "computed_by", lambda _node: ())(value)
        for inner in value.values():
            yield from _code(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _code(inner)


def _build(value: Any, path: str) -> Any:  # noqa: ANN401  (any YAML value)
    if isinstance(value, dict):
        if "_target_" in value:
            return instantiate(value, path)
        return {name: _build(inner, f"{path}.{name}") for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_build(inner, f"{path}[{i}]") for i, inner in enumerate(value))
    return value


def _locate(values: Mapping[str, Any], path: str) -> Callable[..., Any]:
    """The object named by `_target_`: the longest prefix that can be imported, then attributes."""
    dotted = str(values.get("_target_", ""))
    if not dotted:
        raise ConfigError(f"{path} has no _target_: it names no component; {sorted(values)} would go unused")
    place = join(path, "_target_")
    sources.note(dotted)
    found: Any = None
    names = dotted.split(".")
    for i, name in enumerate(names):
        module = ".".join(names[: i + 1])
        if inspect.ismodule(found) or found is None:
            try:
                found = importlib.import_module(module)
                continue
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise ConfigError(f"{place}: {module} needs the package '{error.name}'") from error
                if found is None:
                    raise ConfigError(f"{place}: there is no module '{module}' (in '{dotted}')") from error
            except ValueError as error:
                if not all(names):  # import_module("") and "..": an empty part of a dotted name
                    raise ConfigError(f"{place}: '{dotted}' is not a dotted name") from error
                raise ConfigError(f"{place}: {module} cannot be imported: {one_line(error)}") from error
            except (Exception, SystemExit) as error:  # a user's module, or one of a broken library, may raise anything
                raise ConfigError(f"{place}: {module} cannot be imported: {one_line(error)}") from error
        if not hasattr(found, name):
            public = [option for option in dir(found) if not option.startswith("_")]
            raise ConfigError(f"{place}: '{'.'.join(names[:i])}' has no '{name}'; {nearest(name, public)}")
        found = getattr(found, name)
    sources.check()
    if not callable(found):
        raise ConfigError(f"{place}: '{dotted}' is not a class or function")
    return cast(Callable[..., Any], found)


def identity(component: object) -> dict[str, Any]:
    """The identity of an existing component, in the form of `canonical`: a dataclass by its class and fields."""
    described = _json(component)
    assert isinstance(described, dict), "a component is a dataclass"
    return described


def _described(target: Callable[..., Any]) -> dict[str, Any]:
    version = getattr(target, "version", None)
    name = f"{_home(target.__module__)}.{target.__qualname__}"
    return {"_target_": name} | ({"_version_": version} if isinstance(version, int) else {})


def _home(module: str) -> str:
    """The name of a metric's or algorithm's module without its folder, so that a moved one keeps its results."""
    parts = module.split(".")
    return ".".join([*parts[:2], *parts[-1:]]) if parts[:2] in _FOLDERS and len(parts) > 2 else module


def _json(value: Any) -> Any:  # noqa: ANN401  (any value a parameter may have)
    """`value` as JSON; components by class and fields, functions and classes by their place of definition."""
    if isinstance(value, dict):
        if "_target_" in value:
            return canonical(value)
        return {str(key): _json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        given = {f.name: _json(getattr(value, f.name)) for f in fields(value) if f.init}
        return _described(type(value)) | given
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    kind = type(value).__name__
    raise ConfigError(f"{value!r} ({kind}) cannot be part of a result's identity; give it as text or numbers")
