"""What the data make a reader know: in the terminal, below the table and in the report, whatever was reused."""

from pathlib import Path

import pytest

from tests.jobs import Run

GIVEN = ["model=linear", "algorithm=[saliency]", "metric=[]", "controls=false", "display=plain"]


def said(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str, str, str]:
    """What a command wrote to standard error and standard output, its table and its report."""
    assert run(*GIVEN, *arguments) == 0
    captured = capsys.readouterr()
    table = Path("reports/latest/tables/comparison.md").read_text()
    page = Path("reports/latest/index.html").read_text()
    return captured.err, " ".join(captured.out.split()), table, page


@pytest.mark.slow
def test_more_samples_than_there_are(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    note = "wine: n=4000, and there are 35 samples to explain: all of them are."
    assert not any("samples to explain" in text for text in said(run, capsys, "dataset=wine"))
    for _ in range(2):  # the second time all cells are reused
        assert all(note in text for text in said(run, capsys, "dataset=wine", "n=4000"))
    assert not any("samples to explain" in text for text in said(run, capsys, "dataset=wine", "n=30"))


@pytest.mark.slow
def test_cells_that_were_filled_and_rows_that_are_few(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("a,b,y\n1,2,no\n,4,yes\n5,6,no\n")
    told = said(run, capsys, "dataset=table", "dataset.path=t.csv", "dataset.target=y")
    filled = "t: cells without a value, 1 of 6, count as their column's median over the rows to train on (a 1)."
    few = "t: only 1 sample to explain (t.csv, a table of 3 rows): means and intervals of so few say little."
    for text in told:
        text = text.replace("&#39;", "'")
        assert filled in text
        assert few in text
    chosen = said(run, capsys, "dataset=table", "dataset.path=t.csv", "dataset.target=y", "n=1")
    assert not any("so few" in text for text in chosen)
