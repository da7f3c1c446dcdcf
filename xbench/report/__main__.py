"""`python -m xbench.report [name=latest] [store=results] [reports=reports]`: writes a report from the store only.

Exit codes: 0 written, 1 it could not be written, 2 bad arguments or no run of that name.
"""

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from xbench.boundary.files import StoreError
from xbench.boundary.printable import say
from xbench.store.store import ManifestNotFound, Store

DEFAULTS = {"name": "latest", "store": "results", "reports": "reports"}  # as in conf/config.yaml
KEYS = tuple(DEFAULTS)


class UsageError(ValueError):
    """The arguments are invalid; the message gives the valid form."""


def parse(words: Sequence[str]) -> dict[str, str]:
    """`key=value` words as a dict with every key of KEYS. Raises UsageError."""
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in KEYS:
            near = get_close_matches(key, KEYS)
            hint = f"did you mean {near[0]}=...?" if near else f"the keys are {', '.join(KEYS)}"
            raise UsageError(f"unknown argument {word!r}; {hint}")
        if not equals or not value:
            raise UsageError(f"{key} needs a value: {key}=...")
        if key in given:
            raise UsageError(f"{key} is given twice: {given[key]!r} and {value!r}")
        given[key] = _from_environment(value)
    return DEFAULTS | given


def _from_environment(value: str) -> str:
    """Resolve `${oc.env:NAME}` in a value, which the command on the page may contain. Raises UsageError."""
    try:
        return re.sub(r"\$\{oc\.env:(\w+)\}", lambda found: os.environ[found[1]], value)
    except KeyError as error:
        raise UsageError(f"{value}: the variable {error.args[0]} is not set") from error


def main(words: Sequence[str] | None = None) -> int:
    """Build one report and print the path of its page; return the exit code."""
    words = sys.argv[1:] if words is None else words
    if set(words) & {"-h", "--help"}:
        say(__doc__, sys.stdout)
        return 0
    try:
        arguments = parse(words)
        store = Store(arguments["store"])
        manifest = store.manifest(arguments["name"])
    except (UsageError, ManifestNotFound, ValueError) as error:
        say(f"xbench.report: {error}")
        return 2
    from xbench.report import write  # importing pandas and seaborn takes seconds; bad arguments should fail at once

    try:
        page = write(store, manifest, Path(arguments["reports"]).expanduser() / arguments["name"])
        say(page, sys.stdout)
    except StoreError as error:
        say(f"xbench.report: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
