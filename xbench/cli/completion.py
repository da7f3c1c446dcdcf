"""Tab completion beyond Hydra overrides: `xbench list ...`, and further options after `a=b,...`."""

from __future__ import annotations

from xbench.cli.listing import SUBJECTS
from xbench.cli.option_files import options
from xbench.config.nodes import CONF

_VERBS = ("help", "list", "report", "status")


def complete(line: str) -> list[str] | None:
    """Completions of the last word of a command line; None if Hydra completes it."""
    words = line.split(" ")
    typed = words[3:] if words[1:3] == ["-m", "xbench"] else words[1:]
    if not typed:
        return None
    *before, last = [*filter(None, typed[:-1]), typed[-1]]
    if before[:1] == ["list"]:
        return _listed(before[1:], last)
    if before[:1] and before[0] in _VERBS:
        return []
    group, _, value = last.partition("=")
    if group not in SUBJECTS.values() or "," not in value:
        return None
    given = value.split(",")[:-1]
    return _matching(
        [f"{group}={','.join([*given, name])}" for name in options(group, [CONF]) if name not in given], last
    )


def _listed(before: list[str], last: str) -> list[str]:
    if not before:
        return _matching(list(SUBJECTS), last)
    group = SUBJECTS.get(before[0])
    return [] if group is None or len(before) > 1 else _matching(list(options(group, [CONF])), last)


def _matching(words: list[str], start: str) -> list[str]:
    return [word for word in words if word.startswith(start)]
