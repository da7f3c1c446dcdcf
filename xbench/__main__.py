"""The command: `python -m xbench` and `xbench`. Imports no torch, so that help and errors appear at once."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xbench.boundary.printable import say

BAD_CONFIGURATION, INTERRUPTED = 2, 130
_REFUSED = {
    "config_path": "add option files with --config-dir DIR",
    "experimental_rerun": "repeat the command",
}


def main() -> int:
    """Run this process's command line. Exit codes: 0 fine, 1 failed cells, 2 bad configuration, 130 interrupted."""
    from xbench.config.arguments import ConfigError

    _find_own_code()
    try:
        return _main(sys.argv[1:])
    except ConfigError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1" and error.__cause__ is not None:
            say("".join(traceback.format_exception(error)))
        say(f"xbench: {error}")
        return BAD_CONFIGURATION
    except KeyboardInterrupt:
        say("interrupted before anything ran")
        return INTERRUPTED


def _find_own_code() -> None:
    """Put the working directory first on the path: `python -m` does so, a console script does not."""
    here = os.getcwd()
    if not sys.flags.safe_path and not {"", here} & set(sys.path):
        sys.path.insert(0, here)


def _main(arguments: Sequence[str]) -> int:
    from xbench.config.arguments import ConfigError

    if arguments[:1] == ["list"]:
        from xbench.cli.listing import main as list_options

        return list_options(arguments[1:])
    if arguments[:1] == ["status"]:
        from xbench.cli.status import main as tell_status

        return tell_status(arguments[1:])
    if arguments[:1] == ["report"]:
        from xbench.report.__main__ import main as write_report

        return write_report(arguments[1:])
    if arguments[:1] == ["help"]:
        arguments = ["--help", *arguments[1:]]
    if "--version" in arguments:
        say(f"xbench {_version()}", sys.stdout)
        return 0
    from hydra._internal.utils import get_args_parser

    args = get_args_parser().parse_intermixed_args(list(arguments))
    flags = list(arguments)
    for override in args.overrides:
        flags.remove(override)
    for name, advice in _REFUSED.items():
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is not supported; {advice}")
    if args.resolve and not (args.cfg or args.help):
        raise ConfigError("--resolve goes with --cfg job")
    program = "python -m xbench" if Path(sys.argv[0]).name == "__main__.py" else "xbench"
    if args.shell_completion and "COMP_LINE" in os.environ:
        from xbench.cli.completion import complete

        found = complete(os.environ["COMP_LINE"])
        if found is not None:
            say(("\n" if "query=fish" in args.overrides else " ").join(found), sys.stdout)
            return 0
    if args.help or args.hydra_help or args.shell_completion or args.info:
        from xbench.config.hydra_main import inform

        return inform([*flags, *args.overrides])
    from xbench.cli.conclude import Command
    from xbench.cli.driver import run, show_config

    command = Command(program, flags, args.overrides)
    return show_config(command, args) if args.cfg else run(command, args)


def _version() -> str:
    try:
        return version("xbench")
    except PackageNotFoundError:  # run from a checkout
        return "of a checkout, not installed"


if __name__ == "__main__":
    sys.exit(main())
