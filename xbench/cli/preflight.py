"""Checks a configuration completely before loading data or models."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from xbench.cli import launchers
from xbench.config import devices
from xbench.config.arguments import check, join
from xbench.config.bounds import check_values
from xbench.config.compose import Composer, is_component, settle, values
from xbench.config.keys import (
    COMPONENTS,
    GROUPS,
    KEYS,
    ONE_PER_COMMAND,
    RUN,
    SETTINGS,
    SINGLE,
    Run,
    Settings,
)
from xbench.config.nodes import ConfigError, instantiate, nearest, plain

_BUILT = ("control", "metric", "algorithm")


@dataclass(frozen=True)
class Job:
    """One composed and checked job of a command."""

    number: int  # the position in the sweep, 0 for a single job
    overrides: tuple[str, ...]
    cfg: DictConfig  # the settled config, see `settle`
    settings: Mapping[str, str]  # the overrides of keys that are not groups: {"algorithm.ig.n_steps": "50"}
    launcher: DictConfig  # Hydra's launcher, the same for all jobs


def preflight(composer: Composer, overrides: Sequence[str], multirun: bool) -> list[Job]:
    """The jobs of a command line, expanded like Hydra's, each composed and checked.

    Names are checked first, without torch; components are then built, which imports their classes but loads no data and
    no model.

    Raises:
        ConfigError: the first problem found.
    """
    check_names(composer, overrides)
    composed = _compose(composer, overrides, multirun)
    for _, cfg in composed:
        _check_keys(cfg)
        for key in KEYS:
            check_values(cfg, key)
    _check_used([cfg for _, cfg in composed])
    jobs = [
        Job(number, texts, settle(cfg, cfg.hydra.runtime.choices), _settings_of(composer, texts), cfg.hydra.launcher)
        for number, (texts, cfg) in enumerate(composed)
    ]
    _check_settings(jobs)
    if launchers.here(jobs[0].launcher):  # otherwise jobs run on other machines
        _check_devices(jobs)
    _check_components(jobs)
    return jobs


def _compose(composer: Composer, overrides: Sequence[str], multirun: bool) -> list[tuple[tuple[str, ...], DictConfig]]:
    """The overrides and the config of every job."""
    if not multirun and not any(override.is_sweep_override() for override in composer.parse(overrides)):
        cfg = composer.compose(overrides)
        if cfg.hydra.mode != RunMode.MULTIRUN:
            launchers.check_sweep(cfg.hydra, sweeps=False)
            return [(tuple(overrides), cfg)]
    sweep = composer.sweep(overrides, multirun)
    check_names(composer, sweep or ())  # again, with the overrides of a stored sweep
    for override in composer.parse(sweep or overrides):
        _check_sweep(override, sweep is not None)
    expanded = [tuple(overrides)] if sweep is None else composer.expand(sweep)
    composed = [(texts, composer.compose(texts)) for texts in expanded]
    launchers.check_sweep(composed[0][1].hydra, sweeps=sweep is not None)
    return composed


def check_names(composer: Composer, overrides: Sequence[str]) -> None:
    """Check every group, option and key of a command line. Raises ConfigError with the nearest names."""
    for override in composer.parse(overrides):
        _check_key(composer, override)


def relax(composer: Composer, overrides: Sequence[str]) -> list[str]:
    """The overrides with `++` before every parameter of a component.

    Hydra only accepts keys that the option file mentions, and in a sweep only those of every job. Preflight checks
    parameters against the component itself, which knows all of them.
    """
    relaxed = []
    for override, text in zip(composer.parse(overrides), overrides, strict=True):
        depth = len(override.key_or_group.split("."))
        group = override.key_or_group.split(".")[0]
        parameter = (group in SINGLE and depth > 1) or (group in COMPONENTS and depth > 2)
        kept = override.type not in (OverrideType.CHANGE, OverrideType.ADD)
        relaxed.append(f"++{text.removeprefix('+')}" if parameter and not kept else text)
    return relaxed


def _settings_of(composer: Composer, overrides: Sequence[str]) -> dict[str, str]:
    keyed = [o for o in composer.parse(overrides) if not o.is_hydra_override() and not o.is_delete()]
    named = [o for o in keyed if o.key_or_group in SINGLE or not composer.options(o.key_or_group)]
    return {o.key_or_group: o.get_value_element_as_str() for o in named}


def _check_key(composer: Composer, override: Override) -> None:
    """Check a group and its named options, or a key."""
    key = override.key_or_group
    options = composer.options(key)
    if options or key in GROUPS:
        _check_options(override, options)
        return
    if override.is_hydra_override():
        return
    top, *rest = key.split(".")
    if top not in KEYS:
        raise ConfigError(f"unknown key '{key}'; {nearest(key, sorted({*KEYS, *GROUPS}))}")
    if top in SETTINGS and rest:
        raise ConfigError(f"unknown key '{key}': '{top}' has no parts")
    if top == "run" and rest and (rest[0] not in RUN or rest[1:]):
        raise ConfigError(f"unknown key '{key}'; {nearest(key, [f'run.{name}' for name in RUN])}")
    if override.is_delete() and (top in SETTINGS or top == "run"):
        raise ConfigError(f"the key '{key}' cannot be removed; change its value")


def _check_options(override: Override, options: Sequence[str]) -> None:
    group = override.key_or_group
    if group in (*SINGLE, "run") and isinstance(override.value(), list):
        several = ",".join(str(value) for value in values(override))
        raise ConfigError(f"{group} takes one option; to run several: {group}={several} -m")
    for value in values(override):
        if value is None or isinstance(value, dict) or "${" in str(value):
            continue
        if group == launchers.GROUP:
            launchers.check_installed(str(value), options)
        if str(value) not in options:
            raise ConfigError(f"no option '{value}' for {group}; {nearest(str(value), options)}")


def _check_sweep(override: Override, multirun: bool) -> None:
    if not override.is_sweep_override():
        return
    if override.key_or_group in (
        *ONE_PER_COMMAND,
        "run.block",
    ):  # other blocks repeat the same samples
        raise ConfigError(f"{override.key_or_group} cannot be swept: one command has one of it")
    if not multirun and override.value_type is ValueType.SIMPLE_CHOICE_SWEEP:
        key, value = override.get_key_element(), ",".join(str(value) for value in values(override))
        raise ConfigError(
            f"{key}={value} is a sweep: add -m for one job per value, or write '{key}=[{value}]' for one job"
        )


def _check_keys(cfg: DictConfig) -> None:
    """Check that every key at the top and under `run` is known, in any file."""
    for path, node, known in (("", cfg, (*KEYS, "hydra")), ("run", cfg.run, RUN)):
        for key in map(str, node):
            if key not in known:
                raise ConfigError(f"unknown key '{join(path, key)}' in an option file; {nearest(key, known)}")
        absent = [key for key in known if key not in node]
        if absent:
            raise ConfigError(f"the key '{join(path, absent[0])}' cannot be removed; change its value")


def _check_used(configs: Sequence[DictConfig]) -> None:
    """Check that every parameter belongs to a component of at least one job."""
    for group in COMPONENTS:
        nodes = [(str(name), node) for cfg in configs for name, node in (cfg[group] or {}).items()]
        chosen = list(dict.fromkeys(name for name, node in nodes if is_component(node)))
        for name, node in nodes:
            if not isinstance(node, DictConfig):
                hint = f"; does an option file lack its first line '# @package {group}.NAME'?"
                raise ConfigError(f"{group}.{name} must be a component (a mapping with _target_), got {node!r}{hint}")
            if name not in chosen:
                given = ", ".join(f"{group}.{name}.{key}" for key in map(str, node))
                raise ConfigError(f"{given}: no {group} '{name}' was chosen; {nearest(name, chosen)}")


def _check_settings(jobs: Sequence[Job]) -> None:
    for job in jobs:
        top = plain(OmegaConf.masked_copy(job.cfg, [*SETTINGS, "run"]))
        _check_values(Run, top.pop("run"), "run")
        _check_values(Settings, top, "")
    for key in ONE_PER_COMMAND:
        found = list(dict.fromkeys(job.cfg[key] for job in jobs))
        if len(found) > 1:
            raise ConfigError(f"the jobs of one command have one {key}, got {', '.join(map(repr, found))}")


def _check_devices(jobs: Sequence[Job]) -> None:
    """Check that requested accelerators are available."""
    for named in dict.fromkeys(json.dumps(plain(job.cfg.run)["devices"]) for job in jobs):
        try:
            devices.resolve(json.loads(named))
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _check_values(kind: type[Settings] | type[Run], given: Mapping[str, Any], path: str) -> None:
    checked = check(kind, given, path)
    try:
        kind(**checked)
    except ValueError as error:
        raise ConfigError(join(path, str(error))) from error


def _check_components(jobs: Iterable[Job]) -> None:
    """Build each distinct node once; controls first, under their own keys."""
    seen: list[tuple[str, DictConfig]] = []
    for job in jobs:
        nodes = [(name, job.cfg[name]) for name in SINGLE]
        nodes += [(join(group, str(name)), node) for group in _BUILT for name, node in job.cfg[group].items()]
        for path, node in nodes:
            if (path, node) not in seen:
                seen.append((path, node))
                _check_kind(instantiate(node, path), path, str(node["_target_"]))


def _check_kind(made: object, path: str, target: str) -> None:
    from xbench.algorithms.base import Algorithm  # building a component has already imported torch
    from xbench.metrics.base import Metric

    group = path.split(".")[0]
    kinds = {"algorithm": Algorithm, "control": Algorithm, "metric": Metric}
    if group in kinds and not isinstance(made, kinds[group]):
        raise ConfigError(f"{path}: {target} makes no {kinds[group].__name__}, but {type(made).__name__}")
    for method in ("load", "fingerprint") if group == "model" else ("load",) if group == "dataset" else ():
        if not callable(getattr(made, method, None)):
            raise ConfigError(f"{path}: {target} makes no {group}: {type(made).__name__} has no method '{method}'")
