"""External algorithms: any function, and Captum's methods through Captum.

What they are given, what they may answer, their draws and rows, and that nothing of theirs stays behind.
"""

import functools
import importlib
import importlib.metadata
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import captum.attr as c
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.jobs import Run, blobs, cells, table
from tests.models_for_tests import ConvNet, ReluNet, TextNet, TwoInputs, mlp, numbers, weights
from xbench import algorithms as a
from xbench import attribute, measure
from xbench.algorithms.external.captum_methods import METHODS
from xbench.core.draws import Draws
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.metrics import Completeness, Infidelity, SensitivityMax

pytestmark = [
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore:(?s).*You are providing multiple inputs for Lime:UserWarning"),
]

N = 4
TARGET = [0, 2, 1, 2]


def exactly(one: Any, other: Any, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def images() -> tuple[nn.Module, Tensor]:
    return weights(ConvNet()), numbers(N, 1, 6, 6)


def ixg(model, inputs, target, extra=()):
    """Input x gradient by Captum, as a user would write it."""
    return c.InputXGradient(model).attribute(inputs, target=target, additional_forward_args=extra or None)


# What a function is given


class Explaining:
    """Ways in which a function may be written."""

    def __call__(self, model, inputs, label):
        return ixg(model, inputs, label)

    def method(self, model, inputs, target):
        return ixg(model, inputs, target)


def _decorated(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


WRITTEN = {
    "target": lambda model, inputs, target: ixg(model, inputs, target),
    "another name": lambda net, x, y: ixg(net, x, y),
    "by keyword": lambda model, inputs, *, target: ixg(model, inputs, target),
    "with a default": lambda model, inputs, target=None: ixg(model, inputs, target),
    "behind another": lambda model, inputs, scale=1.0, target=None: ixg(model, inputs, target) * scale,
    "any": lambda *arguments: ixg(*arguments),
    "by position only": lambda model, inputs, target, /: ixg(model, inputs, target),
    "an object": Explaining(),
    "a method": Explaining().method,
    "decorated": _decorated(lambda model, inputs, target: ixg(model, inputs, target)),
    "partial": functools.partial(lambda model, inputs, target, *, scale: ixg(model, inputs, target) * scale, scale=1),
}


@pytest.mark.parametrize("function", WRITTEN.values(), ids=WRITTEN)
def test_a_function_may_be_written_in_many_ways(function):
    model, x = images()
    exactly(
        attribute(model, x, a.External(function), target=TARGET), attribute(model, x, a.InputXGradient(), target=TARGET)
    )


def test_a_function_without_a_target_is_not_given_one():
    model, x = mlp(5, 4, 1), numbers(N, 5)
    exactly(attribute(model, x, a.External(lambda model, inputs: ixg(model, inputs, None))),
            attribute(model, x, a.InputXGradient()))  # fmt: skip


def test_what_a_function_names_is_passed():
    model, x = images()
    seen: dict[str, Any] = {}

    def explain(model, inputs, target, *, seed, features, baselines, extra):
        seen.update(baselines=baselines, extra=extra, features=features, seed=seed)
        return inputs

    features = torch.tensor([5, 5, 2, -1, 9, 9])[:, None]
    maps = attribute(model, x, a.External(explain), target=0, baselines=numbers(N, 1, 6, 6, seed=2), seed=3,
                     features=features[None, None].expand(1, 1, 6, 6))  # fmt: skip
    assert torch.equal(maps, x)
    assert torch.equal(seen["baselines"], numbers(N, 1, 6, 6, seed=2))
    assert torch.equal(seen["features"][0, 0, :, 0], torch.tensor([1, 1, 0, -1, 2, 2]))
    assert seen["extra"] == ()
    assert isinstance(seen["seed"], int)
    attribute(model, x, a.External(explain), target=0)
    assert torch.equal(seen["baselines"], torch.zeros(1, 1, 6, 6).double())
    assert torch.equal(seen["features"], torch.arange(36).reshape(1, 1, 6, 6))


@pytest.mark.parametrize("way", ["kwargs", "partial"])
def test_arguments_of_its_own_win_over_those_of_the_run(way):
    def explain(model, inputs, target, baselines, steps=0, sizes=()):
        assert sizes in ((), (1, (2, 3)))
        return torch.full_like(inputs, 100 * target + 10 * baselines + steps)

    own: dict[str, Any] = {"baselines": 3, "target": 2, "steps": 4}
    if way == "kwargs":  # lists, as YAML has them, arrive as tuples
        method = a.External(explain, kwargs=own | {"sizes": [1, [2, 3]]})
    else:
        method = a.External(functools.partial(explain, **own))
    assert attribute(*images(), method, target=1).unique().tolist() == [234]


@pytest.mark.parametrize("target", [1, TARGET, torch.tensor(TARGET), torch.tensor([2]), (1,)])
def test_targets_arrive_in_the_form_given(target):
    model, x = images()
    seen: list[Any] = []

    def explain(model, inputs, target):
        seen.append(target)
        return ixg(model, inputs, target)

    maps = attribute(model, x, a.External(explain), target=target)
    exactly(maps, attribute(model, x, a.InputXGradient(), target=target))
    assert torch.equal(seen[0], target) if isinstance(target, Tensor) else seen[0] == target


class Grid(nn.Module):
    """Outputs (n, 2, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(5, 4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).unflatten(1, (2, 3))


@pytest.mark.parametrize("target", [(1, 2), [(0, 1), (1, 2), (1, 0), (0, 0)]])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_targets_of_several_indices(target, output):
    model, x = Grid(), numbers(N, 5)
    wanted = attribute(model, x, a.InputXGradient(), target=target, output=output)
    exactly(attribute(model, x, a.External(ixg), target=target, output=output), wanted)
    captum = a.Captum("InputXGradient")
    for given in (target, torch.tensor(target)) if isinstance(target, list) else (target,):
        exactly(attribute(model, x, captum, target=given, output=output), wanted)


class Structured(nn.Module):
    """Keywords, a tensor that is no batch, and a dictionary as result."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor, table: Tensor, *, scale: Tensor, power: int) -> dict[str, Tensor]:
        return {"scores": self.out(torch.tanh(self.first(x)) * scale[:, None] + table.sum() ** power), "other": x}


def _text() -> dict[str, Any]:
    mask = (torch.arange(7) < torch.tensor([7, 5, 3, 6])[:, None]).double()
    ids = torch.randint(1, 20, (N, 7), generator=torch.Generator().manual_seed(4))
    return {"model": weights(TextNet(), scale=2), "inputs": ids, "extra": (mask,), "layer": "embedding"}


def _image(**more: Any) -> dict[str, Any]:
    model, x = images()
    return {"model": model, "inputs": x, **more}


def _structured(**more: Any) -> dict[str, Any]:
    further = {"scale": numbers(N, seed=3), "power": 2}
    return {"model": weights(Structured()), "inputs": numbers(N, 5), "extra": (numbers(2, 3),), "kwargs": further,
            "select": "scores", **more}  # fmt: skip


PLACES: dict[str, dict[str, Any]] = {
    "a layer": _image(layer="conv2"),
    "the input of a layer": _image(layer="conv2:input"),
    "an embedding": _text(),
    "a neuron": _image(neuron=("hidden", 2)),
    "units of a layer, from a layer": _image(neuron=("conv2", (0, slice(1, 3), 2)), layer="conv1"),
    "a probability": _image(output="probability"),
    "a log-probability at a layer": _image(output="log_probability", layer="conv2"),
    "keywords and a part of the output": _structured(),
    "the probability of a part": _structured(output="probability", layer="first"),
    "a dictionary": {
        "model": weights(TwoInputs()), "inputs": {"b": numbers(N, 2, 2), "a": numbers(N, 3, seed=2)},
    },
    "two inputs": {"model": weights(TwoInputs()), "inputs": (numbers(N, 3), numbers(N, 2, 2, seed=2))},
    "one input in a tuple": _image() | {"inputs": (numbers(N, 1, 6, 6),)},
}  # fmt: skip


@pytest.mark.parametrize("asked", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("method", [a.External(ixg), a.Captum("InputXGradient")], ids=["function", "captum"])
def test_every_place_and_readout_looks_like_a_plain_model(method, asked):
    asked = asked | {"target": TARGET}
    model, inputs = asked.pop("model"), asked.pop("inputs")
    maps = attribute(model, inputs, method, **asked)
    wanted = attribute(model, inputs, a.InputXGradient(), **asked)
    assert type(maps) is type(wanted)
    exactly(maps, wanted)


def test_a_plain_model_is_handed_over_as_it_is():
    def explain(model, inputs, target):
        given.append(model)
        return inputs

    given: list[nn.Module] = []
    model, x = images()
    attribute(model, x, a.External(explain), target=0)
    attribute(model, x, a.External(explain), target=0, output="probability")
    assert [net is model for net in given] == [True, False]
    with torch.no_grad():
        exactly(given[1](x), torch.softmax(model(x), 1)[:, [0]])


def test_the_tensors_are_copies():
    def explain(model, inputs, target, baselines, features):
        for tensor in (inputs, baselines, features):
            tensor.zero_()
        return inputs

    model, x = images()
    kept, features = x.clone(), torch.arange(36).reshape(1, 1, 6, 6)
    attribute(model, x, a.External(explain), target=0, baselines=x, features=features)
    assert torch.equal(x, kept)
    assert features[0, 0, 5, 5] == 35


def test_a_tunnel_may_smooth_a_function():
    model, x = images()
    maps = [attribute(model, x, a.NoiseTunnel(method, nt_samples=3, stdevs=0.2), target=TARGET)
            for method in (a.External(ixg), a.InputXGradient())]  # fmt: skip
    exactly(*maps)


def centred(model, inputs, target):
    """Each sample beside all others of the call."""
    return inputs - inputs.mean(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [a.External(centred), a.NoiseTunnel(a.External(centred)), a.Captum("FeaturePermutation"), a.Captum("Lime")],
    ids=["callable", "smoothed", "permutation", "lime"],
)
def test_a_small_memory_does_not_part_samples_that_are_explained_together(method):
    model, x = images()
    groups = (torch.arange(36) // 9).reshape(1, 1, 6, 6)
    maps = [attribute(model, x, method, target=TARGET, features=groups, memory=memory) for memory in (None, 1)]
    assert maps[0].abs().max() > 0
    exactly(*maps)
    scores = [measure(model, x, method, SensitivityMax(), target=TARGET, memory=memory) for memory in (None, 1)]
    exactly(*scores)


# What it may answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.numpy(),
        lambda x: (x,),
        lambda x: [x.numpy()],
        lambda x: np.flip(np.flip(x.numpy(), 0).copy(), 0),  # runs backwards
        lambda x: np.broadcast_to(x.numpy(), x.shape),  # read-only
        lambda x: x.clone().requires_grad_() * 1,
    ],
)
def test_maps_may_be_tensors_or_arrays(answer):
    model, x = images()
    maps = attribute(model, x, a.External(lambda model, inputs, target: answer(inputs)), target=0)
    assert not maps.requires_grad
    assert torch.equal(maps, x)


def test_maps_of_integers_become_numbers():
    """Of the samples' own type."""
    maps = attribute(*images(), a.External(lambda model, inputs, target: inputs.long()), target=0)
    assert maps.dtype == torch.float64


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda x, y: x, r"\[\(4, 3\)\]"),
        (lambda x, y: (x, y[:2]), r"\[\(4, 3\), \(2, 2, 2\)\]"),
        (lambda x, y: (x, y.flatten(1).numpy()), r"\[\(4, 3\), \(4, 4\)\]"),
        (lambda x, y: (x, None), r"\[\(4, 3\), 'NoneType'\]"),
        (lambda x, y: {"x": x, "y": y}, r"\['dict'\]"),
    ],
)
def test_maps_of_other_shapes_are_refused(answer, found):
    def mine(model, inputs, target):
        return answer(*inputs)

    inputs = numbers(N, 3), numbers(N, 2, 2, seed=2)
    with pytest.raises(ValueError, match=rf"mine: expected maps of shape \[\(4, 3\), \(4, 2, 2\)\], got {found}"):
        attribute(weights(TwoInputs()), inputs, a.External(mine), target=0)


def test_maps_cannot_be_differentiated_further():
    with pytest.raises(ValueError, match="create_graph: external code gives maps that cannot be"):
        attribute(*images(), a.External(ixg), target=0, create_graph=True)


# Draws, rows, and what is left behind


def noise(model, inputs, target):
    """From every global generator."""
    drawn = torch.rand(inputs.shape).double() + random.random()
    return drawn + torch.from_numpy(np.random.standard_normal(tuple(inputs.shape)))  # noqa: NPY002


def states() -> list[Any]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # noqa: NPY002


def test_draws_follow_the_seed_and_leave_the_global_generators_alone():
    model, x = images()
    before = states()
    maps = [attribute(model, x, a.External(noise), target=0, seed=seed) for seed in (0, 0, 1)]
    assert states() == before
    assert torch.equal(maps[0], maps[1])
    assert not torch.isclose(maps[0], maps[2]).any()

    def broken(model, inputs, target):
        noise(model, inputs, target)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        attribute(model, x, a.External(broken), target=0)
    assert states() == before


def test_the_seed_offered_is_that_of_the_global_generators():
    def explain(model, inputs, target, seed):
        own = torch.Generator().manual_seed(seed)
        assert torch.equal(torch.rand(5), torch.rand(5, generator=own))
        assert np.random.rand() == np.random.RandomState(seed).rand()  # noqa: NPY002
        assert random.random() == random.Random(seed).random()
        return inputs

    attribute(*images(), a.External(explain), target=0)


def counted(asked: dict[str, Any], method: a.Algorithm) -> tuple[int, int]:
    asked = asked | {"target": asked.get("target", TARGET)}
    explainer = Explainer(Request(asked.pop("model"), asked.pop("inputs"), **asked))
    explainer.restart()
    explainer.attribute(method)
    return explainer.engine.counters.forward_rows, explainer.engine.counters.backward_rows


@pytest.mark.parametrize("place", [{}, {"output": "probability"}, {"layer": "conv1"}])
def test_rows_are_those_that_pass_the_model(place):
    def explain(model, inputs, target, extra):
        double = (*(torch.cat([t, t]) for t in (inputs.requires_grad_(), *extra)),)
        output = model(*double)[:, 0]  # 2 N, twice backward
        torch.autograd.grad(output.sum(), inputs, retain_graph=True)
        torch.autograd.grad(output[0], inputs)
        model(inputs, *extra)  # N, never backward
        with torch.no_grad():
            model(inputs[:1], *(e[:1] for e in extra))  # 1
        return inputs

    assert counted(_image(**place), a.External(explain)) == (3 * N + 1, 4 * N)


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        (a.Captum("Saliency"), (N, N)),
        (a.Captum("IntegratedGradients", kwargs={"n_steps": 7}), (7 * N, 7 * N)),
        (a.Captum("FeatureAblation"), (37 * N, 0)),
        (a.Captum("FeatureAblation", kwargs={"perturbations_per_eval": 4}), (37 * N, 0)),
    ],
    ids=str,
)
def test_rows_of_captums_methods(method, rows):
    assert counted(_image(), method) == rows


def held(model: nn.Module) -> dict[str, Any]:
    """Attributes, hooks and modes of every module."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    return {
        name: (set(vars(module)), module.training, [len(getattr(module, kind)) for kind in hooks])
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_function_does_to_the_modules_is_undone(fails):
    def explain(model, inputs, target):
        model.train()
        model.conv1.input = inputs
        del model.conv2.mine
        model.hidden.register_forward_hook(lambda *_: None)
        model.hidden.register_forward_pre_hook(lambda *_: None)
        if fails:
            raise ZeroDivisionError
        return inputs

    model, x = images()
    model.conv2.mine = 3
    model.pool.train()
    before = held(model)
    if fails:
        with pytest.raises(ZeroDivisionError):
            attribute(model, x, a.External(explain), target=0)
    else:
        attribute(model, x, a.External(explain), target=0)
    assert held(model) == before
    assert model.conv2.mine == 3


class Aside(nn.Module):
    """A layer beside the explained path, where Captum's DeepLIFT leaves what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.relu, self.out = nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)
        self.aside = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.part(x))
        self.aside(hidden)
        return self.out(hidden)


@pytest.mark.parametrize("name", METHODS)
def test_no_method_of_captum_leaves_anything_on_the_model(name):
    model = weights(Aside())
    before, values = held(model), [p.clone() for p in model.parameters()]
    kwargs = {"sliding_window_shapes": [2]} if name == "Occlusion" else {}
    attribute(model, numbers(N, 5), a.Captum(name, kwargs=kwargs), target=TARGET)
    assert held(model) == before
    assert all(torch.equal(p, v) for p, v in zip(model.parameters(), values, strict=True))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


# Where a function is found


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes a module into the working directory; what Python knows of it is forgotten at every writing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    written: list[str] = []

    def write(name: str, text: str) -> None:
        path = tmp_path / Path(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        written.append(name)
        forget()

    def forget() -> None:
        for name in written:
            sys.modules.pop(name, None)
            sys.modules.pop(name.split(".")[0], None)
        importlib.invalidate_caches()

    yield write
    forget()


EXPLAIN = "def explain(model, inputs, target, factor=2):\n    return inputs * factor\n"


def test_a_function_is_found_by_its_name(module):
    module("ours_for_a_test", EXPLAIN + "class Holder:\n    inner = staticmethod(explain)\n")
    module("package_for_a_test.deeper", EXPLAIN)
    model, x = images()
    for path in ("ours_for_a_test:explain", "ours_for_a_test:Holder.inner", "package_for_a_test.deeper:explain"):
        assert torch.equal(attribute(model, x, a.External(path), target=0), 2 * x)
    assert torch.equal(attribute(model, x, a.External(path, kwargs={"factor": 5}), target=0), 5 * x)
    facts = a.External("ours_for_a_test:explain").facts
    assert (facts.label, facts.citation) == ("explain", "the function ours_for_a_test:explain")
    named = a.External("ours_for_a_test:explain", label="Mine", citation="we 2025", local=True, stochastic=False).facts
    assert (named.label, named.citation, named.local, named.stochastic) == ("Mine", "we 2025", True, False)
    assert a.External(ixg).facts.citation == f"the function {__name__}:ixg"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("bad_for_a_test", ValueError, "expected 'package.module:name', got 'bad_for_a_test'"),
        (":explain", ValueError, "expected 'package.module:name', got ':explain'"),
        ("bad_for_a_test:", ValueError, "expected 'package.module:name'"),
        ("bda_for_a_test:explain", ImportError, "no module 'bda_for_a_test' .* neither installed nor in the working"),
        ("bad_for_a_test.inner:explain", ImportError, "there is no module 'bad_for_a_test.inner'"),
        ("torch.nothing_there:explain", ImportError, "there is no module 'torch.nothing_there'"),
        ("bad_for_a_test:explian", ValueError, "bad_for_a_test has no 'explian'"),
        ("bad_for_a_test:explain.inner", ValueError, "bad_for_a_test has no 'explain.inner'"),
        ("bad_for_a_test:NUMBER", TypeError, r"expected a function f\(model, inputs, target\), got 3"),
        ("bad_for_a_test:Kind", TypeError, r"expected a function f\(model, inputs, target\), got <class"),
        ("bad_for_a_test:few", ValueError, r"few cannot be called as f\(model, inputs, target, ...\): too many"),
        ("bad_for_a_test:many", ValueError, "many cannot be called as .* missing a required argument: 'further'"),
        ("broken_for_a_test:explain", ModuleNotFoundError, "No module named 'needed_for_a_test'"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(module, path, error, message):
    module(
        "bad_for_a_test",
        EXPLAIN
        + "NUMBER = 3\nclass Kind: pass\ndef few(model): pass\ndef many(model, inputs, target, further): pass\n",
    )
    module("broken_for_a_test", "import needed_for_a_test\n" + EXPLAIN)
    with pytest.raises(error, match=message):
        a.External(path)


def test_an_argument_that_the_function_does_not_take_is_refused(module):
    module("taken_for_a_test", EXPLAIN)
    with pytest.raises(ValueError, match="explain cannot be called as .* unexpected keyword argument 'steps'"):
        a.External("taken_for_a_test:explain", kwargs={"steps": 3})


def test_a_function_needs_no_file():
    scope: dict[str, Any] = {"__name__": "__console__"}
    exec(EXPLAIN, scope)  # as typed into a console
    assert torch.equal(attribute(*images(), a.External(scope["explain"]), target=0), 2 * images()[1])


# Scores of functions


def test_a_score_takes_a_function_for_what_it_says_it_is():
    model, x = images()
    slopes = a.External(
        lambda model, inputs, target: c.Saliency(model).attribute(inputs, target, abs=False), local=True
    )
    for metric in (Infidelity(4), Completeness(), SensitivityMax(0.1, 3)):
        exactly(measure(model, x, slopes, metric, target=TARGET, baselines=x.flip(0)),
                measure(model, x, a.Saliency(abs=False), metric, target=TARGET, baselines=x.flip(0)))  # fmt: skip


def test_re_explaining_a_function_draws_with_the_seed():
    model, x = images()
    explanation = a.External(noise, stochastic=True)
    scores = [measure(model, x, explanation, SensitivityMax(0.1, 3), target=0, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.isclose(scores[0], scores[2]).any()
    assert measure(model, x, explanation, SensitivityMax(0.0, 3), target=0).min() > 0.1  # nothing but fresh draws


def test_a_distribution_of_baselines():
    def mean(model, inputs, target, baselines):
        return inputs - baselines.mean(0)

    model, x = images()
    many = numbers(3, 1, 6, 6, seed=2)
    exactly(attribute(model, x, a.External(mean, distribution=True), target=0, baselines=many), x - many.mean(0))
    with pytest.raises(ValueError, match="baselines: got 3 rows for 4 samples"):
        attribute(model, x, a.External(mean), target=0, baselines=many)
    exactly(
        attribute(model, x, a.External(ixg), target=0, baselines=many), attribute(model, x, a.External(ixg), target=0)
    )


# Captum


class Scaled(nn.Module):
    """A network that takes a number per sample beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = weights(ReluNet(), scale=1.5)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.inner(x) * scale[:, None]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "IntegratedGradients": {"n_steps": 5, "method": "riemann_middle"},
    "GradientShap": {"n_samples": 3, "stdevs": 0.1},
    "Saliency": {"abs": False},
    "Occlusion": {"sliding_window_shapes": [2, 3, 3], "strides": [2, 3, 1]},
    "ShapleyValueSampling": {"n_samples": 3},
    "KernelShap": {"n_samples": 12},
    "Lime": {"n_samples": 12},
}


def as_given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def seeded(seed: int = 0, ids: tuple[str, ...] = ("0",)) -> None:
    """Start the global generators as an external algorithm finds them."""
    number = int(Draws(seed, ids).generator(0, "code from elsewhere").integers(2**31))
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002
    random.seed(number)


SLOPES = ["IntegratedGradients", "DeepLift", "DeepLiftShap", "GradientShap"]


@pytest.mark.parametrize(
    ("name", "init"), [*((name, {}) for name in METHODS), *((name, {"multiply_by_inputs": False}) for name in SLOPES)]
)
def test_a_method_gives_captums_own_numbers(name, init):
    model, x, scale, target = Scaled(), numbers(N, 2, 6, 6), numbers(N, seed=3).abs(), torch.tensor(TARGET)
    baselines = numbers(3 if METHODS[name].distribution else N, 2, 6, 6, seed=2)
    features = torch.arange(72).reshape(1, 2, 6, 6) // 18
    kwargs = ARGUMENTS.get(name, {})
    method = a.Captum(name, init, kwargs)
    ours = attribute(model, x, method, target=target, baselines=baselines, features=features, extra=(scale,), seed=7)
    seeded(7)
    given: dict[str, Any] = {"target": target, "additional_forward_args": (scale,)}
    if name not in ("Saliency", "InputXGradient", "GuidedBackprop", "Deconvolution", "LRP"):
        given["baselines"] = baselines
    if METHODS[name].grouped:
        given["feature_mask"] = features
    own = {key: as_given(value) for key, value in kwargs.items()}
    theirs = getattr(c, name)(model, **init).attribute(x.clone().requires_grad_(), **given, **own)
    assert theirs.abs().max() > 1e-3
    assert torch.equal(ours, theirs.detach())
    assert method.facts.local == (METHODS[name].local or bool(init))


@pytest.mark.parametrize("name", ["GradientShap", "DeepLiftShap"])
def test_a_baseline_of_each_samples_own_is_its_whole_distribution(name):
    model, x, baselines = weights(ReluNet(), scale=1.5), numbers(N, 2, 6, 6), numbers(N, 2, 6, 6, seed=2)
    request = Request(model, x, target=TARGET, baselines=baselines, own_baselines=True)
    maps = Explainer(request).attribute(a.Captum(name))
    seeded()
    if name == "DeepLiftShap":  # the mean over copies of one baseline
        wanted = c.DeepLift(model).attribute(x, baselines, TARGET)
    else:
        wanted = torch.cat(
            [c.GradientShap(model).attribute(x[[i]], baselines[[i]], target=TARGET[i]) for i in range(N)]
        )
    exactly(maps, wanted.detach().flatten(1), 1e-9)


@pytest.mark.parametrize("name", ["IntegratedGradients", "FeatureAblation", "GradientShap"])
def test_a_method_of_captum_on_two_inputs(name):
    model, inputs = weights(TwoInputs()), (numbers(N, 3), numbers(N, 2, 2, seed=2))
    baselines = tuple(numbers(1, *t.shape[1:], seed=5) for t in inputs)
    features = torch.tensor([[0, 1, 1]]), torch.tensor([[[2, 1], [3, 0]]])
    ours = attribute(model, inputs, a.Captum(name), target=TARGET, baselines=baselines, features=features)
    seeded()
    more = {"feature_mask": features} if name == "FeatureAblation" else {}
    theirs = getattr(c, name)(model).attribute(inputs, baselines, target=TARGET, **more)
    assert all(torch.equal(one, other.detach()) for one, other in zip(ours, theirs, strict=True))


def test_a_method_of_captum_at_an_embedding_is_its_layer_method():
    asked = _text()
    model, ids, extra = asked["model"], asked["inputs"], asked["extra"]
    method = a.Captum("IntegratedGradients", kwargs={"n_steps": 6})
    ours = attribute(model, ids, method, target=TARGET, extra=extra, layer="embedding")
    theirs = c.LayerIntegratedGradients(model, model.embedding).attribute(ids, 0 * ids, TARGET, extra, n_steps=6)
    exactly(ours, theirs.detach(), 1e-9)


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValues"])
def test_elements_of_no_feature_keep_their_values(name):
    """Where ours and Captum's compute the same number."""
    model, x, x0 = mlp(5, 4, 3), numbers(N, 5), numbers(1, 5, seed=2)
    features = torch.tensor([[0, 0, -1, 1, 2], [-1, 0, 0, 0, -1], [0, 1, 2, 3, 2], [1, 0, -1, 2, 1]])
    asked = {"target": TARGET, "baselines": x0, "features": features}
    maps = attribute(model, x, a.Captum(name), **asked)
    exactly(maps, attribute(model, x, getattr(a, name)(), **asked).to(maps.dtype), 1e-5)
    assert maps[features < 0].abs().max() == 0


@pytest.mark.parametrize("name", [name for name, known in METHODS.items() if known.complete])
def test_a_complete_method_of_captum_is_complete(name):
    model, x, x0 = weights(ConvNet()), numbers(N, 1, 6, 6), numbers(1, 1, 6, 6, seed=2)
    features = torch.arange(36).reshape(1, 1, 6, 6) // 9
    error = measure(model, x, a.Captum(name), Completeness(), target=TARGET, baselines=x0, features=features)
    assert error.max() < 1e-5
    assert a.Captum(name).facts.complete


@pytest.mark.parametrize(("window", "strides"), [((1, 2, 3), (1, 2, 2)), ((1, 3, 3), None), ((1, 4, 1), 1)])
def test_scores_of_captums_occlusion_are_ours(window, strides):
    model, x = images()
    theirs = a.Captum("Occlusion", kwargs={"sliding_window_shapes": list(window), "strides": strides})
    for metric in (Infidelity(4), Completeness()):
        exactly(measure(model, x, theirs, metric, target=TARGET),
                measure(model, x, a.Occlusion(window, strides), metric, target=TARGET), 1e-4)  # fmt: skip


def test_one_target_in_a_list_holds_for_all_samples():
    model, x = images()
    exactly(
        attribute(model, x, a.Captum("InputXGradient"), target=[2]), attribute(model, x, a.InputXGradient(), target=2)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.Captum("DeepLIFT"), "method: expected one of IntegratedGradients, DeepLift, .* got 'DeepLIFT'"),
        (lambda: a.Captum("Occlusion"), "kwargs: Occlusion needs sliding_window_shapes, see Captum's documentation"),
        (lambda: a.Captum(kwargs={"steps": 3}), "kwargs: Captum's has no 'steps'; it takes inputs, .* n_steps, "),
        (lambda: a.Captum("LRP", init={"eps": 1}), "init: Captum's has no 'eps'; it takes model"),
    ],
)
def test_what_captum_does_not_have_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_captum_need_not_be_installed(monkeypatch):
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(ImportError, match=r"Captum is not installed, .*: pip install 'xbench\[captum\]'"):
        a.Captum()


@pytest.mark.parametrize(
    ("method", "asked", "message"),
    [
        (a.Captum(), {"read": "conv2"}, r"Integrated Gradients \(Captum\) takes no `read`: it chooses where it reads"),
        (a.External(ixg), {"read": "conv2"}, "ixg takes no `read`: it reads outputs only"),
        (a.Captum("LRP"), {"model": lambda x: x.flatten(1)}, "needs a module whose operations can be seen"),
        (a.Captum("Saliency"), {"inputs": torch.ones(N, 1, 6, 6).long()}, "needs real-valued points"),
    ],
)
def test_what_does_not_suit_says_why(method, asked, message):
    asked = _image(target=0) | asked
    with pytest.raises(a.NotApplicable, match=message):
        attribute(asked.pop("model"), asked.pop("inputs"), method, **asked)


@pytest.mark.parametrize("method", [a.External(ixg), a.Captum()], ids=["function", "captum"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_other_modes_the_maps_are_the_same(method, mode):
    model, x = images()
    wanted = attribute(model, x, method, target=TARGET)
    with mode():
        maps = attribute(model, x, method, target=TARGET)
    assert torch.equal(maps, wanted)


# The command


@pytest.mark.slow
def test_a_function_and_captum_beside_ours(run: Run, module, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "import torch\n\ndef explain(model, inputs, target):\n    x = inputs.requires_grad_()\n"
        "    return torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)[0] * x\n"
    )
    module("explain_for_a_test", text)
    command = (
        "algorithm=[ig,captum,callable]", "algorithm.callable.function=explain_for_a_test:explain",
        "algorithm.ig.n_steps=20", "algorithm.captum.kwargs={n_steps: 20}",
        "metric=infidelity", "controls=false", "n=4",
    )  # fmt: skip
    assert run("--config-dir", "conf", "dataset=blobs", "display=plain", *command) == 0
    said = capsys.readouterr().out
    for label in ("Integrated Gradients ", "Integrated Gradients (Captum) ", "explain "):
        assert f"\n{label}" in said
    assert set(cells()["status"]) == {"ok"}
    scores = table().set_index(["metric", "algorithm"])["mean"]["infidelity"]
    np.testing.assert_allclose(scores["captum"], scores["ig"], rtol=1e-3)

    stored = set(Path("results/cells").rglob("*.json"))
    assert blobs(run, *command) == 0
    assert set(Path("results/cells").rglob("*.json")) == stored
    module("explain_for_a_test", text + "# changed\n")
    assert blobs(run, *command) == 0
    added = set(Path("results/cells").rglob("*.json")) - stored
    assert {json.loads(path.read_text())["algorithm"] for path in added} == {"callable"}
    assert len(added) == 2  # the map and its score

    assert blobs(run, command[0], "algorithm.callable.function=explain_for_a_test:explian") == 2
    assert "algorithm.callable: function: explain_for_a_test has no 'explian'" in capsys.readouterr().err


def test_captums_walk_through_all_orders_is_refused_where_it_never_ends():
    method = a.Captum("ShapleyValues")
    explainer = Explainer(Request(mlp(9, 4, 2), numbers(2, 9), target=1))
    assert "needs at most 8 features: one has 9" in str(explainer.missing(method))
