"""Runs Hydra on a command line: with xbench's jobs, or for information (--help, completion)."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.errors import HydraException

from xbench.boundary.printable import say
from xbench.config.nodes import CONF, ConfigError

# Hydra 1.3 needs an explicit version_base; 1.4 has only this behaviour, and warns if it is given.
VERSION = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def run(task: Callable[[Any], None], arguments: Sequence[str]) -> int:
    """Run Hydra on `arguments`, which Hydra reads from sys.argv; return the exit code."""
    typed = sys.argv
    sys.argv = [typed[0], *arguments]
    try:
        hydra.main(**VERSION, config_path=str(CONF), config_name="config")(task)()
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    finally:
        sys.argv = typed
    return 0


def inform(arguments: Sequence[str]) -> int:
    """Run a command line that asks for information; return the exit code. Raises ConfigError if Hydra refuses it."""
    answer = io.StringIO()
    try:
        with contextlib.redirect_stdout(answer):
            code = run(_no_task, arguments)
    except (HydraException, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    say(answer.getvalue().removesuffix("\n"), sys.stdout)
    return code


def _no_task(_cfg: object) -> None:
    raise AssertionError("a command that only informs runs no job")
