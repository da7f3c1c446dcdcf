"""Turns Ctrl-C and SIGTERM into KeyboardInterrupt: never in the middle of an import, and never lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.05  # seconds until a deferred signal is sent again
_OURS = (signal.SIG_DFL, signal.default_int_handler)  # other handlers, and "ignored", are left in place

_asked = False
_inside = False


def asked() -> bool:
    """Whether a signal has asked this process to end, even if the KeyboardInterrupt was caught."""
    return _asked


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM raise KeyboardInterrupt in the main thread, unless ignored or handled.

    A signal that arrives during an import is deferred: an interrupted import leaves a half-initialised module, and the
    report imports the same libraries as the interrupted cell. A signal that arrives in a weak reference's callback or a
    destructor is sent again, because Python prints and drops exceptions raised there.
    """
    global _asked, _inside  # signals belong to the process
    if _inside or threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    outside = _imports(sys._getframe())
    last = int(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        global _asked
        nonlocal last
        last = number
        if _imports(frame) > outside:
            _send_again(number)
        else:
            _asked = True
            raise KeyboardInterrupt

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            _send_again(last)
        else:
            tell(what)

    wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) in _OURS]
    before = {number: signal.signal(number, interrupt) for number in wanted}
    tell, sys.unraisablehook = sys.unraisablehook, dropped
    _asked, _inside = False, True
    try:
        yield
    finally:
        _inside = False
        sys.unraisablehook = tell
        for number, handler in before.items():
            signal.signal(number, handler)


def _send_again(number: int) -> None:
    timer = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _imports(frame: FrameType | None) -> int:
    """The number of imports in progress at a frame."""
    count = 0
    while frame is not None:
        count += (
            frame.f_code.co_filename == "<frozen importlib._bootstrap>" and frame.f_code.co_name == "_find_and_load"
        )
        frame = frame.f_back
    return count
