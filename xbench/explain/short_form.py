"""The short form of a call: the fields of a problem as its arguments, which a type checker and `help` see."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from xbench.explain.problem import AnyModel, Inputs, Problem

P = ParamSpec("P")
Q = TypeVar("Q", bound=Problem)
A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


class ShortForm(Generic[P, Q]):
    """Makes f(problem, *others) callable as f(model, inputs, *others, **options), the options being the problem's.

    They are written once, as fields of the problem's class: the type checker reads its constructor, and `help` and
    `inspect.signature` the signature and the docs that are put together here.
    """

    def __init__(self, problem: Callable[Concatenate[AnyModel, Inputs, P], Q]) -> None:
        assert isinstance(problem, type), "the fields and their docs are those of a class"
        self._class: type[Problem] = problem
        self._problem: Callable[..., Q] = problem

    @overload
    def __call__(self, work: Callable[[Q, A], R]) -> Callable[Concatenate[AnyModel, Inputs, A, P], R]: ...
    @overload
    def __call__(self, work: Callable[[Q, A, B], R]) -> Callable[Concatenate[AnyModel, Inputs, A, B, P], R]: ...

    def __call__(self, work: Callable[..., R]) -> Callable[..., R]:
        signature, others = self._signature(work)

        @functools.wraps(work)
        def call(*given: object, **options: object) -> R:
            try:
                arguments: dict[str, Any] = signature.bind(*given, **options).arguments
            except TypeError as error:
                raise TypeError(f"{work.__name__}() {error}") from None
            own = [arguments.pop(name) for name in others]
            return work(self._problem(**arguments), *own)

        call.__signature__ = signature  # type: ignore[attr-defined]  # which `inspect` looks for first
        call.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
        call.__annotations__["return"] = signature.return_annotation
        call.__doc__ = f"{inspect.cleandoc(work.__doc__ or '')}\n\nThe other arguments:\n{self._docs()}"
        return call

    def _signature(self, work: Callable[..., R]) -> tuple[inspect.Signature, list[str]]:
        """The signature of the short form, and the names of its arguments that are not the problem's."""
        taken = inspect.signature(work)
        others = list(taken.parameters.values())[1:]
        fields = list(inspect.signature(self._class).parameters.values())
        positional = [field for field in fields if field.kind is not field.KEYWORD_ONLY]
        return taken.replace(parameters=[*positional, *others, *fields[len(positional) :]]), [o.name for o in others]

    def _docs(self) -> str:
        """The lines that document the fields, those of the base class first."""
        classes = [each for each in reversed(inspect.getmro(self._class)) if issubclass(each, Problem)]
        texts = [inspect.cleandoc(each.__doc__ or "") for each in classes]
        return "\n".join(text.partition("Attributes:\n")[2] for text in texts)
