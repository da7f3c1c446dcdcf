"""Recurrent layers and cells as single steps, for rules that only know products, sums and one-input functions.

Each function takes the arguments of torch's compiled function of the same name (torch.lstm, torch.gru_cell, ...)
and is called with the rule active, like those of `composites`. Internally time is the first dimension:
(steps, batch, units).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, ...]  # state between steps, the output first: (h, c) for an LSTM, (h,) otherwise
Weights = Sequence[Tensor | None]  # w_hh, b_hh, and w_hr if an LSTM projects its output
Step = Callable[[Tensor, State, Weights], State]  # from w_ih x + b_ih of the step


def _lstm_step(projected: Tensor, state: State, weights: Weights) -> State:
    (h, c), (w_hh, b_hh, *w_hr) = state, weights
    i, f, g, o = (projected + _linear(h, w_hh, b_hh)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (_linear(h, w_hr[0]) if w_hr else h), c


def _gru_step(projected: Tensor, state: State, weights: Weights) -> State:
    (h,) = state
    (r, z, n), (r_h, z_h, n_h) = projected.chunk(3, -1), _linear(h, *weights).chunk(3, -1)
    n = (n + (r + r_h).sigmoid() * n_h).tanh()
    return (n + (z + z_h).sigmoid() * (h - n),)


def _elman_step(function: Callable[[Tensor], Tensor], projected: Tensor, state: State, weights: Weights) -> State:
    return (function(projected + _linear(state[0], *weights)),)


def _linear(x: Tensor, weight: Tensor | None, bias: Tensor | None = None) -> Tensor:
    assert weight is not None
    return F.linear(x, weight, bias)


def _layers(
    step: Step,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """Run all layers and directions: the outputs of the last layer, and the last state of each layer."""
    if not isinstance(has_biases, bool):  # the signature for packed sequences has one more argument
        return NotImplemented
    start = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    sequence, ends = (input.transpose(0, 1) if batch_first else input), []
    for layer in range(num_layers):
        if dropout and train and layer:
            sequence = torch.dropout(sequence, dropout, True)  # the rule refuses dropout, by name
        outputs = []
        for which in range(layer * directions, (layer + 1) * directions):
            w_ih, w_hh, *rest = params[which * each : (which + 1) * each]
            b_ih, b_hh = (rest.pop(0), rest.pop(0)) if has_biases else (None, None)
            state = tuple(s[which] for s in start)
            backwards, found = which % directions == 1, []
            steps = F.linear(sequence, w_ih, b_ih).unbind(0)
            for projected in reversed(steps) if backwards else steps:
                state = step(projected, state, (w_hh, b_hh, *rest))
                found.append(state[0])
            outputs.append(torch.stack(found[::-1] if backwards else found))
            ends.append(state)
        sequence = torch.cat(outputs, 2) if bidirectional else outputs[0]
    last = (torch.stack(parts) for parts in zip(*ends, strict=True))
    return sequence.transpose(0, 1) if batch_first else sequence, *last


def _cell(
    step: Step,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor | State:
    """Run one step of a cell."""
    state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    state = step(F.linear(input, w_ih, b_ih), state, (w_hh, b_hh))
    return state if len(state) > 1 else state[0]


_STEPS: dict[str, Step] = {
    "lstm": _lstm_step,
    "gru": _gru_step,
    "rnn_tanh": partial(_elman_step, torch.tanh),
    "rnn_relu": partial(_elman_step, torch.relu),
}
RECURRENT: dict[str, Callable[..., object]] = {
    **{name: partial(_layers, step) for name, step in _STEPS.items()},
    **{f"{name}_cell": partial(_cell, step) for name, step in _STEPS.items()},
}
