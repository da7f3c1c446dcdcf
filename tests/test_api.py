"""`xbench.attribute` as a user calls it: structures in and out, arguments that ride along, and clear refusals."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

import xbench
from tests.every_method import EVERY, GRADIENT, PERTURBATION, N, each, name
from tests.models_for_tests import ConvNet, TextNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute
from xbench.rules.errors import UnknownOperation


@each
def test_a_tensor_gives_a_tensor_and_a_tuple_a_tuple(method):
    one, pair = mlp(5, 4, 2), weights(TwoInputs())
    x, inputs = numbers(N, 5), (numbers(N, 3), numbers(N, 2, 2))
    single = attribute(one, x, method, target=1)
    assert isinstance(single, Tensor)
    assert single.shape == x.shape
    wrapped = attribute(one, (x,), method, target=1)
    assert isinstance(wrapped, tuple)
    torch.testing.assert_close(wrapped[0], single, rtol=1e-12, atol=1e-14)  # rows may differ between the two
    maps = attribute(pair, inputs, method, target=1)
    assert isinstance(maps, tuple)
    assert [m.shape for m in maps] == [t.shape for t in inputs]


class Plain(nn.Module):
    """Takes samples that are single numbers: f = tanh(x) * sum(other)."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return torch.tanh(x) * other.sum(1)


@each
def test_samples_may_be_single_numbers(method):
    inputs = numbers(N), numbers(N, 2)
    maps = attribute(Plain(), inputs, method)
    assert [m.shape for m in maps] == [(N,), (N, 2)]
    (alone,) = attribute(nn.Tanh(), (numbers(N),), method)
    assert alone.shape == (N,)
    if isinstance(method, a.FeatureAblation):
        torch.testing.assert_close(alone, torch.tanh(numbers(N)))
        torch.testing.assert_close(maps[0], torch.tanh(inputs[0]) * inputs[1].sum(1))
        groups = torch.tensor([0]), torch.tensor([[1, 0]])
        joint = attribute(Plain(), inputs, method, features=groups)
        assert torch.equal(joint[0], joint[1][:, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each
def test_maps_have_the_samples_type(method, dtype):
    model, x = mlp(5, 4, 2).to(dtype), numbers(N, 5, dtype=dtype)
    assert attribute(model, x, method, target=1).dtype == dtype


LONG = [a.IntegratedGradients(2000), a.GradientShap(500), a.NoiseTunnel(nt_samples=500), a.ShapleyValueSampling(100)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", LONG, ids=name)
def test_long_sums_in_half_precision(method, dtype):
    """f(x) = w.x at x = 1: every map is w. A sum in half precision stands still far below it."""
    model = nn.Linear(4, 1, bias=False).to(dtype)
    w = torch.tensor([[0.5, 0.7, 1.1, 1.5]])
    model.weight.data.copy_(w)
    maps = attribute(model, torch.ones(2, 4, dtype=dtype), method)
    assert maps.dtype == dtype
    torch.testing.assert_close(maps.float(), w.expand(2, -1), rtol=2**-6, atol=0)


@pytest.mark.parametrize("method", [a.Saliency(), a.FeatureAblation()], ids=name)
def test_each_map_has_its_own_samples_type(method):
    """Integers have that of the real numbers beside them."""
    x, mask, ids = numbers(N, 3, dtype=torch.float32), numbers(N, 3), torch.arange(3).expand(N, 3)
    maps = attribute(lambda x, mask, ids: (x * mask * ids).sum(1), (x, mask, ids), method)
    assert [m.dtype for m in maps] == [torch.float32, torch.float64, torch.float32]
    if isinstance(method, a.FeatureAblation):
        torch.testing.assert_close(maps[1], x * mask * ids)


def test_an_algorithm_may_be_named_like_its_config():
    model, x = mlp(5, 4, 2), numbers(N, 5)
    named = attribute(model, x, "ig", target=1, rows=8)
    assert torch.equal(named, attribute(model, x, a.IntegratedGradients(50), target=1, rows=8))
    assert xbench.attribute is attribute


@pytest.mark.parametrize(
    ("wrong", "given"), [(a.Saliency, "the class Saliency itself"), (3, "int"), (None, "NoneType")]
)
def test_what_is_no_algorithm_is_refused(wrong, given):
    with pytest.raises(TypeError, match=f"algorithm: expected an xbench algorithm or its name, got {given}"):
        attribute(mlp(5, 2), numbers(N, 5), wrong, target=1)


# What rides along


class Scaled(nn.Module):
    """f = sum(x * w[edges]) * scale * per_sample, with everything but x as an extra argument."""

    def forward(self, x: Tensor, per_sample: Tensor, edges: Tensor, scale: float, flag: Tensor, name: str) -> Tensor:
        assert name == "sum"
        assert flag.dim() == 0
        assert edges.shape == (2, 3)
        assert len(per_sample) == len(x)
        return (x[:, edges[0]] * x[:, edges[1]]).sum(1) * scale * per_sample


@pytest.mark.parametrize("rows", [None, 1, 3])
@each
def test_only_tensors_with_a_row_per_sample_follow_the_samples(method, rows):
    x, per_sample = numbers(N, 3), torch.arange(1.0, N + 1, dtype=torch.float64)
    edges, flag = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.tensor(1)
    extra = (per_sample, edges, 2.0, flag, "sum")
    maps = attribute(Scaled(), x, method, extra=extra, rows=rows)
    for i in range(N):
        if not method.facts.stochastic:
            alone = attribute(Scaled(), x[[i]], method, extra=(per_sample[[i]], *extra[1:]))
            torch.testing.assert_close(maps[[i]], alone, rtol=1e-12, atol=1e-12)
    if isinstance(method, a.FeatureAblation):
        whole = (x * x.roll(-1, 1)).sum(1) * 2 * per_sample
        without = x[:, 1] * x[:, 2] * 2 * per_sample  # the only product without the first number
        torch.testing.assert_close(maps[:, 0], whole - without)


class Inner(nn.Module):
    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return x[:, edges[0]] * x[:, edges[1]]


class Graph(nn.Module):
    def __init__(self, edges: Tensor | None = None) -> None:
        super().__init__()
        self.inner, self.edges = Inner(), edges

    def forward(self, x: Tensor, edges: Tensor | None = None) -> Tensor:
        return self.inner(x, self.edges if edges is None else edges).square().sum(1)


@pytest.mark.parametrize("rows", [None, 1])
def test_an_edge_list_as_long_as_the_baselines_is_no_batch(rows):
    """Two baselines, two rows of edges, at a layer that the baselines reach through the model."""
    x, baselines, edges = numbers(N, 3), numbers(2, 3, seed=2), torch.tensor([[0, 1], [1, 2]])
    maps = attribute(Graph(), x, a.GradientShap(6), baselines=baselines, extra=(edges,), layer="inner", rows=rows)
    wanted = attribute(Graph(edges), x, a.GradientShap(6), baselines=baselines, layer="inner")
    torch.testing.assert_close(maps, wanted, rtol=1e-12, atol=1e-12)


def test_one_baseline_meets_each_samples_own_arguments_on_its_way_to_a_layer():
    """Behind the masked mean: the baseline's value there depends on which positions are real."""
    model, ids, _ = texts()
    mask = (torch.arange(7) < torch.tensor([7, 5, 3, 6])[:, None]).double()
    pads = torch.zeros(1, 7, dtype=torch.int64)
    maps = attribute(model, ids, a.DeepLift(), target=0, baselines=pads, extra=(mask,), layer="hidden")
    with torch.no_grad():
        wanted = (model(ids, mask) - model(pads.expand(N, -1), mask))[:, 0]
    torch.testing.assert_close(maps.sum(1), wanted, rtol=1e-10, atol=1e-10)


def test_the_device_may_be_named():
    model, x = mlp(3, 2), numbers(N, 3)
    assert torch.equal(
        attribute(model, x, a.Saliency(), target=1, devices="cpu"),
        attribute(model, x, a.Saliency(), target=1),
    )


# Models that cannot be explained this way


def texts() -> tuple[nn.Module, Tensor, Tensor]:
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    return weights(TextNet(), scale=2), ids, torch.ones(N, 7, dtype=torch.float64)


@pytest.mark.parametrize("method", GRADIENT, ids=name)
def test_integers_have_no_gradient(method):
    model, ids, mask = texts()
    with pytest.raises(ValueError, match=r"needs a gradient: the model's inputs are integers and no site such as"):
        attribute(model, ids, method, target=0, extra=(mask,))


def test_integers_take_no_noise():
    model, ids, mask = texts()
    with pytest.raises(ValueError, match="needs real-valued points: the inputs are integers"):
        attribute(model, ids, a.NoiseTunnel(a.Saliency()), target=0, extra=(mask,))


@pytest.mark.parametrize("method", [a.IntegratedGradients(4), a.GradientShap(3), a.DeepLift()], ids=name)
def test_there_is_no_path_between_integers_beside_numbers(method):
    model, ids, mask = texts()
    with pytest.raises(ValueError, match=f"{name(method)} goes from the baseline .* `extra` arguments"):
        attribute(model, (ids, mask), method, target=0)


@pytest.mark.parametrize("method", [a.Saliency(), a.InputXGradient()], ids=name)
def test_integers_beside_numbers_have_a_zero_gradient(method):
    model, ids, mask = texts()
    of_ids, of_mask = attribute(model, (ids, mask), method, target=0)
    assert torch.equal(of_ids, torch.zeros(N, 7, dtype=torch.float64))
    torch.testing.assert_close(of_mask, attribute(WithIds(model, ids), (mask,), method, target=0)[0])


class WithIds(nn.Module):
    """A text model with the ids fixed."""

    def __init__(self, model: nn.Module, ids: Tensor) -> None:
        super().__init__()
        self.model, self.ids = model, ids

    def forward(self, mask: Tensor) -> Tensor:
        return self.model(self.ids, mask)


@pytest.mark.parametrize("method", PERTURBATION, ids=name)
def test_integers_can_be_replaced_by_their_baseline(method):
    """On ids a switched-off token is the baseline's token, looked up by hand."""
    model, ids, mask = texts()
    maps = attribute(model, ids, method, target=0, extra=(mask,), baselines=3)
    assert maps.dtype == torch.get_default_dtype()
    if isinstance(method, a.KernelShap):
        return
    with torch.no_grad():
        full = model(ids, mask)[:, 0]
        for t in range(7):
            without = ids.clone()
            without[:, t] = 3
            wanted = (full - model(without, mask)[:, 0]).float()
            torch.testing.assert_close(maps[:, t], wanted, rtol=1e-5, atol=1e-7)


def test_an_unused_input_has_a_zero_gradient():
    class First(nn.Module):
        def forward(self, x: Tensor, _y: Tensor) -> Tensor:
            return x.square().sum(1)

    x, y = numbers(N, 3), numbers(N, 2)
    for method in GRADIENT:
        used, unused = attribute(First(), (x, y), method)
        assert used.abs().min() > 0
        assert torch.equal(unused, torch.zeros_like(y))


def test_an_error_in_the_model_is_the_users_own():
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("my own mistake")

    with pytest.raises(KeyError, match="my own mistake"):
        attribute(Fails(), numbers(N, 3), a.FeatureAblation())


def test_training_mode_and_frozen_parameters_change_nothing():
    """Explained in evaluation mode whatever the flags, which stay as they are."""
    x = numbers(N, 1, 6, 6)
    wanted = attribute(weights(ConvNet()), x, a.IntegratedGradients(4), target=0)
    model = weights(ConvNet()).train()
    model.conv1.weight.requires_grad_(False)
    assert torch.equal(attribute(model, x, a.IntegratedGradients(4), target=0), wanted)
    assert model.training
    assert model.dropout.training
    assert not model.conv1.weight.requires_grad
    assert model.conv1.bias.requires_grad


def test_inside_no_grad_the_maps_are_the_same():
    model, x = mlp(5, 4, 2), numbers(N, 5)
    wanted = attribute(model, x, a.Saliency(), target=1)
    with torch.no_grad():
        assert torch.equal(attribute(model, x, a.Saliency(), target=1), wanted)
        assert not torch.is_grad_enabled()
    assert not wanted.requires_grad


@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("method", [a.IntegratedGradients(3), a.DeepLift(), a.GuidedIG(3)], ids=name)
def test_inside_inference_mode_the_maps_are_the_same(method, layer):
    model, x = mlp(5, 4, 2), numbers(N, 5)
    wanted = attribute(model, x, method, target=1, layer=layer)
    with torch.inference_mode():
        maps = attribute(model, x.clone(), method, target=1, layer=layer)
        assert torch.is_inference_mode_enabled()
    torch.testing.assert_close(maps, wanted)


@pytest.mark.parametrize("method", [a.LRP(), a.DeepLift(), a.FeatureAblation()], ids=name)
def test_further_arguments_that_require_gradients_are_not_explained(method):
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(5, 4, 2)

        def forward(self, x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
            return self.net(x * weight + shift)

    model, x, weight, shift = Weighted(), numbers(N, 5), numbers(N, 5, seed=2), numbers(5, seed=3)
    wanted = attribute(model, x, method, target=1, extra=(weight,), kwargs={"shift": shift})
    weight, shift = weight.clone().requires_grad_(), shift.clone().requires_grad_()
    maps = attribute(model, x, method, target=1, extra=(weight,), kwargs={"shift": shift})
    torch.testing.assert_close(maps, wanted)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("method", [a.GuidedBackprop(), a.Deconvolution(), a.DeepLift(), a.LRP()], ids=name)
def test_operations_that_a_rule_cannot_see_are_an_error_at_once(method):
    """Also in the first evaluation, whose memory is measured by another mode."""
    model = torch.jit.script(mlp(5, 4, 2, activation=nn.ReLU))
    for _ in range(2):
        with pytest.raises(UnknownOperation, match="it was computed where calls cannot be seen"):
            attribute(model, numbers(N, 5), method, target=1)


@pytest.mark.parametrize("rows", [1, 3, None])
def test_a_squeezed_output_of_one_row(rows):
    model, x = mlp(5, 4, 1), numbers(4, 5)
    maps = attribute(lambda t: model(t).squeeze(), x, a.Saliency(), rows=rows)
    assert torch.equal(maps, attribute(model, x, a.Saliency(), rows=rows))


def test_layers_given_as_modules_are_found_in_a_copy_elsewhere(monkeypatch):
    model, x = mlp(5, 4, 2), numbers(N, 5)
    wanted = attribute(model, x, a.Saliency(), target=1, layer="0"), attribute(model, x, a.Saliency(), neuron=("0", 1))
    monkeypatch.setattr("xbench.explain.request.on_device", lambda module, device: copy.deepcopy(module))
    assert torch.equal(attribute(model, x, a.Saliency(), target=1, layer=model[0]), wanted[0])
    assert torch.equal(attribute(model, x, a.Saliency(), neuron=(model[0], 1)), wanted[1])


def test_inputs_that_require_gradients_stay_out_of_the_graph():
    model, x = mlp(5, 4, 2), numbers(N, 5).requires_grad_()
    maps = attribute(model, x, a.IntegratedGradients(3), target=1)
    assert not maps.requires_grad
    assert x.grad is None


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in EVERY:
            attribute(mlp(5, 4, 2), numbers(N, 5), method, target=1)
