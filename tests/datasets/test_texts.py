"""Texts: files of the user's in three formats, and reviews with the words that people marked."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from xbench.config.compose import component
from xbench.datasets.texts import TextTable

REAL = os.environ.get("XBENCH_DATA")
ROWS = [
    (f"a {word} film , number {i}", "bad" if i % 2 else "good")
    for i, word in enumerate(["dull", "fine", "poor", "neat"] * 3)
]


def table(path: Path, rows: list[tuple[object, object]] = ROWS) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    else:
        mark = "\t" if path.suffix == ".tsv" else ";"
        lines = [f'"{t}"{mark}{y}' if path.suffix == ".tsv" else f'"{t}",{y}' for t, y in rows]
        head = f"text{mark}label" if path.suffix == ".tsv" else "text,label"
        path.write_text("\n".join([head, *lines]) + "\n")
    return str(path)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_three_formats_give_the_same_data(ending: str, tmp_path: Path) -> None:
    data = TextTable(table(tmp_path / f"films{ending}")).load()
    assert (data.name, data.modality, data.classes) == ("films", "text", ("bad", "good"))
    assert (len(data.test), len(data.train())) == (2, 10)
    assert {*data.test.inputs, *data.train().inputs} == {text for text, _ in ROWS}


def test_long_texts_are_cut_and_that_is_noted_stop_or_are_left_out(tmp_path: Path) -> None:
    path = table(tmp_path / "films.csv", [*ROWS, ("far " * 20 + "too long", "good")])
    data = TextTable(path, max_words=15).load()
    assert max(len(text.split()) for text in (*data.test.inputs, *data.train().inputs)) <= 15
    assert data.notes == ("1 of 13 texts are cut to their first 15 words",)
    with pytest.raises(ValueError, match=r"row 14: the text has 22 words, and max_words is 15; dataset.too_long=skip"):
        TextTable(path, max_words=15, too_long="stop").load()
    skipped = TextTable(path, max_words=15, too_long="skip").load()
    assert "1 rows left out" in skipped.origin
    assert skipped.notes == ("1 of 13 rows are left out (bad=stop, too_long=skip)",)


@pytest.mark.parametrize(
    ("row", "arguments", "message"),
    [
        (("  ", "good"), {}, "row 3: the text is empty"),
        (("a film", ""), {}, "row 3: there is no label"),
        (("a film", "odd"), {"classes": ("bad", "good")}, "row 3: the label 'odd' is none of"),
    ],
)
def test_a_bad_row_stops_or_is_left_out(row: tuple, arguments: dict, message: str, tmp_path: Path) -> None:
    path = table(tmp_path / "films.csv", [ROWS[0], row, *ROWS[1:]])
    with pytest.raises(ValueError, match=f"films.csv, {message}.*bad=skip"):
        TextTable(path, **arguments).load()
    data = TextTable(path, bad="skip", **arguments).load()
    assert len(data.test) + len(data.train()) == 12
    assert "1 rows left out" in data.origin


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "words,label\nx,1\n", "has no column text; it has words, label"),
        ("a.jsonl", '{"text": 1\n', "line 1"),
        ("a.jsonl", "[1, 2]\n", "line 1: expected an object"),
        ("a.csv", "text,label\nx,1\ny,1\n", "2 good rows of 1 classes"),
    ],
)
def test_bad_files_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        TextTable(str(tmp_path / name)).load()


def test_no_file_and_wrong_options(tmp_path: Path) -> None:
    for name in ("no.csv", "no.jsonl"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            TextTable(str(tmp_path / name)).load()
    for wrong, message in (
        ({"bad": "x"}, "bad: expected"),
        ({"max_words": 0}, "max_words: expected"),
        ({"too_long": "x"}, "too_long"),
    ):
        with pytest.raises(ValueError, match=message):
            TextTable("a.csv", **wrong)


def _reviews(root: Path) -> None:
    documents = {"pos1.txt": "what a\ngreat film it is", "neg1.txt": "so very dull", "neg2.txt": "just bad"}
    spans = {"pos1.txt": [(2, 4)], "neg1.txt": [(1, 3)], "neg2.txt": [(1, 2)]}
    files = {f"docs/{name}": text for name, text in documents.items()}
    for part, names in {"val": ["pos1.txt", "neg1.txt"], "train": ["neg2.txt"]}.items():
        files[f"{part}.jsonl"] = "".join(
            json.dumps(
                {
                    "annotation_id": name,
                    "classification": "POS" if name.startswith("pos") else "NEG",
                    "evidences": [[{"start_token": a, "end_token": b} for a, b in spans[name]]],
                }
            )
            + "\n"
            for name in names
        )
    (root / "eraser_movies").mkdir()
    with tarfile.open(root / "eraser_movies" / "movies.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"movies/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))


def test_rationales_are_the_marked_words(tmp_path: Path) -> None:
    _reviews(tmp_path)
    data = component("dataset", "eraser_movies", [f"data_dir={tmp_path}"]).load()
    marked = {
        text: [word for word, mark in zip(text.split(), mask, strict=True) if mark]
        for text, mask in zip(data.test.inputs, data.test.masks, strict=True)
    }
    assert marked == {"what a great film it is": ["great", "film"], "so very dull": ["very", "dull"]}
    assert len(data.train()) == 1
    short = component("dataset", "eraser_movies", [f"data_dir={tmp_path}", "max_words=2"]).load()
    assert all(len(mask) == 2 for mask in short.test.masks)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "eraser_movies").mkdir()
    (tmp_path / "eraser_movies" / "movies.tar.gz").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"movies.tar.gz is damaged"):
        component("dataset", "eraser_movies", [f"data_dir={tmp_path}"]).load()


@pytest.mark.skipif(REAL is None, reason="XBENCH_DATA names no folder of real data")
def test_the_real_reviews() -> None:
    data = component("dataset", "eraser_movies", [f"data_dir={REAL}"]).load()
    assert (len(data.test), len(data.train())) == (200, 1600)
    assert sum(any(mask) for mask in data.test.masks) > 150


def _both(path: Path) -> dict[str, str]:
    data = TextTable(str(path), bad="skip").load()
    return {
        text: data.classes[label]
        for split in (data.test, data.train())
        for text, label in zip(split.inputs, split.targets.tolist(), strict=True)
    }


def test_texts_and_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    """Numbers, words that elsewhere mean "missing", and labels beside a row that has none."""
    path = tmp_path / "t.csv"
    path.write_text("text,label\n007,1\nNA,0\nnull,1\nnothing,\n1.50,0\n")
    assert _both(path) == {"007": "1", "NA": "0", "null": "1", "1.50": "0"}
    path = tmp_path / "t.jsonl"
    entries = [
        {"text": "one", "label": 1},
        {"text": "two", "label": 0},
        {"text": "none"},
        {"text": "a\u2028b", "label": 1},
    ]
    path.write_text("\ufeff" + "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries))
    assert _both(path) == {"one": "1", "two": "0", "a b": "1"}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_row_that_does_not_fit_the_header_is_named(tmp_path: Path, name: str) -> None:
    mark = "\t" if name.endswith("tsv") else ","
    lines = [("text", "label"), ("a", "1", "x"), ("b", "0", "y"), ("c", "1", "z")]
    (tmp_path / name).write_text("\n".join(mark.join(line) for line in lines))
    with pytest.raises(ValueError, match="line 2 has 3 values, and there are 2 columns"):
        TextTable(str(tmp_path / name)).load()


@pytest.mark.parametrize("content", ["[" * 100_000, "\xff\xfe"])
def test_json_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"t\.jsonl"):
        TextTable(str(tmp_path / "t.jsonl")).load()
