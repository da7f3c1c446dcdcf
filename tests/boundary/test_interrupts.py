"""Signals: they end the work, but leave no module half imported, and none is lost."""

import os
import signal
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from xbench.boundary.interrupts import asked, interruptible

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_an_import_comes_to_its_end_first(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"interrupted_{number.name}"
    (tmp_path / f"{name}.py").write_text(
        f"import signal, time\nsignal.raise_signal({int(number)})\ntime.sleep(0.2)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    began = time.monotonic()

    def work() -> None:
        __import__(name)
        time.sleep(30)

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()
    assert time.monotonic() - began < 20
    assert sys.modules.pop(name).whole


@pytest.fixture
def background() -> Iterator[None]:
    """As in a script's `command &`: SIGINT is ignored, SIGTERM is not."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("background")
def test_it_is_not_lost_in_a_weak_references_callback() -> None:
    def called() -> None:
        signal.raise_signal(signal.SIGTERM)
        reached.append("after the signal")  # never: the callback ends, and Python would go on with what follows

    reached: list[str] = []

    def work() -> None:
        weakref.finalize(set(), called)
        reached.append("what follows")
        time.sleep(30)

    began, before = time.monotonic(), sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), interruptible():
        work()
    assert reached == ["what follows"]
    assert time.monotonic() - began < 20
    assert sys.unraisablehook is before


def test_other_errors_that_nobody_can_catch_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))
    with interruptible():
        weakref.finalize(set(), int, "no number")
    assert [type(error) for error in told] == [ValueError]


@pytest.mark.usefixtures("background")
def test_what_was_ignored_stays_ignored() -> None:
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGINT)
        assert not asked()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
