"""Modules with full backward hooks: torch passes their tensors through an identity function of its own."""

from torch import Tensor
from torch.nn.modules._functions import BackwardHookFunction

Origin = tuple[int, int]  # number of an autograd node, and index of its output


def is_passed_on(tensor: Tensor) -> bool:
    """Whether a tensor comes from that identity function."""
    return isinstance(tensor.grad_fn, BackwardHookFunction._backward_cls)


def origin(tensor: Tensor) -> Origin | None:
    """The autograd node and output that made a tensor; None for a leaf."""
    node = tensor.grad_fn
    return None if node is None else (node._sequence_nr(), tensor.output_nr)


def before(tensor: Tensor) -> Origin | None:
    """The origin of the tensor that was passed through the identity; None for a leaf."""
    assert tensor.grad_fn is not None, "a tensor that was passed on has a node"
    node, number = tensor.grad_fn.next_functions[tensor.output_nr]
    return None if node is None or node.name() == "torch::autograd::AccumulateGrad" else (node._sequence_nr(), number)
