"""The comparison as Markdown and in a terminal."""

import math
import re

import pytest

from xbench.tables import plain_text, tables
from xbench.tables.columns import TableColumn


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1.00"), (0.9996, "1.00"), (0.12345, "0.123"), (12.345, "12.3"),
        (123.45, "123"), (1234.0, "1234"), (-0.5, "-0.500"), (0.001, "0.00100"), (0.00099, "9.90e-4"),
        (1.234e-12, "1.23e-12"), (99999.9, "1.00e5"), (1.5e7, "1.50e7"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert plain_text.number(value) == text


def test_markdown(sample):
    lines = plain_text.markdown(sample.grid).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert table[0].startswith("| model | dataset | algorithm | Infidelity ↓ | Infidelity, scaled ↓ |")
    assert table[0].endswith("| Runtime (ms) ↓ | Forward rows ↓ | Backward rows ↓ | Peak memory (MiB) ↓ |")
    first = table[2]
    assert first.startswith("| cnn | digits | Integrated Gradients | **0.0543** [0.0384, 0.0760] |")
    assert first.endswith("| 50 | 13.0 |")
    assert "*Random map* (control)" in table[5]
    assert "**" not in table[5]
    assert any("2 of 6 undefined" in line for line in lines)


def test_one_model_and_dataset_need_no_columns(maker):
    maker.done("ig", "error", {"error": [1.0]})
    text = plain_text.markdown(maker.build().grid)
    assert "| algorithm | Error ↓ |" in text
    assert "m on d, n = 1" in text


def test_terminal_is_readable(sample):
    text = tables.terminal(sample, width=150)
    assert max(map(len, text.splitlines())) <= 150
    assert re.search(r"Integrated Gradients +0\.0543\* +0\.0739\* +0\.155\*†", text)
    assert re.search(r"DeepLIFT +oom +oom", text)
    assert "Random map (control)" in text
    assert "not here" not in text
    narrow = tables.terminal(sample, width=40)
    assert len(narrow.splitlines()) > len(text.splitlines())
    assert not re.search(r"0\.0543\* +0\.0739", narrow)
    assert "In the report and its tables, not here: Infidelity; Infidelity, scaled." in " ".join(narrow.split())


def test_headers_show_units_and_directions():
    assert plain_text.title(TableColumn("hits", "hits", "higher", "%", "Hits", "Hits"), "Hits") == "Hits (%) ↑"
    assert plain_text.title(TableColumn("size", "size", "none", "bytes", "Size", "Size"), "Size") == "Size (MiB)"


def test_a_metric_names_its_columns_in_full_in_a_file_and_briefly_in_a_terminal(maker):
    facts = {"label": "Agreement with * experts", "short": "Agreement", "unit": "s"}
    maker.done("ig", "mine", {"agreed": [0.5]}, direction="higher", facts=facts)
    grid = maker.build().grid
    assert "| algorithm | Agreement with \\* experts (ms) ↑ |\n" in plain_text.markdown(grid)
    assert plain_text.terminal(grid).splitlines()[1:4] == ["    Agreement", "       (ms) ↑", "ig        500"]
