"""`xbench list algorithms|datasets|models|metrics [NAME]`: the options of a group, with their needs and facts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xbench.boundary.printable import say
from xbench.cli.option_files import describe, options
from xbench.config.arguments import ConfigError, nearest
from xbench.config.nodes import CONF

SUBJECTS = {"algorithms": "algorithm", "datasets": "dataset", "models": "model", "metrics": "metric"}


def main(arguments: Sequence[str]) -> int:
    """Print the options of one group, or one option in full; return the exit code.

    Raises:
        ConfigError: `arguments` name an unknown group or option.
    """
    parser = argparse.ArgumentParser(prog="xbench list", description=__doc__)
    parser.add_argument("subject", nargs="?", help="algorithms, datasets, models or metrics")
    parser.add_argument("name", nargs="?", help="one of them, with its parameters; of a preset, its members")
    parser.add_argument("--config-dir", "-cd", type=Path, help="a folder of your own option files")
    given = parser.parse_args(arguments)
    if given.subject is None:
        for subject, each in SUBJECTS.items():
            say(f"xbench list {subject.ljust(10)}  {', '.join(options(each, [CONF]))}", sys.stdout)
        return 0
    group = SUBJECTS.get(given.subject) or SUBJECTS.get(f"{given.subject}s")
    if group is None:
        raise ConfigError(f"no list of '{given.subject}'; {nearest(given.subject, list(SUBJECTS))}")
    if given.config_dir is not None and not given.config_dir.is_dir():
        raise ConfigError(f"--config-dir {given.config_dir}: there is no such folder")
    found = options(group, [CONF] if given.config_dir is None else [CONF, given.config_dir])
    if given.name is not None and given.name not in found:
        raise ConfigError(f"no {group} '{given.name}'; {nearest(given.name, list(found))}")
    if group in ("algorithm", "metric"):
        from xbench.cli.declared import show  # imports the classes, and torch

        show(group, found, given.name, given.config_dir)
        return 0
    if given.name is not None:
        from xbench.cli.component import show as show_one

        show_one(group, given.name, describe(found[given.name].read_text()), given.config_dir)
        return 0
    width = max((len(name) for name in found), default=0)
    for name in found:
        say(f"{name.ljust(width)}  {describe(found[name].read_text())}".rstrip(), sys.stdout)
    return 0
