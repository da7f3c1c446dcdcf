"""Finds the option files of the groups under conf/, and reads their descriptions."""

from collections.abc import Sequence
from pathlib import Path


def options(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """The option files of a group by name; those of a later folder replace those of an earlier one."""
    return {path.stem: path for folder in folders for path in sorted((folder / group).glob("*.yaml"))}


def describe(text: str) -> str:
    """The first comment that is not a package header; empty if there is none."""
    for line in text.splitlines():
        comment = line.removeprefix("#").strip()
        if line.startswith("#") and comment and not comment.startswith("@package"):
            return comment
    return ""
