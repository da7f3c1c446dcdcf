"""Signals: they end the work, but leave no module half imported."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from xbench.cli.interrupts import interruptible

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


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
