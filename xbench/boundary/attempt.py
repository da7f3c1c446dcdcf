"""The boundary around what is not ours: a user's part ends its own cell or job, whatever it raises."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import TypeVar

from xbench.boundary import interrupts

Result = TypeVar("Result")


def attempt(work: Callable[[], Result], failed: Callable[[BaseException], Result]) -> Result:
    """What `work` returns, or what `failed` makes of what it raised: SystemExit and KeyboardInterrupt like any other.

    A signal that asked the process to end is not the part's own: its KeyboardInterrupt goes on, also when the part
    caught it. A process that the part forked ends here, and does not become a second one of ours.
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
    """What an error says, as text that can be stored and shown."""
    return _plain(attempt(lambda: str(error), lambda _: "it cannot say what: its __str__ raises"))


def words(error: BaseException) -> str:
    """`ValueError: what it says`."""
    kind, said = type(error).__name__, message(error)
    return f"{kind}: {said}" if said else kind


def trace() -> str:
    """Inside an `except` block: the traceback."""
    return _plain(attempt(traceback.format_exc, lambda _: "a traceback that Python cannot print"))


def _pass_on(process: int) -> None:
    if os.getpid() != process:
        os._exit(1)
    if interrupts.asked():
        raise KeyboardInterrupt


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate is in no file and on no screen
