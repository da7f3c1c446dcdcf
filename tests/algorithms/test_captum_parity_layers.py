"""Values of Captum's layer and neuron classes against ours: `layer`, `read` and `neuron` of `xbench.attribute`.

The table at the end names the test of every attribution class of Captum.
"""

import inspect
import re
from functools import cache
from pathlib import Path

import captum.attr as c
import pytest
import torch
from captum.attr._utils.attribution import Attribution

from tests.algorithms import test_captum_parity as primary
from tests.algorithms.captum_pairs import SEED, TARGET, N, gradient_shap_draws, images, pairs, same, texts
from tests.models_for_tests import ReluNet, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.rules.lrp import epsilon_only

pytestmark = primary.pytestmark
noise = primary.noise  # the fixture

TARGETS = torch.tensor(TARGET)  # a list or a tensor is the same to ours; some of Captum's take the tensor only


def relus() -> tuple[ReluNet, torch.Tensor, torch.Tensor]:
    """A network of ReLU modules, its samples and one baseline each."""
    return weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2) / 2


# Layers


@pytest.mark.parametrize("layer", ["conv1", "norm", "conv2:input", "hidden"])  # norm: an in-place function follows
def test_layer_activation(layer):
    model, x, _ = images()
    name, _, at_input = layer.partition(":")
    theirs = c.LayerActivation(model, model.get_submodule(name))
    ours = attribute(model, x, a.Activation(), target=TARGET, read=layer)
    same(ours, theirs.attribute(x, attribute_to_layer_input=bool(at_input)), 1e-12)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
def test_layer_integrated_gradients(method):
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(6, method), target=TARGET, baselines=x0, layer="conv2")
    theirs = c.LayerIntegratedGradients(model, model.conv2)
    same(ours, theirs.attribute(x, x0, TARGETS, n_steps=6, method=method))


def test_layer_integrated_gradients_at_a_layers_input():
    model, x, x0 = images()
    ours = attribute(model, x, a.IntegratedGradients(6), target=TARGET, baselines=x0, layer="conv2:input")
    theirs = c.LayerIntegratedGradients(model, model.conv2)
    same(ours, theirs.attribute(x, x0, TARGETS, n_steps=6, attribute_to_layer_input=True))


def test_layer_integrated_gradients_at_an_embedding():
    model, ids, pad, extra = texts()
    ours = attribute(
        model, ids, a.IntegratedGradients(6), target=TARGET, baselines=pad, extra=extra, layer=model.embedding
    )
    theirs = c.LayerIntegratedGradients(model, model.embedding)
    same(ours, theirs.attribute(ids, pad, TARGETS, extra, n_steps=6))


@pytest.mark.parametrize("layer", ["embedding", "hidden"])
def test_layer_gradient_x_activation_of_texts(layer):
    model, ids, _, extra = texts()
    ours = attribute(model, ids, a.GradientXActivation(), target=TARGET, extra=extra, read=layer)
    theirs = c.LayerGradientXActivation(model, model.get_submodule(layer))
    same(ours, theirs.attribute(ids, TARGETS, extra), 1e-12)


@pytest.mark.parametrize("layer", ["conv1", "norm", "conv2", "hidden"])  # norm: an in-place function follows
@pytest.mark.parametrize("how", ["layer", "read"])
@pytest.mark.parametrize("multiply", [True, False])
def test_layer_gradient_x_activation(layer, how, multiply):
    model, x, _ = images()
    ours = attribute(model, x, a.GradientXActivation(multiply), target=TARGET, **{how: layer})
    theirs = c.LayerGradientXActivation(model, model.get_submodule(layer), multiply_by_inputs=multiply)
    same(ours, theirs.attribute(x, TARGETS), 1e-12)


def test_layer_conductance():
    """Its trapezoid takes ours' nodes, and its gradients are those at the start of each piece."""
    model, x, x0 = images()
    theirs = c.LayerConductance(model, model.conv2).attribute(x, x0, TARGETS, n_steps=7, method="riemann_trapezoid")
    ours = attribute(model, x, a.Conductance(7, "riemann_left"), target=TARGET, baselines=x0, read="conv2")
    same(ours, theirs)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"])
def test_internal_influence(method):
    model, x, x0 = images()
    theirs = c.InternalInfluence(model, model.conv2).attribute(x, x0, TARGETS, n_steps=6, method=method)
    ours = attribute(model, x, a.InternalInfluence(6, method), target=TARGET, baselines=x0, read="conv2")
    same(ours, theirs)


def test_internal_influence_of_several_inputs_at_a_layers_input():
    model, x, x0 = pairs()
    theirs = c.InternalInfluence(model, model.out)
    ours = attribute(model, x, a.InternalInfluence(6), target=TARGET, baselines=x0, read="out:input")
    same(ours, theirs.attribute(x, x0, TARGETS, n_steps=6, attribute_to_layer_input=True))


@pytest.mark.parametrize("layer", ["conv1", "pool", "conv2", "hidden"])
def test_layer_deeplift(layer):
    model, x, x0 = relus()
    ours = attribute(model, x, a.DeepLift(), target=TARGET, baselines=x0, layer=layer)
    theirs = c.LayerDeepLift(model, model.get_submodule(layer))
    same(ours, theirs.attribute(x, x0, TARGETS), 1e-10)


@pytest.mark.parametrize("layer", ["conv1", "pool", "hidden"])
def test_layer_deeplift_shap(layer):
    model, x, rows = relus()
    ours = attribute(model, x, a.DeepLiftShap(), target=TARGET, baselines=rows[:3], layer=layer)
    theirs = c.LayerDeepLiftShap(model, model.get_submodule(layer))
    same(ours, theirs.attribute(x, rows[:3], TARGETS), 1e-10)


def test_layer_gradient_shap(noise):
    """Behind an affine part, where a straight path at the input (Captum's) is a straight path at the layer (ours)."""
    model, x, _ = images()
    baselines, count = numbers(3, 1, 6, 6, seed=8), 4
    noise(**gradient_shap_draws(count, 3, 36))
    theirs = c.LayerGradientShap(model, model.norm).attribute(x, baselines, count, 0.0, TARGETS)
    method = a.GradientShap(count)
    same(attribute(model, x, method, target=TARGET, baselines=baselines, seed=SEED, layer="norm"), theirs)


def test_layer_feature_ablation():
    model, x, x0 = images()
    groups = torch.arange(8).reshape(1, 2, 4, 1).expand(1, 2, 4, 4)
    with torch.no_grad():
        at_layer = model.conv2(model.smooth1(model.norm(model.conv1(x0))))
    theirs = c.LayerFeatureAblation(model, model.conv2)
    wanted = theirs.attribute(x, at_layer, TARGETS, layer_mask=groups)
    ours = attribute(model, x, a.FeatureAblation(), target=TARGET, baselines=x0, features=groups, layer="conv2")
    same(ours, wanted, 1e-12)


def test_layer_feature_permutation():
    """Of a model with one output, which needs no target; two samples can only get each other's features."""
    model, x = mlp(5, 6, 1), numbers(2, 5)
    groups = torch.arange(6).unsqueeze(0) // 2
    theirs = c.LayerFeaturePermutation(model, model[0]).attribute(x, layer_mask=groups)
    same(attribute(model, x, a.FeaturePermutation(3), features=groups, layer="0"), theirs, 1e-12)


@pytest.mark.parametrize("how", ["layer", "read"])
@pytest.mark.parametrize("layer", ["conv1", "pool", "conv2", "hidden:input"])
def test_layer_lrp(layer, how):
    model, x, _ = relus()
    name, _, at_input = layer.partition(":")
    theirs = c.LayerLRP(model, model.get_submodule(name))
    ours = attribute(model, x, a.LRP(epsilon_only(1e-9, 1e-9)), target=TARGET, **{how: layer})
    same(ours, theirs.attribute(x.clone(), TARGETS, attribute_to_layer_input=bool(at_input)), 1e-10)


# Neurons


@pytest.mark.parametrize(
    ("layer", "index"), [("hidden", 2), ("hidden", (3,)), ("conv2", (1, 2, 0)), ("conv2", (0, slice(1, 3), 2))]
)
def test_neuron_gradient(layer, index):
    model, x, _ = images()
    theirs = c.NeuronGradient(model, model.get_submodule(layer)).attribute(x, index)
    same(attribute(model, x, a.Saliency(abs=False), neuron=(layer, index)), theirs, 1e-12)


def test_neuron_gradient_of_several_inputs():
    model, x, _ = pairs()
    theirs = c.NeuronGradient(model, model.out).attribute(x, 1)
    same(attribute(model, x, a.Saliency(abs=False), neuron=(model.out, 1)), theirs, 1e-12)


def test_neuron_gradient_at_a_layers_input():
    model, x, _ = images()
    theirs = c.NeuronGradient(model, model.hidden).attribute(x, 5, attribute_to_neuron_input=True)
    same(attribute(model, x, a.Saliency(abs=False), neuron=("hidden:input", 5)), theirs, 1e-12)


def test_neuron_integrated_gradients():
    model, x, x0 = images()
    theirs = c.NeuronIntegratedGradients(model, model.hidden).attribute(x, 2, x0, n_steps=6)
    same(attribute(model, x, a.IntegratedGradients(6), baselines=x0, neuron=("hidden", 2)), theirs)


@pytest.mark.parametrize(("layer", "index"), [("hidden", 2), ("conv2", (0, 1, 2))])
@pytest.mark.parametrize("method", ["riemann_left", "riemann_right"])
def test_neuron_conductance(layer, index, method):
    model, x, x0 = images()
    theirs = c.NeuronConductance(model, model.get_submodule(layer))
    ours = attribute(model, x, a.Conductance(7, method), target=TARGET, baselines=x0, neuron=(layer, index))
    same(ours, theirs.attribute(x, index, x0, TARGETS, n_steps=7, method=method))


def test_neuron_conductance_by_trapezoid_is_captums_with_weights_that_sum_to_one():
    """n nodes there, n - 1 pieces between them here."""
    model, x, x0 = images()
    theirs = c.NeuronConductance(model, model.hidden).attribute(x, 2, x0, TARGETS, n_steps=7)
    ours = attribute(model, x, a.Conductance(6), target=TARGET, baselines=x0, neuron=("hidden", 2))
    same(ours, theirs * 7 / 6)


def test_neuron_deeplift():
    model, x, x0 = relus()
    theirs = c.NeuronDeepLift(model, model.hidden).attribute(x, 2, x0)
    same(attribute(model, x, a.DeepLift(), baselines=x0, neuron=("hidden", 2)), theirs, 1e-10)


def test_neuron_deeplift_shap():
    model, x, rows = relus()
    theirs = c.NeuronDeepLiftShap(model, model.hidden).attribute(x, 2, rows[:3])
    same(attribute(model, x, a.DeepLiftShap(), baselines=rows[:3], neuron=("hidden", 2)), theirs, 1e-10)


def test_neuron_gradient_shap(noise):
    model, x, _ = images()
    baselines, count, stdevs = numbers(3, 1, 6, 6, seed=8), 4, 0.25
    noise(**gradient_shap_draws(count, 3, 36))
    theirs = c.NeuronGradientShap(model, model.hidden).attribute(x, 2, baselines, count, stdevs)
    ours = attribute(model, x, a.GradientShap(count, stdevs), baselines=baselines, neuron=("hidden", 2), seed=SEED)
    same(ours, theirs)


def test_neuron_feature_ablation():
    model, x, x0 = images()
    groups = torch.arange(36).reshape(1, 1, 6, 6) // 4
    theirs = c.NeuronFeatureAblation(model, model.hidden).attribute(x, 2, x0, feature_mask=groups)
    ours = attribute(model, x, a.FeatureAblation(), baselines=x0, features=groups, neuron=("hidden", 2))
    same(ours, theirs, 1e-12)


# Every class of captum.attr, and the test that compares its values with ours.

PARITY = {
    "Saliency": "test_saliency",
    "InputXGradient": "test_input_x_gradient",
    "IntegratedGradients": "test_integrated_gradients",
    "DeepLift": "test_deeplift_on_relu_convolutions",
    "DeepLiftShap": "test_shap_equals_captums_on_relus",
    "GradientShap": "test_gradient_shap",
    "GuidedBackprop": "test_equals_captums_where_every_relu_is_a_module",
    "Deconvolution": "test_equals_captums_where_every_relu_is_a_module",
    "GuidedGradCam": "test_guided_grad_cam_equals_captums",
    "FeatureAblation": "test_feature_ablation_of_every_element",
    "Occlusion": "test_occlusion",
    "FeaturePermutation": "test_feature_permutation_with_the_same_donors",
    "ShapleyValueSampling": "test_shapley_value_sampling_of_the_same_permutations",
    "ShapleyValues": "test_shapley_values",
    "Lime": "test_lime_on_the_same_subsets",
    "LimeBase": "test_lime_base_with_ones_own_functions",
    "KernelShap": "test_kernel_shap_on_the_same_coalitions",
    "LRP": "test_lrp_by_the_epsilon_rule",
    "NoiseTunnel": "test_noise_tunnel",
    "LayerActivation": "test_layer_activation",
    "LayerGradientXActivation": "test_layer_gradient_x_activation",
    "LayerIntegratedGradients": "test_layer_integrated_gradients",
    "LayerConductance": "test_layer_conductance",
    "InternalInfluence": "test_internal_influence",
    "LayerGradCam": "test_grad_cam_equals_captums",
    "LayerDeepLift": "test_layer_deeplift",
    "LayerDeepLiftShap": "test_layer_deeplift_shap",
    "LayerGradientShap": "test_layer_gradient_shap",
    "LayerFeatureAblation": "test_layer_feature_ablation",
    "LayerFeaturePermutation": "test_layer_feature_permutation",
    "LayerLRP": "test_layer_lrp",
    "NeuronGradient": "test_neuron_gradient",
    "NeuronIntegratedGradients": "test_neuron_integrated_gradients",
    "NeuronConductance": "test_neuron_conductance",
    "NeuronDeepLift": "test_neuron_deeplift",
    "NeuronDeepLiftShap": "test_neuron_deeplift_shap",
    "NeuronGradientShap": "test_neuron_gradient_shap",
    "NeuronGuidedBackprop": "test_equals_captums_where_every_relu_is_a_module",
    "NeuronDeconvolution": "test_equals_captums_where_every_relu_is_a_module",
    "NeuronFeatureAblation": "test_neuron_feature_ablation",
    "DataLoaderAttribution": "test_ablation_over_a_data_set_is_captums",
}
WITHOUT_COUNTERPART = {  # docs/captum.md says why
    "LLMAttribution", "LLMGradientAttribution", "RemoteLLMAttribution",
}  # fmt: skip
BASES = {"Attribution", "GradientAttribution", "PerturbationAttribution", "LayerAttribution", "NeuronAttribution"}
ROOT = Path(__file__).parents[2]


@cache
def written_tests() -> dict[str, str]:
    """Every test function under tests/, and the text of the files that have it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE):
            found[name] = found.get(name, "") + text
    return found


def test_every_attribution_class_of_captum_is_compared_or_explained():
    classes = {name for name, each in inspect.getmembers(c, inspect.isclass) if issubclass(each, Attribution)}
    assert classes == {*PARITY, *WITHOUT_COUNTERPART, *BASES}
    page = (ROOT / "docs" / "captum.md").read_text()
    assert {name for name in WITHOUT_COUNTERPART if name not in page} == set()


@pytest.mark.parametrize("name", PARITY)
def test_the_test_of_a_class_is_there_and_knows_the_class(name):
    assert re.search(rf"\bc\.{name}\b", written_tests()[PARITY[name]])
