"""Atomic reading and writing of files; damaged files are renamed to `*.corrupt`."""

import contextlib
import errno
import json
import logging
import os
import re
import secrets
import shutil
import stat
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the process lacks a resource; the file is intact


class StoreError(OSError):
    """The store cannot be read or written; the message says which path and what to do."""


class Unreadable(Exception):
    """The path exists but cannot be read as a file."""


def read(path: Path) -> bytes | None:
    """The bytes of the file; None if it does not exist.

    Raises:
        Unreadable: the path is a folder, a pipe or a circle of links, or read permission is missing.
        StoreError: the process cannot open any file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe at this path would wait for a writer.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unreadable("not a regular file")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror or error
        if error.errno in _SHORT:
            raise StoreError(f"cannot read {path}: {reason}") from error
        raise Unreadable(str(reason)) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all, through a temporary file in the same folder.

    File and folder are synced, so the file survives a power cut even in a new folder.

    Raises:
        StoreError: the folder cannot be created or written (permission, full disk).
    """
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        there = next(folder for folder in path.parents if folder.is_dir())
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.is_dir() and not path.is_symlink():
                set_aside(path, "a folder is in its place")
            os.replace(temporary, path)
            for folder in path.parents:
                _sync(folder)
                if folder == there:
                    break
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"cannot write {path}: {reason}; free space there or choose another folder") from error


def _sync(folder: Path) -> None:
    """Sync a folder's entries to the disk, on systems that support it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_first(path: Path, data: bytes) -> None:
    """Like `write_atomic`, but never replaces a file: of several concurrent writers, the first one wins.

    On a file system without hard links, the last of two simultaneous writers wins.
    """
    mine = path.with_name(f".{path.name[:80]}.{os.getpid()}.{secrets.token_hex(4)}.first.tmp")
    write_atomic(mine, data)
    try:
        os.link(mine, path)
    except FileExistsError:
        pass
    except OSError:
        if not path.exists():
            write_atomic(path, data)
    finally:
        mine.unlink(missing_ok=True)


def check_writable(root: Path, key: str, need_bytes: int) -> None:
    """Create the folder of the setting `key`, write and remove a probe file, and check the free disk space.

    Raises:
        StoreError: one of these steps fails.
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
    """Return `name` if it is a valid file name on every system and stays inside its folder.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(r"[\w-][\w.-]{0,127}", name):
        raise ValueError(f"{name!r} cannot be a name: use letters, digits, '_', '-' and '.', not first a '.'")
    return name


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None if the file is absent or damaged. A damaged file is set aside."""
    try:
        data = read(path)
        found = None if data is None else json.loads(data)
    except Unreadable as error:
        set_aside(path, str(error))
        return None
    except (ValueError, RecursionError) as error:
        set_aside(path, f"not JSON ({error})")
        return None
    return found if isinstance(found, dict) else None


def remove(path: Path) -> None:
    """Remove a file; anything else at this path is set aside."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        set_aside(path, f"cannot be removed: {error.strerror}")


def set_aside(path: Path, reason: str) -> None:
    """Rename `path` to a free `*.corrupt` name and log why; a file already gone is fine."""
    target, number = path.with_name(f"{path.name}.corrupt"), 1
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{path.name}.{number}.corrupt")
    try:
        path.rename(target)
    except FileNotFoundError:
        return
    except OSError as error:  # the store is read-only: the file still counts as absent
        logger.warning("%s is damaged (%s) and could not be renamed: %s", path, reason, error.strerror)
        return
    logger.warning("set aside %s as %s: %s", path, target.name, reason)
