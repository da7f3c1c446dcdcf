"""Relevance handlers for each kind of operation; attention and normalisation are in `attention`.

Every function takes the mode, the call, and the tensors in the call that carry relevance.
"""

from dataclasses import replace

from torch import Tensor

from xbench.rules import operations
from xbench.rules.composites import COMPOSITES
from xbench.rules.lrp.layers import Layer
from xbench.rules.lrp.mode import Pending, Relevance, arguments, scoped
from xbench.rules.lrp.propagate import Shares, of_operands
from xbench.rules.lrp.rules import LayerRule
from xbench.rules.override import Call, tensors_in


def moving(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Moves and maxima: relevance goes to the origin of the value (for maxima, the winner takes all)."""
    return call.run()


def elementwise(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    if any(tensor is not active[0] for tensor in active):
        mode.complain(call.name, "two of its operands depend on the input")
        return mode.linear(call, active)
    return mode.passed(call, active[0])


def linear(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    return mode.linear(call, active)


def linear_in_first(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Pooling, interpolation and sampling at positions that do not depend on the input."""
    if len(active) > 1:
        mode.complain(call.name, "an operand other than the first depends on the input")
    return mode.linear(call, active)


def sums(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Sums: summands share in proportion. A constant tensor is a bias, which keeps its share.

    A number belongs to a function of one variable (x + 3), and a step before the first layer belongs to preprocessing
    (x - mean): both pass relevance on unchanged.
    """
    tensors = [value for value in (*call.args[:2], *call.kwargs.values()) if isinstance(value, Tensor)]
    shift = all(tensor.ndim == 0 for tensor in tensors if tensor is not active[0])
    if len(active) == 1 and (shift or not mode.mark(active[0]).deep):
        return mode.passed(call, active[0])
    return mode.linear(call, active)


def product(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Products: factors that depend on the input share equally; gates and inverses of denominators take nothing."""
    idle = {"rsqrt", "reciprocal", *mode.composite.gates}
    receivers = [tensor for tensor in active if mode.mark(tensor).origin not in idle] or active
    if call.name == "mul":
        constants = [t for t in call.args[:2] if isinstance(t, Tensor) and not t.requires_grad and t.ndim > 0]
        return mode.passed(call, *receivers, keep=constants[0] != 0 if constants else None)
    constants = [tensor for tensor in tensors_in((call.args, call.kwargs)) if not tensor.requires_grad]
    if len(active) == 1 and len(constants) == 1 and not mode.derives(constants[0]):
        return _layer(mode, call, active[0], Layer(of_operands(call, (active[0], constants[0])), constants[0]))
    return mode.linear(call, receivers, factors=len(receivers))


def div(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Division: the numerator takes all relevance."""
    return mode.passed(call, call.args[0] if call.args[0].requires_grad else active[0])


def layer(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Convolutions and dense layers."""
    given = arguments(call, "input", "weight", "bias")
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    if len(active) > 1 or active[0] is not x:
        if call.name == "linear":
            return scoped(COMPOSITES["linear"])(mode, call, active)
        mode.complain(call.name, "an operand other than the first depends on the input")
        return mode.linear(call, active)
    args = tuple(None if position == 2 else value for position, value in enumerate(call.args))
    bare = replace(call, args=args, kwargs={k: None if k == "bias" else v for k, v in call.kwargs.items()})
    bias = None if bias is None else bias.view(_channels(call))
    made = Layer(of_operands(bare, (x, weight)), weight, bias)
    result = _layer(mode, call, x, made)
    if isinstance(result, Tensor):
        mode.pending[result] = Pending(call, made, _rule(mode, call, x), x, result._version)
    return result


def _channels(call: Call) -> tuple[int, ...]:
    """The shape that broadcasts numbers per channel over the result of a layer."""
    return (-1,) if call.name == "linear" else (-1, *[1] * int(call.name[-2]))


def _rule(mode: Relevance, call: Call, x: Tensor) -> LayerRule:
    first = not mode.preceded and not mode.mark(x).deep
    return mode.composite.layer(call.name in operations.CONVOLUTIONS, first)


def _layer(mode: Relevance, call: Call, x: Tensor, made: Layer) -> object:
    return mode.shared(call, _shares(_rule(mode, call, x), made), x)


def _shares(rule: LayerRule, made: Layer) -> Shares:
    return lambda relevance, x: (rule.relevance(made, x, relevance),)


def batch_norm(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    """Batch norm: merged into a convolution or dense layer right before it; elsewhere a linear operation."""
    names = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
    given = arguments(call, *names)
    y = given["input"]
    if len(active) > 1 or given["training"]:
        reason = "in training mode it mixes examples; call model.eval()"
        mode.complain(call.name, reason if given["training"] else "its parameters depend on the input")
        return mode.linear(call, active)
    pending: Pending | None = mode.pending.get(y)
    if pending is None or pending.version != y._version or not _merges(pending.call, y):
        return mode.linear(call, active)
    scale = (given["running_var"] + given["eps"]).rsqrt()
    scale = scale if given["weight"] is None else scale * given["weight"]
    shift = -given["running_mean"] * scale
    shift = shift if given["bias"] is None else shift + given["bias"]
    channels, layer = _channels(pending.call), pending.layer
    per_output = scale.view(-1, *[1] * (layer.weight.ndim - 1 - ("transpose" in pending.call.name)))
    bias = shift.view(channels) if layer.bias is None else layer.bias * scale.view(channels) + shift.view(channels)
    merged = replace(layer, weight=layer.weight * per_output, bias=bias)
    return mode.shared(call, _shares(pending.rule, merged), pending.x)


def _merges(call: Call, y: Tensor) -> bool:
    """Whether the norm's channels are the layer's channels, at a known position in its weight."""
    if call.name == "linear":
        return y.ndim == 2
    return "transpose" not in call.name or call.kwargs.get("groups", call.args[6] if len(call.args) > 6 else 1) == 1


def dropout(mode: Relevance, call: Call, active: list[Tensor]) -> object:
    if call.kwargs.get("train", call.args[2] if len(call.args) > 2 else True):
        mode.complain(call.name, "it is random in training mode; call model.eval()")
    return call.run()
