"""Locates an error in the user's own code, in one line instead of a traceback."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

from xbench.boundary import libraries
from xbench.boundary.attempt import message

_OURS = Path(__file__).resolve().parents[1]
_INSTALLED = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
_NOT_OWN = (f"{_OURS}{os.sep}", *(f"{Path(path).resolve()}{os.sep}" for path in _INSTALLED), "<")
_WORDED = (ValueError, TypeError, LookupError, OSError, ImportError)  # xbench's own messages need no type name


def place(error: BaseException) -> str | None:
    """The innermost frame in the user's code, of the error or of its causes: `my_lab/net.py:12, in forward`."""
    cause: BaseException | None = error
    while cause is not None:
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            path = os.path.realpath(frame.filename) if not frame.filename.startswith("<") else frame.filename
            if not path.startswith(_NOT_OWN):
                here = os.getcwd() + os.sep
                return f"{path.removeprefix(here)}:{frame.lineno}, in {frame.name}"
        cause = cause.__cause__
    return None


def one_line(error: BaseException) -> str:
    """The error's message, its type unless xbench raises that type, and the place in the user's code."""
    if (pair := libraries.broken(error)) is not None:
        return pair
    said, where = " ".join(message(error).split()), place(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and os.path.realpath(frames[-1].filename).startswith(_NOT_OWN[0])
    if not said or not (ours and isinstance(error, _WORDED)):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return said if where is None or where in said else f"{said} ({where}; HYDRA_FULL_ERROR=1 shows the traceback)"


def first_cause(error: BaseException) -> str:
    """The first exception in the chain that led to `error`, in one line."""
    seen = {id(error)}
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return f"{type(error).__name__}: {' '.join(message(error).split())}"
