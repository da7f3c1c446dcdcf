"""Catches everything that a user's component raises, so that it ends its own cell or job only."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import TypeVar

from xbench.boundary import interrupts

Result = TypeVar("Result")


def attempt(work: Callable[[], Result], failed: Callable[[BaseException], Result]) -> Result:
    """Return `work()`, or `failed(error)` if it raises anything, including SystemExit and KeyboardInterrupt.

    If a signal asked the process to end, KeyboardInterrupt is raised again, even where the component caught it. A
    process that the component forked ends here instead of continuing as a second copy of xbench.
    """
    process = os.getpid()
    try:
        result = work()
    except BaseException as error:
        _pass_on(process)
        return failed(error)
    _pass_on(process)
    return result


def message(error: BaseException) -> str:
    """The error's message, as text that can be stored and printed."""
    return _plain(attempt(lambda: str(error), lambda _: "it cannot say what: its __str__ raises"))


def words(error: BaseException) -> str:
    """The error's type and message: `ValueError: message`."""
    kind, said = type(error).__name__, message(error)
    return f"{kind}: {said}" if said else kind


def trace() -> str:
    """The traceback of the exception being handled. Call inside `except`."""
    return _plain(attempt(traceback.format_exc, lambda _: "a traceback that Python cannot print"))


def _pass_on(process: int) -> None:
    if os.getpid() != process:
        os._exit(1)
    if interrupts.asked():
        raise KeyboardInterrupt


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates cannot be encoded
