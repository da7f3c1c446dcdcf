"""`xbench list algorithms|datasets|models|metrics`: one line each."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from xbench.arguments import ConfigError, nearest
from xbench.config import CONF

SUBJECTS = {"algorithms": "algorithm", "datasets": "dataset", "models": "model", "metrics": "metric"}


def options(group: str, folders: Sequence[Path]) -> dict[str, str]:
    """The option files of a group in the given config folders, each with its first line of comment."""
    files = [path for folder in folders for path in sorted((folder / group).glob("*.yaml"))]
    return {path.stem: describe(path.read_text()) for path in files}


def describe(text: str) -> str:
    """The first comment that is not a package header; empty when there is none."""
    for line in text.splitlines():
        comment = line.removeprefix("#").strip()
        if line.startswith("#") and comment and not comment.startswith("@package"):
            return comment
    return ""


def main(arguments: Sequence[str]) -> int:
    """Print the options of one group; the exit code.

    Raises:
        ConfigError: `arguments` name no group.
    """
    parser = argparse.ArgumentParser(prog="xbench list", description=__doc__)
    parser.add_argument("subject", help="algorithms, datasets, models or metrics")
    parser.add_argument("--config-dir", "-cd", type=Path, help="a folder of your own option files")
    given = parser.parse_args(arguments)
    group = SUBJECTS.get(given.subject) or SUBJECTS.get(f"{given.subject}s")
    if group is None:
        raise ConfigError(f"no list of '{given.subject}'; {nearest(given.subject, list(SUBJECTS))}")
    if given.config_dir is not None and not given.config_dir.is_dir():
        raise ConfigError(f"--config-dir {given.config_dir}: there is no such folder")
    found = options(group, [CONF] if given.config_dir is None else [CONF, given.config_dir])
    width = max((len(name) for name in found), default=0)
    for name, description in found.items():
        print(f"{name.ljust(width)}  {description}".rstrip())
    return 0
