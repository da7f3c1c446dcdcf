"""Modules with full backward hooks: torch sends their tensors through a function of its own, which changes nothing."""

from torch import Tensor
from torch.nn.modules._functions import BackwardHookFunction

Origin = tuple[int, int]  # a node of autograd, by its number, and which of its outputs


def is_passed_on(tensor: Tensor) -> bool:
    """Whether a tensor is one that was passed on so, with the same values."""
    return isinstance(tensor.grad_fn, BackwardHookFunction._backward_cls)


def origin(tensor: Tensor) -> Origin | None:
    """Where autograd made a tensor; None for a leaf."""
    node = tensor.grad_fn
    return None if node is None else (node._sequence_nr(), tensor.output_nr)


def before(tensor: Tensor) -> Origin | None:
    """Where the tensor was made that was passed on; None for a leaf."""
    assert tensor.grad_fn is not None, "a tensor that was passed on has a node"
    node, number = tensor.grad_fn.next_functions[tensor.output_nr]
    return None if node is None or node.name() == "torch::autograd::AccumulateGrad" else (node._sequence_nr(), number)
