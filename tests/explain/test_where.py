"""The command at other places: points at a layer, gradients read at one, a neuron explained, and what is skipped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.jobs import Run, blobs, cells, same, table

TWO_LAYERS = ("algorithm=[saliency,ig,deeplift,occlusion]", "metric=[completeness,infidelity]", "controls=false")


def status(algorithm: str, metric: str | None = None) -> str:
    frame = cells()
    kept = frame[frame["algorithm"].eq(algorithm)]
    kept = kept[kept["metric"].isna() if metric is None else kept["metric"].eq(metric)]
    return str(kept["status"].item())


@pytest.mark.slow
def test_points_at_a_layer(run: Run) -> None:
    assert blobs(run, *TWO_LAYERS, "layer=first") == 0
    complete = table().query("metric == 'completeness'").set_index("algorithm")["mean"]
    assert complete["deeplift"] < 1e-3
    assert status("occlusion", "infidelity") == "ok"


@pytest.mark.slow
def test_a_neuron_is_explained(run: Run) -> None:
    assert blobs(run, *TWO_LAYERS, "neuron=[first,3]", "name=neuron") == 0
    complete = table("neuron").query("metric == 'completeness'").set_index("algorithm")["mean"]
    assert complete[["ig", "deeplift"]].max() < 1e-3  # a linear unit
    assert blobs(run, *TWO_LAYERS, "neuron=[first,[4]]", "name=other") == 0
    assert not table("neuron")["mean"].equals(table("other")["mean"])


def test_gradients_read_at_a_layer_and_what_cannot_be(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--config-dir", "conf", "dataset=blobs", *TWO_LAYERS, "read=first", "display=plain")
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    said = captured.err + captured.out
    first = said.index("skipped: occlusion on blobs/net: takes no `read`: it reads outputs only")
    assert first < said.index("ok       saliency on blobs/net")
    assert status("saliency") == "ok"
    assert status("saliency", "infidelity") == "skipped"
    assert {status("ig"), status("deeplift"), status("occlusion")} == {"skipped"}


@pytest.mark.slow
def test_the_plan_says_what_will_be_skipped(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """As soon as the weights are at hand; before, `run?` says that nobody knows."""
    assert run("n=2", "algorithm=saliency", "metric=[]", "controls=false", "display=none") == 0  # trains the model
    assert run("n=2", "algorithm=[saliency,ig]", "read=features.3", "plan=true", "display=plain") == 0
    said = capsys.readouterr().out
    assert "takes no `read`: IntegratedGradients multiplies" in said
    assert "  saliency  run " in said


@pytest.mark.slow
def test_what_flows_through_a_neuron_is_not_scored_as_the_neuron(run: Run) -> None:
    """Neuron conductance explains the output; infidelity would change the neuron's own value."""
    asked = ("algorithm=[ig,conductance]", "metric=[infidelity,sensitivity_max]", "controls=false", "neuron=[first,3]")
    assert blobs(run, *asked) == 0
    assert (status("conductance"), status("conductance", "infidelity")) == ("ok", "skipped")
    assert status("conductance", "sensitivity_max") == status("ig", "infidelity") == "ok"


@pytest.mark.slow
def test_places_are_part_of_what_a_result_is(run: Run) -> None:
    """A result at one place never stands for another, and asking again computes nothing."""
    for where in ("layer=first", "layer=second", "neuron=[first,3]", "layer=null"):
        assert blobs(run, "algorithm=ig", where) == 0
    stored = set(Path("results/cells").rglob("*.json"))
    assert blobs(run, "algorithm=ig", "layer=first") == 0
    assert set(Path("results/cells").rglob("*.json")) == stored


def test_a_layer_that_is_not_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config-dir", "conf", "dataset=blobs", "algorithm=ig", "layer=frist", "display=plain") == 2
    assert "has no layer 'frist'; did you mean first?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("layer=conv2@0", "layer must be LAYER, LAYER:input, LAYER@CALL or LAYER@CALL:input, got 'conv2@0'"),
        ("read='a:b'", "read must be LAYER, LAYER:input"),
        ("neuron=[first]", r"neuron must be [LAYER, INDEX] or [LAYER, [INDEX, ...]], got ['first']"),
        ("neuron=[first,x]", "neuron must be [LAYER, INDEX]"),
    ],
)
def test_a_place_in_another_form(run: Run, capsys: pytest.CaptureFixture[str], setting: str, message: str) -> None:
    assert run("--config-dir", "conf", "dataset=blobs", "algorithm=ig", setting) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("n", "sizes"), [(7, [3, 4]), (8, [3, 3, 2]), (1, [1])])
def test_no_block_is_left_with_a_single_sample(run: Run, n: int, sizes: list[int]) -> None:
    assert blobs(run, "algorithm=saliency", "metric=[]", "controls=false", f"n={n}", "run.block=3") == 0
    samples = cells().query("algorithm == 'saliency'")["samples"]
    assert sorted(samples) == sorted(sizes)


@pytest.mark.slow
def test_blocks_change_nothing_at_a_layer(run: Run) -> None:
    assert blobs(run, *TWO_LAYERS, "layer=first", "n=7", "name=whole") == 0
    assert blobs(run, *TWO_LAYERS, "layer=first", "n=7", "name=parts", "run.block=3", "store=b") == 0
    pd.testing.assert_index_equal(table("whole").index, table("parts").index)
    same(table("whole"), table("parts"))


@pytest.mark.slow
def test_features_and_baselines_are_chosen_by_name_and_are_part_of_a_results_identity(run: Run) -> None:
    common = ("algorithm=[feature_ablation,gradient_shap]", "metric=[]", "controls=false")
    choices = [(), ("features=pixels",), ("baseline=blur",), ("baseline=train",), ("features=words",)]
    codes = [blobs(run, *common, *choice, f"name=r{i}") for i, choice in enumerate(choices)]
    assert codes == [0, 0, 0, 0, 2]  # images have no words
    forward = []
    for i in range(4):
        mine = table(f"r{i}").query("algorithm == 'feature_ablation' and metric == 'forward_rows'")
        forward.append(float(mine["mean"].item()))
    assert forward == [10, 37, 10, 10]  # nine groups of four pixels, 36 pixels
    frames = [cells(f"r{i}") for i in range(4)]
    keys = [set(frame[frame["algorithm"].notna()]["key"]) for frame in frames]
    for one in range(4):
        assert not any(keys[one] & keys[other] for other in range(one))


@pytest.mark.slow
def test_one_number_of_an_output_with_several_dimensions_is_explained(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class per place, as of tokens or pixels: (n, 4 places, 3 classes)."""
    net = ("model.module._target_=tests.lab.Places", "algorithm=[deeplift,feature_ablation]", "metric=[completeness]")
    assert blobs(run, *net, "target=[3,1]", "controls=false") == 0
    assert float(table().query("algorithm == 'deeplift' and metric == 'completeness'")["mean"].item()) < 1e-3
    for wrong in ("target=predicted", "target=[4,1]", "target=[1]"):
        assert blobs(run, *net, wrong, "name=wrong") == 2
        assert "target" in capsys.readouterr().err
    assert blobs(run, *net, "target=[-1,0]") == 2
