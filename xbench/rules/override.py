"""Changes how gradients pass through functions, for every caller.

A backward rule is a `torch.overrides.TorchFunctionMode` around the forward pass: every torch function, method
and operator that the model calls arrives here first, from `nn.ReLU`, `F.relu`, `torch.relu_` or a module used twice.
The model itself is not changed, so nothing must be restored.
"""

import abc
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from types import FunctionType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointFunction

from xbench.rules.errors import UnknownOperation, UnknownOperationWarning
from xbench.rules.hooked import is_passed_on
from xbench.rules.indexing import IndexingSeen
from xbench.rules.operations import CONSTANT, LIKE
from xbench.rules.signatures import by_position

Unknown = Literal["raise", "warn"]

# Operators and aliases -> the name of the function.
_ALIASES = {
    **dict.fromkeys(("radd", "iadd"), "add"),
    **dict.fromkeys(("isub", "subtract"), "sub"),
    **dict.fromkeys(("rmul", "imul", "multiply"), "mul"),
    **dict.fromkeys(("truediv", "itruediv", "idiv", "true_divide", "divide"), "div"),
    **dict.fromkeys(("concat", "concatenate"), "cat"),
    **{f"special_{name}": name for name in ("exp2", "expm1", "log1p", "erf", "erfc", "logsumexp")},
    **{f"special_{name}": name for name in ("softmax", "log_softmax", "logit", "round", "xlogy", "sinc")},
    "special_expit": "sigmoid",
    "log_sigmoid": "logsigmoid",
    "ipow": "pow",
    "negative": "neg",
    "absolute": "abs",
    "clip": "clamp",
    "arctan": "atan",
}
_IN_PLACE_OPERATORS = {
    "__iadd__",
    "__isub__",
    "__imul__",
    "__itruediv__",
    "__idiv__",
    "__ipow__",
    "__setitem__",
}
_PYTHON_CHECKS = {"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"}

Context = Any  # autograd's contexts accept any attribute


@dataclass(frozen=True)
class Call:
    """One call of a torch function.

    `name` is the same for all forms: "relu" for F.relu(x), x.relu() and x.relu_(). Arguments are positional where
    possible (`signatures`).
    """

    name: str
    in_place: bool
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self) -> Any:  # noqa: ANN401 - the function returns anything
        """Run the function itself, with its plain gradient."""
        return self.function(*self.args, **self.kwargs)

    def operands(self) -> Iterator[Tensor]:
        """All tensors whose values the call takes."""
        yield from tensors_in(_operands(self.name, self.args, self.kwargs))

    def with_arguments(self, change: Callable[[Tensor], Tensor]) -> "Call":
        """The same call with `change` applied to every tensor."""
        return replace(self, args=_mapped(self.args, change), kwargs=_mapped(self.kwargs, change))


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))


def _operands(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return args[:1] if name in LIKE else (args, kwargs)


def _mapped(value: object, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401 - like value
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        items = [_mapped(item, change) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value


def canonical_name(function: Callable[..., Any]) -> tuple[str, bool]:
    """One name for all forms of a function, and whether this form writes into its first argument."""
    name = function.__name__.split(".")[0]  # "relu.default" for an overload
    if name == "__get__":  # a property such as Tensor.T
        return function.__self__.__name__, False  # type: ignore[attr-defined]
    dunder = name.startswith("__") and name.endswith("__")
    in_place = name in _IN_PLACE_OPERATORS or (name.endswith("_") and not dunder)
    base = name.strip("_")
    return _ALIASES.get(base, base), in_place


@cache
def opened(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The Python body of a function such as F.multi_head_attention_forward; None when it is compiled.

    Called normally, the body would dispatch itself to the mode again, endlessly. Here its own check for overrides
    returns False, while the functions that it calls are dispatched to the mode.
    """
    code = getattr(function, "__code__", None)
    if code is None or not _PYTHON_CHECKS.intersection(code.co_names):
        return None
    assert isinstance(function, FunctionType)
    names = {**function.__globals__, **dict.fromkeys(_PYTHON_CHECKS, lambda *_: False)}
    body = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


_CHECKPOINTS = "rules cannot see them; switch the model's gradient checkpointing off"


def public_name(name: str) -> str:
    """The public name of an operation, if torch's internal name differs."""
    return "norm" if name == "linalg_vector_norm" else name


def refuse_if_used(tensors: Iterable[Tensor], refuse: Callable[[], None]) -> None:
    """Call `refuse` in the backward pass if a nonzero gradient reaches one of these results of an operation.

    Computations that do not reach the model's output, such as those of a hook or a print, are therefore accepted.
    """

    def check(gradient: Tensor) -> None:
        if bool((gradient != 0).any()):  # torch 2.3 warns at any() of complex numbers
            refuse()

    for tensor in tensors:
        if tensor.requires_grad:
            tensor.register_hook(check)


class RuleFunction(torch.autograd.Function):
    """Base of the rules' autograd functions, which distinguishes them from a model's own."""


class Override(TorchFunctionMode, abc.ABC):
    """A mode that sends each call on tensors that depend on the explained input to `handle`.

    A tensor depends on the explained input if it requires gradients (parameters must be frozen) or was computed from
    such a tensor (`derives`: a comparison, an argmax).
    """

    title: str  # the rule's name in messages
    fallback = "its plain gradient"  # what an operation without a rule passes under unknown="warn"

    def __init__(self, unknown: Unknown) -> None:
        super().__init__()
        self._unknown = unknown
        self._open: list[Callable[..., Any]] = []
        self._within: list[ExitStack] = []
        # Autograd numbers its nodes: nodes with higher numbers than this one were created while the rule was active.
        with torch.enable_grad():
            node: Any = torch.zeros((), requires_grad=True).neg().grad_fn
        self._start: int = node._sequence_nr()

    def __enter__(self) -> Self:
        # Non-reentrant checkpoints would fail only in the backward pass, with an unclear message about saved tensors.
        reason = f"{self.title} cannot pass through torch.utils.checkpoint: it runs layers a second time, where "
        within = ExitStack()
        within.enter_context(disable_saved_tensors_hooks(reason + _CHECKPOINTS))
        within.enter_context(IndexingSeen())
        self._within.append(within)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - an exception's type, value and traceback
        super().__exit__(*error)
        self._within.pop().close()

    @abc.abstractmethod
    def handle(self, call: Call) -> object:
        """Run a call that has an explained tensor. The mode is off here; `with self:` turns it on."""

    @abc.abstractmethod
    def derives(self, tensor: Tensor) -> bool:
        """Whether this tensor is the result of an earlier call of `handle`."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        name, in_place = canonical_name(func)
        operands = tensors_in(_operands(name, args, kwargs))
        if name in CONSTANT or not any(self.explains(tensor, name) for tensor in operands):
            return func(*args, **kwargs)
        body = opened(func)
        if body is None or func in self._open:
            return self.handle(Call(name, in_place, func, *by_position(func, args, kwargs)))
        # A method that calls super() arrives again under the same name; then it is the compiled method.
        self._open.append(func)
        try:
            with self:
                return body(*args, **kwargs)
        finally:
            self._open.pop()

    def explains(self, tensor: Tensor, name: str) -> bool:
        """Whether a tensor that operation `name` takes depends on the explained input."""
        if not tensor.requires_grad:
            return self.derives(tensor)
        if isinstance(tensor, nn.Parameter):
            raise ValueError(
                f"{name}: a parameter of shape {tuple(tensor.shape)} requires gradients under {self.title}; "
                "freeze the parameters (requires_grad_(False)) so that only the explained input does"
            )
        node: Any = tensor.grad_fn
        if node is None or is_passed_on(tensor):
            return True
        if isinstance(node, BackwardCFunction):
            function: type = getattr(node, "_forward_cls")  # noqa: B009 - not in torch's type stubs
            if function is CheckpointFunction:
                self.complain("checkpoint", f"it runs layers a second time, where {_CHECKPOINTS}")
            elif not issubclass(function, RuleFunction):
                self.complain(function.__name__, "it is an autograd.Function with its own backward")
        elif not self.derives(tensor) and node._sequence_nr() > self._start:
            reason = "it was computed where calls cannot be seen (TorchScript, compiled or extension code)"
            self.complain(node.name(), reason)
        return True

    def complain(self, operation: str, reason: str) -> None:
        """Raise UnknownOperation, or warn if the rule continues with the plain gradient."""
        if self._unknown == "raise":
            advice = f"Write that step with known operations, or pass unknown='warn' to use {self.fallback}."
            raise UnknownOperation(operation, f"{self.title} cannot pass through it: {reason}. {advice}")
        message = f"{operation}: {self.title} uses {self.fallback}: {reason}"
        warnings.warn(message, UnknownOperationWarning, stacklevel=4)
