"""Prints the facts of algorithms and metrics to a terminal or a pipe. Imports their classes."""

import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xbench.algorithms.base import Algorithm, Facts
from xbench.cli.live import Terminal
from xbench.cli.option_files import describe
from xbench.config.arguments import parameters
from xbench.config.compose import Composer
from xbench.config.nodes import canonical, instantiate
from xbench.metrics.base import Column, Metric, MetricFacts

_KINDS: dict[str, type[Algorithm] | type[Metric]] = {"algorithm": Algorithm, "metric": Metric}
_KNOWN = {True: "yes", False: "no", None: "not known"}
_HEADS = {"algorithm": ("MAP", "STOCHASTIC", "COMPLETE", "NEEDS"), "metric": ("SCORES",)}
_WIDTHS = {"algorithm": (6, 10, 8), "metric": ()}  # widths of the columns between the first and the last
_WHOLE = 10_000  # width of a pipe, where lines are not wrapped
_MARGIN = 4
_LEGEND = (
    "local: slopes, like a gradient; global: amounts, such as shares of f(x) - f(baseline). complete: a map sums to "
    "that difference. "
    "All this holds for the parameters in the option files; `xbench list algorithms NAME` shows those of one."
)


@dataclass(frozen=True)
class Option:
    """One option file: a component and its facts, a preset and its members, or the problem with it.

    Attributes:
        description: the file's first comment.
        node: the component's node in the file.
        target: the class or function that builds the component.
        facts: the component's facts; None if required parameters are missing.
        to_give: the required parameters, "algorithm.callable.function".
        members: members of a preset.
        problem: the reason why the option cannot be used.
    """

    name: str
    description: str
    node: Mapping[str, Any] | None = None
    target: Callable[..., Any] | None = None
    facts: Facts | MetricFacts | None = None
    to_give: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    problem: str = ""


def show(group: str, files: Mapping[str, Path], name: str | None, config_dir: Path | None) -> None:
    """Print the options of a group: all of them, one in full, or the members of a preset."""
    read = _Reader(group, config_dir)
    page = _Page(group, _console())
    if name is None:
        page.overview([read(option, path) for option, path in files.items()])
        return
    one = read(name, files[name])
    if one.members:
        page.overview([one, *(read(member, files[member]) for member in one.members if member in files)])
    else:
        page.full(one)


class _Reader:
    """Reads option files; only those with defaults or interpolations are composed by Hydra."""

    def __init__(self, group: str, config_dir: Path | None) -> None:
        self.group = group
        self._config_dir = config_dir

    def __call__(self, name: str, path: Path) -> Option:
        text = path.read_text(errors="replace")
        description = describe(text)
        try:
            nodes = self._nodes(name, path, text)
            if set(nodes) != {name}:
                return Option(name, description, members=tuple(str(member) for member in nodes))
            return self._component(name, description, nodes[name])
        except Exception as error:  # a user's file and code may raise anything; the other options are still listed
            known = isinstance(error, ValueError)  # xbench's own errors, such as ConfigError, explain themselves
            return Option(name, description, problem=str(error) if known else f"{type(error).__name__}: {error}")

    @cached_property
    def _composer(self) -> Composer:
        return Composer(None if self._config_dir is None else str(self._config_dir))

    def _nodes(self, name: str, path: Path, text: str) -> Mapping[Any, Any]:
        """The components selected by `group=[name]`. Most files are read directly, because composing takes time."""
        node = OmegaConf.load(path)
        if "defaults" not in node and "${" not in text:
            return {name: node}
        composed = self._composer.compose([f"{self.group}=[{name}]"])
        return dict(composed[self.group].items())

    def _component(self, name: str, description: str, node: DictConfig) -> Option:
        place = f"{self.group}.{name}"
        missing = [key.removeprefix(f"{place}.") for key in sorted(OmegaConf.missing_keys(node))]
        target = instantiate({"_target_": node.get("_target_", ""), "_partial_": True}, place).func
        if missing:
            values = cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
            given = {key: values[key] for key in values if key not in {path.split(".")[0] for path in missing}}
            to_give = tuple(f"{place}.{key}" for key in missing)
            return Option(name, description, {**given, "_partial_": True}, target, to_give=to_give)
        component = instantiate(node, place)
        if not isinstance(component, _KINDS[self.group]):
            raise TypeError(f"{place}: {node._target_} is no {_KINDS[self.group].__name__}")
        return Option(name, description, node, target, component.facts)


class _Page:
    """Prints an overview of all options, or everything about one."""

    def __init__(self, group: str, console: Console) -> None:
        self.group = group
        self.console = console

    def overview(self, found: Sequence[Option]) -> None:
        components = [option for option in found if not option.members]
        widths = (max((len(option.name) for option in components), default=0), *_WIDTHS[self.group])
        self._row(("NAME", *_HEADS[self.group]), widths, "bold")
        for option in components:
            if option.facts is None:
                self._row((option.name,), widths)
            else:
                self._row((option.name, *_declared(option.facts)), widths)
            self._indented(option.description)
            if option.facts is not None:
                self._indented(option.facts.citation, "dim")
            if option.to_give:
                self._indented(f"The rest depends on what you give: {', '.join(f'{p}=...' for p in option.to_give)}")
            if option.problem:
                self._indented(f"cannot be used: {option.problem}", "red")
            self.console.print()
        presets = [option for option in found if option.members]
        if presets:
            self.console.print("PRESETS", style="bold")
        for option in presets:
            self.console.print(option.name, style="bold")
            self._indented(option.description)
            self._indented(", ".join(option.members), "dim")
            self.console.print()
        if self.group == "algorithm":
            self.console.print(_LEGEND)

    def full(self, option: Option) -> None:
        self.console.print(option.name, style="bold")
        self._indented(option.description)
        if option.problem:
            self._indented(f"cannot be used: {option.problem}", "red")
        if option.target is None or option.node is None:
            return
        self.console.print()
        facts = dict(_in_full(option.facts)) if option.facts is not None else {}
        facts["class"] = f"{option.target.__module__}.{option.target.__qualname__}"
        for term, text in facts.items():
            self._row((term, text), (max(map(len, facts)),))
        self.console.print("\nparameters", style="bold")
        for line in _parameters(f"{self.group}.{option.name}", option.node, option.target):
            self._indented(line)
        for place in option.to_give:
            self._indented(f"{place}=???   to be given")
        self.console.print()
        self.console.print(inspect.cleandoc(option.target.__doc__ or ""))

    def _row(self, cells: Sequence[str], widths: Sequence[int], style: str = "") -> None:
        """Print cells in columns of these widths; the last takes the rest of the line and wraps below itself."""
        gap = 2
        grid = Table.grid(padding=(0, gap, 0, 0))
        for width in widths[: len(cells) - 1]:
            grid.add_column(width=width, overflow="fold")
        taken = sum(widths[: len(cells) - 1]) + gap * (len(cells) - 1)
        grid.add_column(max_width=max(self.console.width - taken, 1), overflow="fold")
        grid.add_row(Text(cells[0], style="bold"), *(Text(cell, style=style) for cell in cells[1:]))
        self.console.print(grid)

    def _indented(self, text: str, style: str = "") -> None:
        if text:
            self.console.print(Padding(Text(text, style=style), (0, 0, 0, _MARGIN), expand=False))


def _console() -> Console:
    """A console as wide as the terminal, or as COLUMNS; lines in a pipe are not wrapped."""
    console = Terminal(markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WHOLE
    return console


def _declared(facts: Facts | MetricFacts) -> tuple[str, ...]:
    """The cells of an option in the overview."""
    if isinstance(facts, MetricFacts):
        return (", ".join(f"{name} ({_better(column)})" for name, column in facts.columns.items()),)
    map_kind = "local" if facts.local else "global"
    return map_kind, _KNOWN[facts.stochastic], _KNOWN[facts.complete], _needs(facts)


def _in_full(facts: Facts | MetricFacts) -> Iterator[tuple[str, str]]:
    """All facts of a component, as (name, text)."""
    yield "label", facts.label
    if isinstance(facts, MetricFacts):
        yield "family", facts.family
        yield from ((name, _said(column)) for name, column in facts.columns.items())
        yield "needs", _needs(facts)
    else:
        yield (
            "map",
            "local: slopes, like a gradient"
            if facts.local
            else "global: amounts, such as shares of f(x) - f(baseline)",
        )
        yield "stochastic", _KNOWN[facts.stochastic]
        yield "complete", "yes: the map sums to f(x) - f(baseline)" if facts.complete else "no"
        yield "needs", _needs(facts)
        if facts.distribution:
            yield "baselines", "a distribution to average over"
    yield "citation", facts.citation


def _said(column: Column) -> str:
    """The direction, range and meaning of a metric's column."""
    bounds = ("at least", column.low), ("at most", column.high)
    known = [_better(column), *(f"{which} {bound:g}" for which, bound in bounds if bound is not None)]
    return ". ".join(filter(None, (", ".join(known), column.meaning)))


def _needs(facts: Facts | MetricFacts) -> str:
    return ", ".join(need.value for need in facts.needs) or "nothing"


def _better(column: Column) -> str:
    return {"lower": "lower is better", "higher": "higher is better", "none": "no direction"}[column.direction]


def _parameters(place: str, node: Mapping[str, Any], target: Callable[..., Any]) -> Iterator[str]:
    """Every parameter as a command-line key, with the code's default if the option file differs."""
    declared = parameters(target) or {}
    for name, value in canonical(node).items():
        if name.startswith("_"):
            continue
        default = declared[name].default if name in declared else inspect.Parameter.empty
        plain = default is None or isinstance(default, bool | int | float | str)
        note = f"   default {_shown(default)}" if plain and default != value else ""
        for number, (key, inner) in enumerate(_flat(f"{place}.{name}", value)):
            yield f"{key}={_shown(inner)}" + (note if number == 0 else "")


def _flat(place: str, value: object) -> Iterator[tuple[str, object]]:
    """The settings of a nested component one by one."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        yield place, value
        return
    for name, inner in value.items():
        if name != "_version_":
            yield from _flat(f"{place}.{name}", inner)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
