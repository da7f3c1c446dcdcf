"""Where in a user's own code an error came up: one line for messages, which a traceback would drown."""

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
_WORDED = (ValueError, TypeError, LookupError, OSError, ImportError)  # what xbench raises says itself what is wrong


def place(error: BaseException) -> str | None:
    """`my_lab/net.py:12, in forward`: the innermost line of the user's, of the error or of what caused it."""
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
    """What an error says, its kind where it is not one of ours, and the place in the user's code."""
    if (pair := libraries.broken(error)) is not None:
        return pair
    said, where = " ".join(message(error).split()), place(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = bool(frames) and os.path.realpath(frames[-1].filename).startswith(_NOT_OWN[0])
    if not said or not (ours and isinstance(error, _WORDED)):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return said if where is None or where in said else f"{said} ({where}; HYDRA_FULL_ERROR=1 shows the traceback)"


def first_cause(error: BaseException) -> str:
    """What was raised first of all that led to `error`, in one line."""
    seen = {id(error)}
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return f"{type(error).__name__}: {' '.join(message(error).split())}"
