"""Names that others use lead to ours, in the command and in Python."""

from __future__ import annotations

import inspect
import re

import captum.attr
import pytest
import torch

import xbench
from tests.jobs import Run
from xbench.cli.option_files import options
from xbench.config.arguments import nearest
from xbench.config.nodes import CONF, ConfigError
from xbench.config.synonyms import synonym

OPTIONS = list(options("algorithm", [CONF]))
BASES = ("Attribution", "GradientAttribution", "PerturbationAttribution", "NeuronAttribution", "LayerAttribution")
OTHERS = ("DataLoaderAttribution", "LLMAttribution", "LLMGradientAttribution", "RemoteLLMAttribution")


def _names() -> list[str]:
    found = [name for name in captum.attr.__all__ if inspect.isclass(getattr(captum.attr, name))]
    classes = [name for name in found if issubclass(getattr(captum.attr, name), captum.attr.Attribution)]
    return [name for name in classes if name not in (*BASES, *OTHERS)]


@pytest.mark.parametrize("name", _names())
def test_every_attribution_class_of_captum_has_ours(name: str) -> None:
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    ours = synonym(name, OPTIONS)
    assert ours is not None
    assert ours.split()[0] in OPTIONS
    assert synonym(snake, OPTIONS) == ours


def test_where_it_looks_is_said_too() -> None:
    assert nearest("integrated_gradients", OPTIONS).startswith("did you mean ig? ")
    assert synonym("LayerIntegratedGradients", OPTIONS) == "ig with layer=NAME"
    assert synonym("neuron_integrated_gradients", OPTIONS) == "ig with neuron=[LAYER,INDEX]"
    assert synonym("NeuronGradient", OPTIONS) == "saliency with neuron=[LAYER,INDEX]"
    assert synonym("LayerConductance", OPTIONS) == "conductance with read=NAME"
    assert synonym("integrated_gradients", ["deeplift"]) is None
    assert synonym("accuracy", OPTIONS) is None


@pytest.mark.parametrize("name", ["integrated_gradients", "IntegratedGradients"])
def test_in_the_command_and_in_python(run: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = f"no option '{name}' for algorithm; did you mean ig?"
    assert run(f"algorithm={name}") == 2
    assert said in capsys.readouterr().err
    with pytest.raises(ConfigError, match=re.escape(said)):
        xbench.attribute(torch.nn.Linear(2, 1), torch.ones(1, 2), name)


def test_metrics_of_others(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("metric=SensitivityMax") == 2
    assert "did you mean sensitivity_max?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="did you mean infidelity[?]"):
        xbench.measure(torch.nn.Linear(2, 1), torch.ones(1, 2), "saliency", "Infidelity")
