"""Tables: what is bundled, a file of the user's, and what is said of a bad one."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from xbench.config.compose import component
from xbench.datasets.record import Dataset
from xbench.datasets.series import SeriesTable
from xbench.datasets.table import Table

BUNDLED = {"breast_cancer": (30, 2), "wine": (13, 3), "diabetes": (10, 0)}
FILES = {"adult": (2, 500), "titanic": (2, 178), "compas": (2, 500)}
REAL = Path(os.environ.get("XBENCH_DATA", "")).resolve() if os.environ.get("XBENCH_DATA") else None


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_tables_load_and_are_what_they_were(name: str) -> None:
    width, classes = BUNDLED[name]
    data, again = component("dataset", name).load(), component("dataset", name).load()
    train = data.train()
    assert (data.name, data.modality, data.test.inputs.shape[1], len(data.classes)) == (name, "tabular", width, classes)
    assert data.fingerprint == again.fingerprint
    assert not set(data.test.ids) & set(train.ids)
    assert len(data.columns) == width
    torch.testing.assert_close(data.baseline, train.inputs.mean(0, keepdim=True))
    assert data.test.targets.is_floating_point() == (classes == 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}/.* is missing: put it at {tmp_path}"):
        component("dataset", name, [f"data_dir={tmp_path}"]).load()


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA names no folder of real data")
@pytest.mark.parametrize("name", FILES)
def test_the_real_files_are_read(name: str) -> None:
    classes, n = FILES[name]
    data = component("dataset", name, [f"data_dir={REAL}"]).load()
    assert (len(data.classes), len(data.test)) == (classes, n)
    assert torch.isfinite(data.test.inputs).all()


def _write(path: Path, frame: pd.DataFrame) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def _people(n: int = 40) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [20 + i for i in range(n)],
            "town": ["Ulm" if i % 3 else "Bonn" for i in range(n)],
            "paid": ["yes" if i % 2 else "no" for i in range(n)],
        }
    )


def test_a_category_is_one_feature_of_several_columns(tmp_path: Path) -> None:
    data = Table(_write(tmp_path / "people.csv", _people()), "paid").load()
    assert (data.name, data.classes) == ("people", ("no", "yes"))
    assert data.columns == ("age", "town=Bonn", "town=Ulm")
    assert data.features.tolist() == [[0, 1, 1]]
    assert (data.test.inputs[:, 1:].sum(1) == 1).all()


def test_a_missing_number_is_the_median_and_a_missing_category_one_of_its_own(tmp_path: Path) -> None:
    people = _people()
    people.loc[5, "age"] = None
    people.loc[6, "town"] = None
    data = Table(_write(tmp_path / "people.csv", people), "paid").load()
    assert "town=missing" in data.columns
    values = torch.cat([data.test.inputs, data.train().inputs])
    assert torch.isfinite(values).all()
    median = float(data.train().inputs[:, 0].median())
    assert abs(float(values[:, 0].mean()) - float(people["age"].mean())) < abs(median)


def test_a_number_with_many_values_is_a_regression(tmp_path: Path) -> None:
    path = _write(tmp_path / "people.csv", _people())
    assert Table(path, "age").load().classes == ()
    assert len(Table(path, "age", task="classification").load().classes) == 40


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("a,b\n1,2\n", {"target": "c"}, "has no column c; it has a, b"),
        ("a,b\n1,2\n", {"target": "b", "drop": ("x",)}, "has no column x"),
        ("", {"target": "b"}, "is no table"),
        ("a,b\n", {"target": "b"}, "no rows after the header"),
        ("a,b\n1,2,3\n1,2,3,4\n", {"target": "b"}, "is no table of columns separated by ','"),
        ("a,b\n1,\n2,1\n", {"target": "b"}, "row 2: no value in the target column 'b'"),
        ("a,b\n1,1\n2,1\n", {"target": "b"}, "every row has the target 1"),
        ("a,b\n1,x\n2,y\n", {"target": "b", "task": "regression"}, "a regression needs numbers"),
        ("a,b\n1,0\ninf,1\n", {"target": "b"}, "column 'a' holds an infinite number"),
        (
            "\n".join(["a,b", *(f"name{i},{i % 2}" for i in range(50))]),
            {"target": "b"},
            "names rows and is no category",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, arguments: dict, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        Table(str(path), **arguments).load()
    assert "bad.csv" in str(error.value)


def test_no_file_and_no_such_task(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Table(str(tmp_path / "no.csv"), "y").load()
    with pytest.raises(ValueError, match="task: expected auto"):
        Table("x.csv", "y", task="guess")


def _values(data: Dataset) -> list[list[float]]:
    return sorted(torch.cat([data.test.inputs, data.train().inputs]).tolist())


def _rows(path: Path, content: bytes) -> list[list[float]]:
    path.write_bytes(content)
    return _values(Table(str(path), "y").load())


PLAIN = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa,b,y\n1,2,no\n3,4,yes\n5,6,no\n",
        b'\xef\xbb\xbf"a",b,y\r\n1,2,no\r\n\r\n3,4,yes\r\n5,6,no\r\n',
        b'a,b,y\n1,2,"n, o"\n3,4,"y\ne,s"\n5,6,"n, o"\n   \n',
        b'"a, with a comma",b,y\n1,2,no\n3,4,yes\n5,6,no',
    ],
    ids=["mark", "quoted after the mark", "quoted values", "quoted names"],
)
def test_marks_quotes_and_blank_lines_move_nothing(tmp_path: Path, content: bytes) -> None:
    assert _rows(tmp_path / "t.csv", content) == PLAIN


def test_columns_may_be_separated_by_white_space(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a   b\ty\n1 2   no \n3\t4 yes\n 5 6 no\n")
    assert _values(Table(str(tmp_path / "t.txt"), "y", separator=r"\s+").load()) == PLAIN
    with pytest.raises(ValueError, match="separator: expected one character"):
        Table(str(tmp_path / "t.txt"), "y", separator=", ").load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,y\n1,2,0,7\n3,4,1,7\n5,6,0,7\n", "line 2 has 4 values, and there are 3 columns"),
        ("a,b,y\n1,2,0,7\n3,4,1\n", "line 2 has 4 values, and there are 3 columns"),
        ("a,b,y\n1,2,0\n3,4,1,\n", "line 3 has 4 values, and there are 3 columns"),
        ("a,b,y\n1,2,0\n\n3,1\n5,6,0\n", "line 4 has 2 values, and there are 3 columns"),
        ('a,b,y\n"1\n",2,0\n3,1\n', "line 4 has 2 values, and there are 3 columns"),
        ("a,y,a\n1,0,2\n3,1,4\n", "2 columns have the name 'a'"),
        (",a,y\n0,1,0\n1,2,1\n", "column 1 of 3 has no name in the header"),
        ("a,y,\n0,1,\n1,2,\n", "column 3 of 3 has no name in the header"),
    ],
)
@pytest.mark.parametrize("kind", [Table, SeriesTable])
def test_rows_and_names_that_do_not_fit_the_header_are_refused(
    tmp_path: Path, kind: type, content: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        kind(str(tmp_path / "t.csv"), "y").load()
    assert "t.csv" in str(error.value)


def test_cells_without_a_value_are_noted(tmp_path: Path) -> None:
    people = _people()
    assert Table(_write(tmp_path / "people.csv", people), "paid").load().notes == ()
    people.loc[5:7, "age"] = None
    people.loc[6, "town"] = None
    assert Table(_write(tmp_path / "people.csv", people), "paid").load().notes == (
        "cells without a value, 3 of 80, count as their column's median over the rows to train on (age 3)",
        'cells without a value, 1 of 80, count as a category of their own, "missing" (town 1)',
    )


def test_a_column_without_any_value_is_refused(tmp_path: Path) -> None:
    """It was a column of zeros."""
    with pytest.raises(ValueError, match=r"people.csv: column 'age' has no value in any of the 32 rows to train on"):
        Table(_write(tmp_path / "people.csv", _people().assign(age=None)), "paid").load()
