"""`xbench list`: every declaration is shown, at any width, whatever is wrong with one of the files."""

import sys
from collections import Counter

import pytest

from xbench.__main__ import main as command
from xbench.cli.listing import main
from xbench.config.compose import component
from xbench.config.nodes import CONF

MODULE = """
from dataclasses import dataclass
from xbench.algorithms import Facts, Need, Saliency

@dataclass(frozen=True)
class Mine(Saliency):
    "The slope of a lab."
    power: float = 1.0

    @property
    def facts(self):
        return Facts("Mine", "a lab [2026]", stochastic=None, needs=(Need.SAMPLES, Need.CONVOLUTION))
"""
TARGETS = {  # option -> its file after the header
    "mine": "# My own.\n_target_: {lab}.Mine\npower: 2.0",
    "gone": "# Not installed.\n_target_: {lab}_of_another.Mine",
    "misspelt": "_target_: {lab}.Mime",
    "wrong": "_target_: {lab}.Mine\npowr: 2.0",
    "no_algorithm": "_target_: fractions.Fraction",
    "raises": "_target_: {lab}_raises.Mine",
    "not_yaml": "# Half a file.\n_target_: [",
    "empty": "",
}


@pytest.fixture(autouse=True)
def a_pipe(monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder of option files, some of them broken, and the module they name."""
    name = f"lab_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_raises.py").write_text("import no_such_library")
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    texts = {option: f"# @package algorithm.{option}\n{text.format(lab=name)}" for option, text in TARGETS.items()}
    texts["two"] = "# Two of them.\ndefaults: [mine, ig]"
    texts["typo"] = "# A preset.\ndefaults: [mine, igg]"
    texts["derived"] = "# @package algorithm\n# Others, and more steps.\ndefaults: [ig, _self_]\nig:\n  n_steps: 7"
    for option, text in texts.items():
        (tmp_path / "conf" / "algorithm" / f"{option}.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "conf"


def listed(capsys, *words):
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def blocks(text):
    """The lines of every option by its name, until the presets."""
    head, *found = text.split("PRESETS\n")[0].rstrip().split("\n\n")
    first = head.split("\n", 1)  # the heading stands above the first option
    return {block.split(maxsplit=1)[0]: block.split("\n") for block in (first[1], *found)}


def presets(text):
    found = text.split("PRESETS\n")[1].split("\n\n")
    return {block.split("\n")[0]: [line.strip() for line in block.split("\n")[1:]] for block in found}


def columns(line, name):
    return [cell.strip() for cell in line.removeprefix(name).strip().split("  ") if cell.strip()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("ig", ["global", "no", "yes", "a gradient"], "Axiomatic Attribution for Deep Networks, arXiv 1703.01365"),
        ("saliency", ["local", "no", "no", "a gradient"], "Simonyan, Vedaldi, Zisserman 2013"),
        ("kernel_shap", ["global", "yes", "yes", "nothing"], "arXiv 1705.07874"),
        ("smoothgrad", ["local", "yes", "no", "real-valued points, a gradient"], "Smilkov"),
        ("lrp", ["global", "no", "no", "a gradient, a module whose operations can be seen"], "PLOS ONE"),
        ("feature_permutation", ["global", "yes", "no", "at least two samples"], "Fisher"),
    ],
)
def test_what_an_algorithm_needs_and_promises(capsys, name, cells, words):
    first, description, citation = blocks(listed(capsys, "algorithms"))[name]
    assert columns(first, name) == cells
    assert description.strip() in (CONF / "algorithm" / f"{name}.yaml").read_text()
    assert words in citation


@pytest.mark.slow
def test_every_algorithm_shows_its_citation_and_nothing_is_cut(capsys):
    text = listed(capsys, "algorithms")
    shown = blocks(text)
    for path in (CONF / "algorithm").glob("*.yaml"):
        if "defaults:" in path.read_text():
            assert path.stem in presets(text)
        elif path.stem == "callable":
            assert "algorithm.callable.function=..." in shown["callable"][-1]
        else:
            assert shown[path.stem][-1].strip() == component("algorithm", path.stem).facts.citation
    assert all(character.isprintable() for line in text.split("\n") for character in line)


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("words", [["algorithms"], ["metrics"], ["algorithms", "ig_tol"]])
def test_a_narrow_terminal_loses_no_word(capsys, monkeypatch, width, words):
    whole = listed(capsys, *words)
    monkeypatch.setenv("COLUMNS", str(width))
    text = listed(capsys, *words)
    assert max(len(line) for line in text.split("\n")) <= width
    assert Counter(text.split()) == Counter(whole.split())


@pytest.mark.slow
def test_presets_stand_apart_with_their_members(capsys):
    found = presets(listed(capsys, "algorithms"))
    assert found["fast"][-1] == "saliency, input_x_gradient, ig, deeplift, gradient_shap"
    assert found["layer"][-1] == "activation, gradient_x_activation, conductance, internal_influence"
    assert "ig" not in found
    assert (
        presets(listed(capsys, "metrics"))["standard"][-1]
        == "infidelity, srg, sensitivity_max, random_logit, sparseness, completeness"
    )
    few = listed(capsys, "algorithms", "layer")
    assert list(blocks(few)) == ["activation", "gradient_x_activation", "conductance", "internal_influence"]
    assert next(iter(presets(few))) == "layer"


@pytest.mark.slow
def test_what_is_broken_is_shown_with_its_error_beside_the_rest(lab, capsys):
    text = listed(capsys, "algorithms", "--config-dir", str(lab))
    shown = blocks(text)
    assert columns(shown["mine"][0], "mine") == [
        "global",
        "not known",
        "no",
        "at least two samples, a convolutional layer",
    ]
    assert [line.strip() for line in shown["mine"][1:]] == ["My own.", "a lab [2026]"]
    module = f"lab_{lab.parent.name}"
    for name, error in {
        "gone": f"there is no module '{module}_of_another'",
        "misspelt": "did you mean Mine?",
        "wrong": "did you mean power?",
        "no_algorithm": "fractions.Fraction is no Algorithm",
        "raises": "needs the package 'no_such_library'",
        "not_yaml": "ParserError",
        "empty": "names no component",
        "typo": "no option 'igg' for algorithm (asked for by algorithm/typo.yaml)",
    }.items():
        assert any("cannot be used: " in line for line in shown[name]), name
        assert error in " ".join(shown[name]), name
    assert "ig" in shown
    assert presets(text)["two"] == ["Two of them.", "mine, ig"]
    assert presets(text)["derived"] == ["Others, and more steps.", "ig"]


def test_one_algorithm_in_full(lab, capsys):
    text = listed(capsys, "algorithms", "smoothgrad")
    for line in (
        "map         local: slopes, like a gradient",
        "stochastic  yes",
        "needs       real-valued points, a gradient",
        "    algorithm.smoothgrad.nt_samples=20   default 5",
        "    algorithm.smoothgrad.nt_type=smoothgrad",
        "    algorithm.smoothgrad.algorithm.abs=false",
        "    nt_samples: number of noisy copies.",
    ):
        assert line in text.split("\n"), line
    assert "    algorithm.ig.tol=null\n" in listed(capsys, "algorithms", "ig")  # not in the option file
    mine = listed(capsys, "algorithms", "mine", "-cd", str(lab))
    assert "    algorithm.mine.power=2.0   default 1.0\n" in mine
    assert mine.endswith("The slope of a lab.\n")
    gone = listed(capsys, "algorithms", "gone", "-cd", str(lab))
    assert "cannot be used: algorithm.gone._target_: there is no module" in gone


def test_parameters_that_must_be_given_are_named(capsys):
    text = listed(capsys, "algorithms", "callable")
    assert "    algorithm.callable.function=???   to be given\n" in text
    assert "    algorithm.callable.local=false\n" in text
    assert "class  xbench.algorithms.external.external.External\n" in text


@pytest.mark.slow
def test_metrics_say_which_direction_is_better(capsys):
    shown = blocks(listed(capsys, "metrics"))
    assert columns(shown["sensitivity_max"][0], "sensitivity_max") == [
        "sensitivity_max (lower is better), sensitivity_max_floor (no direction)"
    ]
    assert "arXiv 1901.09392" in shown["infidelity"][-1]
    text = listed(capsys, "metrics", "infidelity")
    assert "infidelity_relative  lower is better, at least 0, at most 1. The share of the output's changes" in text
    assert "family               faithfulness\n" in text
    assert "    metric.infidelity.n_perturb_samples=50   default 10\n" in text


@pytest.mark.parametrize(("subject", "known"), [("datasets", "sst2"), ("models", "cnn"), ("model", "cnn")])
def test_a_line_for_each_dataset_and_model(capsys, subject, known):
    lines = dict(line.split(maxsplit=1) for line in listed(capsys, subject).splitlines())
    assert known in lines
    assert not any(description.startswith("@package") for description in lines.values())
    assert listed(capsys, subject, known).splitlines()[0] == known


def test_a_data_set_and_a_model_in_full(capsys):
    text = listed(capsys, "datasets", "table")
    assert "    dataset.path=???\n    dataset.target=???\n" in text
    assert "    dataset.drop=[]\n" in text
    assert "drop: columns to leave out" in text
    text = listed(capsys, "models", "custom")
    assert "    model.module._target_=???\n    model.weights=null\n" in text
    assert "    +model.seed=0\n" in text
    assert "    model.architecture.width=32\n" in listed(capsys, "models", "cnn")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["algoritms"], "no list of 'algoritms'; did you mean algorithms?"),
        (["algorithms", "saliensy"], "no algorithm 'saliensy'; did you mean saliency?"),
        (["metrics", "--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
    ],
)
def test_names_that_do_not_exist(monkeypatch, capsys, words, said):
    monkeypatch.setattr(sys, "argv", ["xbench", "list", *words])
    assert command() == 2
    assert capsys.readouterr().err.startswith(f"xbench: {said}")
