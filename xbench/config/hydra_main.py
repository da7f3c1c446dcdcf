"""Runs Hydra on a command line: with xbench's jobs, or for information (--help, completion)."""

from __future__ import annotations

import contextlib
import io
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from xbench.boundary.printable import say
from xbench.config.nodes import CONF, ConfigError
from xbench.modalities import MODALITIES

# Hydra 1.3 needs an explicit version_base; 1.4 has only this behaviour, and warns if it is given.
VERSION = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def _features(indent: int) -> str:
    """The names that `features=` takes, by kind of data, as lines of the help text in conf/config.yaml."""
    kinds = "; ".join(f"{name}: {', '.join(kind.features)}" for name, kind in MODALITIES.items())
    return textwrap.fill(kinds, 120 - indent).replace("\n", "\n" + " " * indent)


OmegaConf.register_new_resolver("xbench.features", _features, replace=True)


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
