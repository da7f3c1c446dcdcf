"""Relevance through attention and normalisation: AttnLRP's rules, or constants as in CP-LRP."""

from typing import Any

from torch import Tensor

from xbench.rules.lrp.mode import Relevance, arguments
from xbench.rules.lrp.propagate import TorchFunction, in_proportion
from xbench.rules.override import Call

_NORMS = {
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "rms_norm": ("input",),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "instance_norm": (
        *("input", "weight", "bias", "running_mean", "running_var", "use_input_stats", "momentum", "eps"),
    ),
}  # fmt: skip
NORMS = frozenset(_NORMS)


def softmax(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """The Taylor expansion of s = softmax(x) at x: R_i = x_i (R_i - s_i sum_j R_j)."""
    given = arguments(call, "input", "dim", "dtype")
    dim, dtype = given["dim"], given.get("dtype")

    def shares(relevance: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        s = x.softmax(dim, dtype=dtype)
        taken = x * (relevance - s * relevance.sum(dim, keepdim=True))
        return (taken.masked_fill(s == 0, 0.0).to(x.dtype),)  # also where x is minus infinity

    return mode.shared(call, shares, active[0])


def norm(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Layer, group, instance and RMS norms, see `Composite.normalization`."""
    given = arguments(call, *_NORMS[call.name])
    x = given["input"]
    if len(active) > 1 or active[0] is not x:
        mode.complain(call.name, "its parameters depend on the input")
        return mode.linear(call, active)
    if not given.get("use_input_stats", True):  # an instance norm with fixed statistics is linear
        return mode.linear(call, active)
    if mode.composite.normalization == "identity" or call.name == "rms_norm":
        return mode.passed(call, x)
    return mode.shared(call, in_proportion(_with_constant_denominator(call.name, given), mode.composite.stabilizer), x)


def _with_constant_denominator(name: str, given: dict[str, Any]) -> TorchFunction:
    """The norm as a linear function of its input: the denominator is detached."""
    weight, bias, eps = given.get("weight"), given.get("bias"), given.get("eps", 1e-5)
    shape = given["input"].shape
    if name == "layer_norm":
        normalized = given["normalized_shape"]
        rows, per_channel = (*shape[: -len(normalized)], -1), tuple(normalized)
    else:
        rows = (shape[0], given.get("num_groups", shape[1]), -1)
        per_channel = (-1, *[1] * (len(shape) - 2))

    def function(leaf: Tensor) -> Tensor:
        grouped = leaf.reshape(rows)
        centred = grouped - grouped.mean(-1, keepdim=True)
        variance = centred.detach().square().mean(-1, keepdim=True)
        y: Tensor = (centred / (variance + eps).sqrt()).reshape(shape)
        y = y if weight is None else y * weight.view(per_channel)
        return y if bias is None else y + bias.view(per_channel)

    return function
