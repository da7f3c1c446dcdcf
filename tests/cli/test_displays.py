"""What a run says while it works."""

import io
import json
import logging
import warnings

import pytest
from rich.console import Console

from xbench.cli.displays import JsonDisplay, PlainDisplay, create
from xbench.cli.live import RichDisplay
from xbench.run.progress import NoDisplay, Tally, logging_through


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_totals_continue_across_jobs() -> None:
    tally = Tally()
    tally.expected.extend([4, 4])
    assert (tally.cells, tally.todo) == (8, 8)
    tally.start(cells=6, reused=2)  # blocks: more cells than were expected
    assert (tally.cells, tally.reused, tally.todo) == (10, 2, 8)
    for status in ("ok", "oom", "skipped", "ok"):
        tally.cell_done(status)
    assert (tally.done, tally.failed, tally.todo) == (4, 1, 4)
    tally.start(cells=4, reused=4)
    assert (tally.cells, tally.todo) == (10, 0)


def test_speed_and_time_left() -> None:
    clock = Clock()
    tally = Tally(clock=clock)
    tally.start(cells=4, reused=1)
    assert tally.rows_per_second is None
    assert tally.seconds_left is None
    for second, done in enumerate([0, 100, 200]):
        clock.now = float(second)
        tally.advance("ig", done)
    assert tally.rows_per_second == 100
    clock.now = 4.0
    tally.cell_done("ok")
    assert tally.seconds_left == 8.0  # 2 cells to do, 4 seconds each
    clock.now = 5.0
    tally.advance("ig", 30)  # the next block counts from 0 again
    tally.advance("lime", 20)  # beside it
    assert tally.rows_per_second == 250 / 5


def drive(display: PlainDisplay | JsonDisplay | RichDisplay | NoDisplay) -> None:
    display.expect([3])
    display.start(3, 1)
    display.cell_started("ig on digits/cnn")
    display.advance("ig on digits/cnn", 8, 16)
    display.message("a [warning]")
    display.cell_done("ig on digits/cnn", "ok", 1.25)
    display.cell_done("lime on digits/cnn", "error", 0.5, "it broke")
    display.result("the table", report="reports/x/index.html")
    display.finish()


def test_plain_lines() -> None:
    progress, results = io.StringIO(), io.StringIO()
    drive(PlainDisplay(progress, results))
    assert progress.getvalue().splitlines() == [
        "3 cells: 1 reused, 2 to do",
        "a [warning]",
        "[2/3] ok       ig on digits/cnn  1.2 s",
        "[3/3] error    lime on digits/cnn  0.5 s  it broke",
    ]
    assert results.getvalue() == "the table\n"


def test_json_is_one_object_per_line() -> None:
    stream = io.StringIO()
    drive(JsonDisplay(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "expect", "start", "cell_started", "advance", "message", "cell_done", "cell_done", "result", "finish",
    ]  # fmt: skip
    assert events[6] == {
        "event": "cell_done",
        "label": "lime on digits/cnn",
        "status": "error",
        "seconds": 0.5,
        "reason": "it broke",
    }
    assert events[7]["report"] == "reports/x/index.html"


def test_rich_shows_counts_failures_and_results() -> None:
    progress, results = io.StringIO(), io.StringIO()
    terminal = Console(file=progress, force_terminal=True, width=120)
    drive(RichDisplay(terminal, Console(file=results, width=20)))
    assert "1 reused" in progress.getvalue()
    assert "a [warning]" in progress.getvalue()
    assert "error: lime on digits/cnn: it broke" in progress.getvalue()
    assert results.getvalue() == "the table\n"


def test_none_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    drive(NoDisplay())
    assert capsys.readouterr() == ("", "")


def test_auto_is_plain_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(create("auto"), PlainDisplay)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(create("auto"), RichDisplay)
    assert isinstance(create("plain"), PlainDisplay)


def test_log_lines_and_warnings_go_through_the_display() -> None:
    progress = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with logging_through(PlainDisplay(progress)), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        logging.getLogger("xbench.datasets").info("training the model")
        logging.getLogger("other").info("chatter")
        logging.getLogger("other").warning("careful")
        warnings.warn("old name", UserWarning, stacklevel=1)
    said = progress.getvalue()
    assert "training the model\n" in said
    assert "careful\n" in said
    assert "UserWarning: old name" in said
    assert "chatter" not in said
    assert (root.handlers, root.level) == before
