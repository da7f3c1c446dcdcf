"""Composes configs like Hydra, without running anything."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from xbench.config.bounds import check_aliases
from xbench.config.hydra_main import VERSION
from xbench.config.keys import COMPONENTS
from xbench.config.nodes import CONF, ConfigError, instantiate, nearest


class Composer:
    """Hydra's loader for conf/ and, as with `--config-dir`, one user's folder."""

    def __init__(self, config_dir: str | None = None, config_name: str | None = None) -> None:
        if VERSION:
            version.setbase(VERSION["version_base"])
        setup_globals()
        path = create_config_search_path(str(CONF))
        if config_dir is not None:
            folder = os.path.abspath(config_dir)
            if not os.path.isdir(folder):
                raise ConfigError(f"--config-dir {config_dir}: there is no folder {folder}")
            for file in sorted(Path(folder).rglob("*.yaml")):
                check_aliases(file)
            path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema", path=None))
        self._loader = ConfigLoaderImpl(path)
        self.config_name = (config_name or "config").removesuffix(".yaml")

    def options(self, group: str) -> list[str]:
        """The names that `group=` accepts; empty for an unknown group."""
        return sorted(self._loader.get_group_options(group))

    def parse(self, overrides: Sequence[str]) -> list[Override]:
        """The overrides of a command line, parsed by Hydra's own grammar."""
        parser = OverridesParser.create(config_loader=self._loader)
        return [_parsed(parser, text) for text in overrides]

    def compose(self, overrides: Sequence[str], mode: RunMode = RunMode.RUN) -> DictConfig:
        """The config of one job, or of the sweep itself, with its `hydra` node."""
        try:
            return self._loader.load_configuration(
                self.config_name,
                list(overrides),
                run_mode=mode,
                from_shell=False,
                validate_sweep_overrides=mode is RunMode.RUN,
            )
        except Exception as error:  # Hydra and OmegaConf also raise assertion and type errors
            raise ConfigError(self._message(error)) from error

    def option(self, group: str, name: str, overrides: Sequence[str] = ()) -> DictConfig:
        """The node of one option file; `overrides` are "PARAMETER=VALUE"."""
        if name not in self.options(group):
            raise ConfigError(f"no option '{name}' for {group}; {nearest(name, self.options(group))}")
        keyed = group in COMPONENTS
        place = f"{group}.{name}" if keyed else group
        changes = [f"++{place}.{change}" for change in overrides]
        cfg = self.compose([f"{group}=[{name}]" if keyed else f"{group}={name}", *changes])
        node = OmegaConf.select(cfg, place)
        if not isinstance(node, DictConfig):
            raise ConfigError(f"{group}={name} is a list of options, not one component")
        return node

    def sweep(self, overrides: Sequence[str], multirun: bool) -> list[str] | None:
        """The overrides of the sweep, those stored in option files first; None for a single job."""
        master = self.compose(overrides, RunMode.MULTIRUN).hydra
        if not multirun and master.mode != RunMode.MULTIRUN:  # an option file may make the command a sweep
            return None
        sweeper = str(master.sweeper.get("_target_"))
        if not sweeper.endswith(".BasicSweeper"):
            raise ConfigError(f"hydra/sweeper: xbench sweeps with Hydra's basic sweeper only, got {sweeper}")
        return [*(f"{key}={value}" for key, value in (master.sweeper.params or {}).items()), *overrides]

    def expand(self, overrides: Sequence[str]) -> list[tuple[str, ...]]:
        """The overrides of every job of a sweep, in the order in which Hydra's basic sweeper runs them."""
        parsed = self.parse(overrides)
        everywhere = [o.input_line for o in parsed if o.is_hydra_override() and o.input_line is not None]
        swept = [override for override in parsed if not override.is_hydra_override()]
        try:
            (jobs,) = BasicSweeper.split_arguments(swept, max_batch_size=None)
        except HydraException as error:
            raise ConfigError(str(error)) from error
        return [(*everywhere, *job) for job in jobs]

    def _message(self, error: BaseException) -> str:
        """Hydra's message with its causes, without its advice that leads to unused keys."""
        if isinstance(error, MissingConfigException) and error.missing_cfg_file:
            group, _, name = error.missing_cfg_file.rpartition("/")
            where = re.match(r"In '([^']+)'", str(error))
            by = f" (asked for by {where[1]}.yaml)" if where else ""
            options = error.options or self.options(group)
            return f"no option '{name}' for {group or 'the primary config'}{by}; {nearest(name, options)}"
        said = []
        cause: BaseException | None = error
        while cause is not None:
            lines = [line.strip() for line in str(cause).splitlines()]
            said += [line for line in lines if line and not line.startswith("To append to your ")]
            cause = cause.__cause__
        return "; ".join(dict.fromkeys(said)) or type(error).__name__


def values(override: Override) -> Iterator[Any]:
    """All values in an override: list items, and the values of a sweep."""
    found = list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]
    while found:
        value = found.pop(0)
        if isinstance(value, list):
            found = [*value, *found]
        else:
            yield getattr(value, "text", value)  # quoted text inside a sweep


def is_component(node: object) -> bool:
    """Whether a node of the config names something to build."""
    return isinstance(node, DictConfig) and "_target_" in node


def settle(cfg: DictConfig, choices: Mapping[str, Any]) -> DictConfig:
    """The config of a job in the form that the runner reads.

    `algorithm` includes the controls, last (`control` names them; it is empty if controls=false), and `choice` names
    the options of `model` and `dataset`, from Hydra's `choices`.

    A parameter for an algorithm that only another job of the sweep has (`algorithm=ig,deeplift algorithm.ig.n_steps=100
    -m`) leaves a node without `_target_` here; the node is dropped.
    """
    settled = cfg.copy()
    with open_dict(settled):
        settled.choice = {name: str(choices.get(name)) for name in ("model", "dataset")}
        for group in COMPONENTS:
            nodes = settled.get(group) or {}
            settled[group] = {name: node for name, node in nodes.items() if is_component(node)}
        if settled.controls:
            listed, controls = dict(settled.algorithm), dict(settled.control)
            chosen = {name: node for name, node in listed.items() if name not in controls}
            settled.algorithm = chosen | controls | {name: listed[name] for name in controls if name in listed}
        else:
            settled.control = {}
        settled.pop("hydra", None)
    return settled


def _parsed(parser: OverridesParser, text: str) -> Override:
    try:
        return parser.parse_overrides([text])[0]  # parse_override lacks the loader that glob() needs
    except (HydraException, RecursionError) as error:
        raise ConfigError(_unparsed(text)) from error


def _unparsed(text: str) -> str:
    if "=" not in text and not text.startswith("~"):
        return f"'{text}' is neither KEY=VALUE nor a command; there are xbench list algorithms and xbench status"
    return f"'{text}' cannot be read; quote values with spaces or brackets, as in \"key='a b'\""


def component(group: str, name: str, overrides: Sequence[str] = ()) -> Any:  # noqa: ANN401  (any component)
    """Build one option by its config name: `component("algorithm", "ig")`.

    Raises:
        ConfigError: there is no such option, or `overrides` do not fit it.
    """
    return instantiate(Composer().option(group, name, overrides), f"{group}.{name}")
