"""Every operation that a rule knows, its operands and options by keyword: the same maps as by position.

The operations are those of the rules' own tables. One that takes more than a tensor needs an entry in `ARGUMENTS`.
"""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tests.models_for_tests import numbers, weights
from tests.rules.models import uniform
from xbench import algorithms, attribute
from xbench.rules import lrp, operations
from xbench.rules.attention import AttentionWeights
from xbench.rules.deeplift import Rescale
from xbench.rules.deeplift import rule as rescale
from xbench.rules.errors import UnknownOperation
from xbench.rules.guided import PositiveGradients
from xbench.rules.lrp import rule as relevance
from xbench.rules.override import tensors_in

Arguments = dict[str, Any]
C = operations.CONVOLUTIONS


def _fixed(*shape: int) -> Tensor:
    return uniform(*shape, seed=9)


def _state(x: Tensor) -> Tensor:
    return x.new_zeros(1, len(x), 3) + 0.5


def _recurrent(gates: int, **states: Any) -> Arguments:
    params = [_fixed(3 * gates, 6), _fixed(3 * gates, 3), _fixed(3 * gates), _fixed(3 * gates)]
    options = {"has_biases": True, "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False}
    return {**states, "params": params, **options, "batch_first": True}


def _cell(gates: int, x: Tensor) -> Arguments:
    state = x.new_zeros(len(x), 3) + 0.5
    hx = (state, state) if gates == 4 else state
    names = {"w_ih": _fixed(3 * gates, 6), "w_hh": _fixed(3 * gates, 3), "b_ih": _fixed(3 * gates)}
    return {"hx": hx, **names, "b_hh": _fixed(3 * gates)}


ROWS, TOKENS, IMAGES, VOLUMES = (6,), (5, 6), (4, 8, 8), (4, 4, 4, 4)
Example = tuple[tuple[int, ...], Callable[[Tensor], Arguments]]
_INDEX = torch.tensor([2, 0, 1])

# By canonical name: the shape of an example, and the arguments after the first, in their order.
ARGUMENTS: dict[str, Example] = {
    **dict.fromkeys(("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "fmax", "fmin"),
                    (ROWS, lambda x: {"other": x.exp()})),
    **dict.fromkeys(("hypot", "atan2", "xlogy"), (ROWS, lambda x: {"other": _fixed(6).abs()})),
    **dict.fromkeys(("remainder", "fmod"), (ROWS, lambda x: {"other": 0.75})),
    **dict.fromkeys(operations.DROPOUTS, (IMAGES, lambda x: {"p": 0.5, "train": False})),
    **dict.fromkeys(("sum", "mean"), (TOKENS, lambda x: {"dim": 2, "keepdim": True})),
    **dict.fromkeys(("max", "min", "amax", "amin"), (TOKENS, lambda x: {"dim": 2, "keepdim": True})),
    **dict.fromkeys(("logsumexp", "var", "std", "var_mean"), (TOKENS, lambda x: {"dim": 2})),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "prod", "sort", "cummax"), (TOKENS, lambda x: {"dim": 2})),
    **dict.fromkeys(("argmax", "unbind", "squeeze"), (TOKENS, lambda x: {"dim": 1})),
    **dict.fromkeys(("matmul",), (TOKENS, lambda x: {"other": x.exp().mT})),
    **dict.fromkeys(("bmm",), (TOKENS, lambda x: {"mat2": x.exp().mT})),
    **{f"{kind}conv{'_transpose' * t}{d}d": example for kind in ("",) for t in (0, 1) for d, example in (
        (1, ((4, 8), lambda x: {"weight": _fixed(4, 4, 3), "bias": _fixed(4), "stride": 2})),
        (2, (IMAGES, lambda x: {"weight": _fixed(4, 4, 3, 3), "bias": _fixed(4), "stride": 2})),
        (3, (VOLUMES, lambda x: {"weight": _fixed(4, 4, 2, 2, 2), "bias": _fixed(4), "stride": 2})),
    )},
    **{f"{kind}{p}_pool{d}d{i}": (shape, (lambda x: {"output_size": 2}) if kind else (lambda x: {"kernel_size": 2}))
       for kind in ("", "adaptive_") for p, i in (("max", ""), ("max", "_with_indices"), ("avg", ""))
       for d, shape in ((1, (4, 8)), (2, IMAGES), (3, VOLUMES))},
    **{f"upsample_{kind}{d}d": (shape, lambda x, o=options: {"output_size": [12] * (x.ndim - 2), **o})
       for kind, d, shape, options in (
           *((kind, d, shape, {}) for kind in ("nearest", "nearest_exact")
             for d, shape in ((1, (4, 8)), (2, IMAGES), (3, VOLUMES))),
           ("linear", 1, (4, 8), {"align_corners": False}), ("trilinear", 3, VOLUMES, {"align_corners": False}),
           *((kind, 2, IMAGES, {"align_corners": False}) for kind in ("bilinear", "bicubic")))},
    "linear": (ROWS, lambda x: {"weight": _fixed(3, 6), "bias": _fixed(3)}),
    "mm": (ROWS, lambda x: {"mat2": _fixed(6, 3)}),
    "bilinear": (ROWS, lambda x: {"input2": x.exp(), "weight": _fixed(2, 6, 6), "bias": _fixed(2)}),
    "addmm": (ROWS, lambda x: {"mat1": x, "mat2": _fixed(6, 6)}),
    "addmv": ((), lambda x: {"mat": x[:, None].exp(), "vec": _fixed(1)}),
    "baddbmm": ((5, 5), lambda x: {"batch1": x, "batch2": x.exp()}),
    "addcmul": (ROWS, lambda x: {"tensor1": x, "tensor2": x.exp()}),
    "addcdiv": (ROWS, lambda x: {"tensor1": x, "tensor2": x.exp()}),
    "lerp": (ROWS, lambda x: {"end": x.exp(), "weight": x.sigmoid()}),
    "logaddexp": (ROWS, lambda x: {"other": x.exp()}),
    "cosine_similarity": (ROWS, lambda x: {"x2": x.exp(), "dim": 1}),
    "pairwise_distance": (ROWS, lambda x: {"x2": x.exp(), "p": 2.0}),
    "layer_norm": (ROWS, lambda x: {"normalized_shape": (6,), "weight": _fixed(6), "bias": _fixed(6), "eps": 1e-3}),
    "rms_norm": (ROWS, lambda x: {"normalized_shape": (6,), "weight": _fixed(6), "eps": 1e-3}),
    "group_norm": (IMAGES, lambda x: {"num_groups": 2, "weight": _fixed(4), "bias": _fixed(4), "eps": 1e-3}),
    "instance_norm": (IMAGES, lambda x: {
        "weight": _fixed(4), "bias": _fixed(4), "running_mean": None, "running_var": None, "use_input_stats": True,
        "momentum": 0.1, "eps": 1e-3, "cudnn_enabled": False}),
    "batch_norm": (ROWS, lambda x: {
        "weight": _fixed(6), "bias": _fixed(6), "running_mean": _fixed(6), "running_var": _fixed(6).exp(),
        "training": False, "momentum": 0.1, "eps": 1e-3, "cudnn_enabled": False}),
    "scaled_dot_product_attention": (TOKENS, lambda x: {
        "key": x.sin(), "value": x.cos(), "attn_mask": _fixed(5, 5), "dropout_p": 0.0, "is_causal": False}),
    "glu": (ROWS, lambda x: {"dim": 1}),
    "prelu": (ROWS, lambda x: {"weight": _fixed(6)}),
    "threshold": (ROWS, lambda x: {"threshold": 0.1, "value": 0.2}),
    "clamp": (ROWS, lambda x: {"min": -0.5, "max": 0.5}),
    "clamp_min": (ROWS, lambda x: {"min": -0.5}),
    "clamp_max": (ROWS, lambda x: {"max": 0.5}),
    **dict.fromkeys(("pow", "float_power"), (ROWS, lambda x: {"exponent": 3})),
    "linalg_vector_norm": (ROWS, lambda x: {"ord": 3, "dim": 1}),
    "linalg_norm": (ROWS, lambda x: {"ord": 2, "dim": 1}),
    "norm": (ROWS, lambda x: {"p": 2, "dim": 1}),
    "topk": (ROWS, lambda x: {"k": 2, "dim": 1}),
    "reshape": (ROWS, lambda x: {"shape": (len(x), 2, 3)}),
    "view": (ROWS, lambda x: {"size": (len(x), 2, 3)}),
    **dict.fromkeys(("view_as", "reshape_as", "expand_as", "type_as"), (ROWS, lambda x: {"other": x.exp()})),
    "to": (ROWS, lambda x: {"dtype": torch.float64}),
    "type": (ROWS, lambda x: {"dtype": torch.float64}),
    "flatten": (TOKENS, lambda x: {"start_dim": 1, "end_dim": 2}),
    "unflatten": (ROWS, lambda x: {"dim": 1, "sizes": (2, 3)}),
    "unsqueeze": (ROWS, lambda x: {"dim": 1}),
    "where": (ROWS, lambda x: {"condition": _fixed(6) > 0, "input": x, "other": x.exp()}),
    "fill": (ROWS, lambda x: {"value": 0.5}),
    "pad": (ROWS, lambda x: {"pad": (1, 1)}),
    "im2col": (IMAGES, lambda x: {"kernel_size": 2, "dilation": 1, "padding": 0, "stride": 1}),
    "col2im": ((16, 9), lambda x: {
        "output_size": (4, 4), "kernel_size": (2, 2), "dilation": (1, 1), "padding": (0, 0), "stride": (1, 1)}),
    **dict.fromkeys(("hsplit", "vsplit"), (TOKENS, lambda x: {"indices": [2]})),
    "dsplit": (TOKENS, lambda x: {"indices": [2]}),
    "view_as_complex": ((6, 2), lambda x: {}),
    "masked_fill": (ROWS, lambda x: {"mask": _fixed(6) > 0, "value": 0.5}),
    **dict.fromkeys(("tril", "triu"), (TOKENS, lambda x: {"diagonal": 1})),
    "permute": (TOKENS, lambda x: {"dims": (0, 2, 1)}),
    "transpose": (TOKENS, lambda x: {"dim0": 1, "dim1": 2}),
    "swapaxes": (TOKENS, lambda x: {"axis0": 1, "axis1": 2}),
    "swapdims": (TOKENS, lambda x: {"dim0": 1, "dim1": 2}),
    **dict.fromkeys(("movedim", "moveaxis"), (TOKENS, lambda x: {"source": 1, "destination": 2})),
    "select": (TOKENS, lambda x: {"dim": 1, "index": 2}),
    "narrow": (TOKENS, lambda x: {"dim": 1, "start": 1, "length": 2}),
    "split": (TOKENS, lambda x: {"split_size": 2, "dim": 1}),
    "split_with_sizes": (TOKENS, lambda x: {"split_sizes": [2, 3], "dim": 1}),
    "chunk": (TOKENS, lambda x: {"chunks": 2, "dim": 1}),
    "tensor_split": (TOKENS, lambda x: {"sections": 2, "dim": 1}),
    "index_select": (TOKENS, lambda x: {"dim": 1, "index": _INDEX}),
    "gather": (ROWS, lambda x: {"dim": 1, "index": _INDEX.expand(len(x), 3)}),
    "take_along_dim": (ROWS, lambda x: {"indices": _INDEX.expand(len(x), 3), "dim": 1}),
    **dict.fromkeys(("cat", "stack"), (TOKENS, lambda x: {"tensors": [x, x.exp()], "dim": 1})),
    **dict.fromkeys(("hstack", "vstack", "dstack"), (TOKENS, lambda x: {"tensors": [x, x.exp()]})),
    "roll": (TOKENS, lambda x: {"shifts": 1, "dims": 1}),
    "flip": (TOKENS, lambda x: {"dims": (1,)}),
    "rot90": (TOKENS, lambda x: {"k": 1, "dims": (1, 2)}),
    "expand": (ROWS, lambda x: {"size": (len(x), 6)}),
    "broadcast_to": (ROWS, lambda x: {"size": (len(x), 6)}),
    "repeat": (ROWS, lambda x: {"repeats": (1, 2)}),
    "repeat_interleave": (ROWS, lambda x: {"repeats": 2, "dim": 1}),
    "tile": (ROWS, lambda x: {"dims": (1, 2)}),
    "diagonal": ((5, 5), lambda x: {"offset": 0, "dim1": 1, "dim2": 2}),
    "unfold": (ROWS, lambda x: {"dimension": 1, "size": 2, "step": 1}),
    "constant_pad_nd": (ROWS, lambda x: {"pad": (1, 1), "value": 0.5}),
    "index_add": (ROWS, lambda x: {"dim": 1, "index": _INDEX, "source": x[:, :3]}),
    "index_copy": (ROWS, lambda x: {"dim": 1, "index": _INDEX, "source": x[:, :3]}),
    "index_fill": (ROWS, lambda x: {"dim": 1, "index": _INDEX, "value": 0.5}),
    "index_put": (ROWS, lambda x: {"indices": (torch.arange(4), torch.ones(4, dtype=torch.long)), "values": x[:, 0]}),
    **dict.fromkeys(("scatter", "scatter_add"),
                    (ROWS, lambda x: {"dim": 1, "index": _INDEX.expand(len(x), 3), "src": x[:, :3].exp()})),
    "slice_scatter": (ROWS, lambda x: {"src": x[:, :3].exp(), "dim": 1, "start": 1, "end": 4}),
    "select_scatter": (ROWS, lambda x: {"src": x[:, 0].exp(), "dim": 1, "index": 2}),
    "masked_scatter": (ROWS, lambda x: {"mask": (_fixed(6) > 0).expand(4, 6), "source": x.exp()}),
    **dict.fromkeys(("pixel_shuffle",), (IMAGES, lambda x: {"upscale_factor": 2})),
    **dict.fromkeys(("pixel_unshuffle",), (IMAGES, lambda x: {"downscale_factor": 2})),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), (IMAGES, lambda x: {"groups": 2})),
    "grid_sampler": (IMAGES, lambda x: {
        "grid": _fixed(1, 3, 3, 2).expand(len(x), -1, -1, -1) / 2, "interpolation_mode": 0, "padding_mode": 0,
        "align_corners": False}),
    **{name: (TOKENS, (lambda x: {"n": 4, "dim": -1, "norm": "ortho"}) if name[-1] not in "2n"
              else lambda x: {"s": (4, 4), "dim": (-2, -1), "norm": "ortho"}) for name in operations.FOURIER},
    "lstm": (TOKENS, lambda x: _recurrent(4, hx=(_state(x), _state(x)))),
    "gru": (TOKENS, lambda x: _recurrent(3, hx=_state(x))),
    **dict.fromkeys(("rnn_tanh", "rnn_relu"), (TOKENS, lambda x: _recurrent(1, hx=_state(x)))),
    "lstm_cell": (ROWS, lambda x: _cell(4, x)),
    "gru_cell": (ROWS, lambda x: _cell(3, x)),
    **dict.fromkeys(("rnn_tanh_cell", "rnn_relu_cell"), (ROWS, lambda x: _cell(1, x))),
}  # fmt: skip

# No function, or none with operands or options that can have names.
NAMELESS = {
    *("H", "T", "mT", "mH", "data", "imag", "real", "cuda", "requires_grad", "view_as_real", "alias", "copy", "zero"),
    *("getitem", "setitem", "unsafe_view", "einsum", "stft", "istft", "pack_padded_sequence"),
    *("upsample_bicubic2d_aa", "upsample_bilinear2d_aa", "native_channel_shuffle"),
    *("upsample_nearest_exact1d", "upsample_nearest_exact2d", "upsample_nearest_exact3d"),
    *("fft_ihfft", "fft_ihfft2", "fft_ihfftn"),
}
# torch 2.3 has no rms_norm, and no derivative of channel_shuffle.
LACKING = {"rms_norm", "channel_shuffle"} if torch.__version__ < "2.4" else set()
NAMES = sorted((set(rescale._TABLE) | set(relevance._TABLE) | operations.LINEAR) - NAMELESS - LACKING)
RULES = [
    Rescale(), lrp.LayerwiseRelevance(lrp.epsilon_plus()), lrp.LayerwiseRelevance(lrp.cp_lrp()),
    PositiveGradients("guided"), PositiveGradients("deconvolution"),
]  # fmt: skip
_PLACES = {"": (torch, F, torch._C._nn), "fft_": (torch.fft,), "linalg_": (torch.linalg,), "special_": (torch.special,)}


def _functions(name: str) -> list[Callable[..., object]]:
    """The functions of that name, and the method."""
    places = [(place, name.removeprefix(prefix)) for prefix in _PLACES if name.startswith(prefix)
              for place in _PLACES[prefix]]  # fmt: skip
    found = [getattr(place, plain) for place, plain in (*places, (Tensor, name)) if hasattr(place, plain)]
    return [function for function in found if function is not F.unfold]  # which is im2col


def _example(name: str, x: Tensor) -> Arguments:
    arguments = ARGUMENTS[name][1](x) if name in ARGUMENTS else {}
    return arguments if {"tensors", "condition"} & arguments.keys() else {"input": x, **arguments}


def _outcome(rule: Any, call: Callable[[Tensor], object], x: Tensor) -> Tensor | str:
    """The gradient under a rule of all that comes out, or why it was refused."""
    x = x.clone().requires_grad_()
    try:
        with rule.apply():
            outputs = [y for y in tensors_in(call(x)) if y.requires_grad]
        if not outputs:
            return "constant"
        weighted = [(torch.view_as_real(y.resolve_conj()) if y.is_complex() else y).sin().sum() for y in outputs]
        return torch.autograd.grad(sum(weighted, torch.zeros(())), x)[0]
    except UnknownOperation as error:
        return str(error)


def _written(name: str, function: Callable[..., object]) -> dict[str, Callable[[Tensor], object]]:
    """A call of it in all its forms that torch takes."""

    def by_position(x: Tensor) -> object:
        return function(*_example(name, x).values())

    def by_name(x: Tensor) -> object:
        return function(**_example(name, x))

    def mixed(x: Tensor) -> object:
        (_, first), *rest = _example(name, x).items()
        return function(first, **dict(rest))

    return {"by position": by_position, "by name": by_name, "mixed": mixed}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_keywords_mean_what_positions_mean(name: str) -> None:
    x = uniform(4, *ARGUMENTS.get(name, (ROWS, None))[0]).abs() / 2.1 + 0.01
    forms = []
    for function in _functions(name):
        found = {}
        for form, call in _written(name, function).items():
            try:
                call(x)
            except (TypeError, RuntimeError):  # torch itself does not take it
                continue
            found[form] = call
        forms += list(found.values())
    assert len(forms) > 1, f"{name}: give it an example in ARGUMENTS"
    for rule in RULES:
        expected, *others = (_outcome(rule, call, x) for call in forms)
        for outcome in others:
            if isinstance(expected, str) or isinstance(outcome, str):
                assert outcome == expected
            else:
                torch.testing.assert_close(outcome, expected, equal_nan=True)


def _attended(x: Tensor, named: bool) -> Tensor:
    tokens = x.unflatten(1, (2, 3)).transpose(0, 1)  # (2 tokens, n, 3)
    names = ("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k",
             "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias")  # fmt: skip
    values = (tokens, tokens, tokens, 3, 1, _fixed(9, 3), None, None, None, False, 0.0,
              _fixed(3, 3), None)  # fmt: skip
    if named:
        return F.multi_head_attention_forward(**dict(zip(names, values, strict=True)), training=False)[0].mean(0)
    return F.multi_head_attention_forward(*values, training=False)[0].mean(0)


_SAME: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "axis": (
        lambda x: x.softmax(axis=1) * x.sum(axis=1, keepdims=True).exp(),
        lambda x: x.softmax(1) * x.sum(1, True).exp(),
    ),
    "cat axis": (lambda x: torch.cat([x, x.exp()], axis=1).tanh(), lambda x: torch.cat([x, x.exp()], 1).tanh()),
    "x1, x2": (lambda x: torch.mul(x1=x, x2=x.exp()), lambda x: x * x.exp()),
    "alpha": (lambda x: torch.add(input=x, other=x.exp(), alpha=2).sin(), lambda x: (x + 2 * x.exp()).sin()),
    "rounding mode": (lambda x: torch.div(input=x, other=0.3, rounding_mode="floor"), lambda x: (x / 0.3).floor()),
    "quotient": (lambda x: torch.div(input=x, other=x.exp() + 1), lambda x: x / (x.exp() + 1)),
    "einsum": (lambda x: torch.einsum("bi,ij->bj", [x, _fixed(6, 3)]).exp(), lambda x: (x @ _fixed(6, 3)).exp()),
    "embedding": (lambda x: x * F.embedding(input=torch.tensor(1), weight=_fixed(2, 6)), lambda x: x * _fixed(2, 6)[1]),
    "multi-head attention": (lambda x: _attended(x, named=True), lambda x: _attended(x, named=False)),
    # They take no more than a type or a shape from the input.
    "type of a constant": (lambda x: x * _fixed(6).to(x) * _fixed(6).type_as(x), lambda x: x * _fixed(6) * _fixed(6)),
    "shape of a constant": (lambda x: torch.maximum(x, _fixed(6).expand_as(x)), lambda x: torch.maximum(x, _fixed(6))),
}  # fmt: skip


@pytest.mark.parametrize("name", _SAME)
@pytest.mark.parametrize("rule", RULES, ids=["DeepLIFT", "LRP", "CP-LRP", "guided", "deconvolution"])
def test_other_names_and_options(name: str, rule: Any) -> None:
    x = uniform(4, 6)
    ours, expected = (_outcome(rule, function, x) for function in _SAME[name])
    assert isinstance(ours, Tensor)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(ours, expected)


def test_attention_weights_are_seen_in_both_forms() -> None:
    seen = []
    for named in (True, False):
        with AttentionWeights().watch(nn.Identity()) as visit:
            _attended(uniform(4, 6), named)
        seen.append(visit.tensors)
    ((ours,), (expected,)) = seen
    assert ours.shape == (4, 1, 2, 2)
    torch.testing.assert_close(ours, expected)


_SMALL = {"img_size": 32, "num_classes": 3}
_PLAIN = {"embed_dim": 24, "depth": 2, "num_heads": 2, **_SMALL}
_WINDOWS = {"window_size": 4, "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 2), **_SMALL}
TIMM: dict[str, dict[str, Any]] = {
    "eva02_tiny_patch14_224": {**_PLAIN, "img_size": 28},
    "eva02_base_patch16_clip_224": _PLAIN,
    "beit_base_patch16_224": {**_PLAIN, "patch_size": 8, "init_values": 0.5},
    "beit3_base_patch16_224": {**_PLAIN, "patch_size": 8},
    "swinv2_tiny_window8_256": _WINDOWS,
    "swinv2_cr_tiny_224": _WINDOWS,
}


@pytest.fixture(scope="module", params=TIMM)
def vision(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor]:
    """A network of timm, tiny and with random weights, and two batches."""
    model = weights(timm.create_model(request.param, pretrained=False, **TIMM[request.param])).requires_grad_(False)
    side = TIMM[request.param]["img_size"]
    return model, numbers(2, 3, side, side), numbers(2, 3, side, side, seed=2)


@pytest.mark.slow
def test_deeplift_is_complete_on_networks_of_timm(vision: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, x0 = vision
    maps = attribute(model, x, algorithms.DeepLift(), target=1, baselines=x0)
    change = (model(x) - model(x0))[:, 1]
    assert change.abs().min() > 1e-6
    torch.testing.assert_close(maps.flatten(1).sum(1), change, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_other_rules_pass_networks_of_timm(vision: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Their values: those of the same network with its layers called by position."""
    model, x, _ = vision
    methods = [algorithms.LRP(c) for c in (lrp.epsilon_plus(), lrp.attn_lrp(), lrp.cp_lrp())]
    others = [algorithms.GuidedBackprop(), algorithms.Deconvolution()]
    maps = [attribute(model, x, method, target=1) for method in (*methods, *others)]
    with _Positions():
        positions = [attribute(model, x, method, target=1) for method in (*methods, *others)]
    for ours, expected in zip(maps, positions, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, expected)


class _Positions(TorchFunctionMode):
    """Dense layers given by keyword go on by position, before any rule sees them."""

    def __torch_function__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and kwargs:
            return func(*args, *(kwargs[key] for key in ("input", "weight", "bias")[len(args) :] if key in kwargs))
        return func(*args, **(kwargs or {}))
