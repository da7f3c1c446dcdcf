"""Any function of arrays: perturbation methods explain it, what needs a gradient is skipped, wrong answers are told."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.jobs import Run
from xbench import attribute
from xbench.config.compose import component
from xbench.datasets.record import Dataset
from xbench.models.black_box import BlackBox

WEIGHTS = np.random.default_rng(0).normal(size=(13, 3))


def linear(values: np.ndarray) -> np.ndarray:
    return values @ WEIGHTS


def build(shift: float = 0.0) -> object:
    return lambda values: linear(values) + shift


@pytest.fixture(scope="module")
def wine() -> Dataset:
    return component("dataset", "wine").load()


def test_its_map_is_that_of_the_function(wine: Dataset) -> None:
    model = BlackBox(linear).load(wine)
    assert 0 <= model.accuracy <= 1
    x = wine.test.inputs[:4]
    maps = attribute(model.module, x, "feature_ablation", target=1)
    torch.testing.assert_close(maps, x * torch.from_numpy(WEIGHTS[:, 1]).float(), rtol=1e-4, atol=1e-3)


def test_its_outputs_are_its_fingerprint(wine: Dataset) -> None:
    one, same, other = (BlackBox(lambda shift=s: build(shift), True).load(wine) for s in (0.0, 0.0, 1.0))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_a_regression_may_answer_with_one_value_each() -> None:
    data = component("dataset", "diabetes").load()
    model = BlackBox(lambda values: values[:, 2]).load(data)
    assert model.module(data.test.inputs[:5]).shape == (5, 1)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda values: values[:1], r"\(n, outputs\) or \(n,\) for n = 35 samples, got float32 \(1, 13\)"),
        (lambda values: values[:, None, None], r"got float32 \(35, 1, 1, 13\)"),
        (lambda values: ["a"] * len(values), "got <U1"),
    ],
)
def test_a_wrong_answer_is_told(made: object, message: str, wine: Dataset) -> None:
    with pytest.raises(ValueError, match=message):
        BlackBox(made).load(wine)


def test_what_is_no_function_is_told(wine: Dataset) -> None:
    with pytest.raises(TypeError, match="_partial_: true"):
        BlackBox(3)
    with pytest.raises(TypeError, match="builds=true, but it built a float"):
        BlackBox(lambda: 1.0, builds=True).load(wine)
    with pytest.raises(ValueError, match="takes tensors, but data set 'sst2-standin' holds texts"):
        BlackBox(linear).load(component("dataset", "sst2", ["source=standin"]).load())


@pytest.mark.slow
def test_the_command_skips_what_needs_a_gradient(run: Run, tmp_path: Path) -> None:
    given = [f"model.function._target_={__name__}.build", "model.builds=true", "+model.function.shift=2.0"]
    methods = "algorithm=[ig,deeplift,lrp,gradcam,kernel_shap,feature_ablation]"
    assert run("dataset=wine", "model=black_box", *given, methods, "metric=infidelity", "n=4", "name=b") == 0
    cells = pd.read_csv(tmp_path / "reports" / "b" / "tables" / "cells.csv")
    status = dict(zip(cells["algorithm"], cells["status"], strict=True))
    assert {name for name, found in status.items() if found == "skipped"} == {"ig", "deeplift", "lrp", "gradcam"}
    assert {status["kernel_shap"], status["feature_ablation"], status["random"]} == {"ok"}
    assert cells["reason"].dropna().str.endswith("the model is a black box").all()


def test_an_estimator_that_was_trained_on_a_frame_gets_one(wine: Dataset) -> None:
    from sklearn.linear_model import LogisticRegression

    names = [f"my_{name}" for name in wine.columns]
    train = wine.train()
    frame = pd.DataFrame(train.inputs.numpy(), columns=names)
    estimator = LogisticRegression(max_iter=5000).fit(frame, train.targets.numpy())
    model = BlackBox(estimator.predict_proba).load(wine)  # warnings are errors: none of names that are missing
    expected = estimator.predict_proba(pd.DataFrame(wine.test.inputs.numpy(), columns=names))
    torch.testing.assert_close(model.module(wine.test.inputs), torch.from_numpy(expected).float())
    short = LogisticRegression().fit(frame[names[:2]], train.targets.numpy())
    with pytest.raises(ValueError, match="was trained on 2 columns"):
        BlackBox(short.predict_proba).load(wine)


def test_frame_true_names_the_columns_for_any_function(wine: Dataset) -> None:
    def of_a_frame(frame: pd.DataFrame) -> np.ndarray:
        return frame[list(wine.columns)].to_numpy() @ WEIGHTS

    model = BlackBox(of_a_frame, frame=True).load(wine)
    torch.testing.assert_close(model.module(wine.test.inputs), BlackBox(linear).load(wine).module(wine.test.inputs))
