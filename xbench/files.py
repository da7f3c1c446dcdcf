"""Files that appear whole or not at all, and damaged ones set aside."""

import json
import logging
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class StoreError(OSError):
    """The store cannot be read or written; the message says which path and what to do."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all, through a temporary file in the same folder.

    Raises:
        StoreError: the folder cannot be made or written (permission, full disk).
    """
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"cannot write {path}: {reason}; free space there or choose another folder") from error


def check_writable(root: Path, key: str, need_bytes: int) -> None:
    """Create the folder that the setting `key` names, write and remove a probe, and ask for free disk.

    Raises:
        StoreError: any of that fails.
    """
    probe = root / f".probe.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"xbench")
        probe.unlink()
        free = shutil.disk_usage(root).free
    except OSError as error:
        reason = error.strerror or error
        advice = f"make it a folder you may write, or set {key}=PATH"
        raise StoreError(f"the {key} folder {root} is not writable: {reason}; {advice}") from error
    if free < need_bytes:
        raise StoreError(
            f"the disk of the {key} folder {root} has {free / 2**20:.0f} MiB free and this run needs about "
            f"{need_bytes / 2**20:.0f} MiB; free some space or set {key}=PATH to another disk"
        )


def file_name(name: str) -> str:
    """`name`, if it can be a file name on every system and stays inside its folder."""
    if not re.fullmatch(r"[\w-][\w.-]{0,127}", name):
        raise ValueError(f"{name!r} cannot be a name: use letters, digits, '_', '-' and '.', not first a '.'")
    return name


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None when there is no file, or a damaged one, which is set aside."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        set_aside(path, f"not JSON ({error})")
        return None
    return found if isinstance(found, dict) else None


def set_aside(path: Path, reason: str) -> None:
    """Rename `path` to a free `*.corrupt` name and log why; a file already gone is fine."""
    target, number = path.with_name(f"{path.name}.corrupt"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{number}.corrupt")
    try:
        path.rename(target)
    except FileNotFoundError:
        return
    except OSError as error:  # a store one may only read: the file counts as absent all the same
        logger.warning("%s is damaged (%s) and could not be renamed: %s", path, reason, error.strerror)
        return
    logger.warning("set aside %s as %s: %s", path, target.name, reason)
