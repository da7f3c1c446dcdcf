"""Any explaining function, the user's or another library's, as an algorithm."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from xbench.algorithms.base import Facts
from xbench.algorithms.external.base import ExternalAlgorithm
from xbench.algorithms.external.functions import as_tuples, find, passed
from xbench.core.question import Question


@dataclass(frozen=True)
class External(ExternalAlgorithm):
    """`function(model, inputs, target=..., baselines=..., extra=..., features=..., seed=..., **kwargs)` -> maps.

    Only the arguments that the function names are passed, so `f(model, inputs, target)` is enough; a third positional
    parameter without a default is the target, under any name. `inputs`, `baselines` and `features` are a tensor, or a
    tuple if the inputs are a tuple; `Question` defines them. The maps are tensors or arrays with the shapes of the
    inputs. At a layer `model` is a module that takes the points there. A function that changes the number of rows must
    call `model(inputs, *extra)`.

    A stored result is recomputed when the function's source changes, see docs/keys.md. Rows are counted at the model
    (`ExternalAlgorithm`).

    Args:
        function: the function, or its place "package.module:name"; modules are also searched in the working directory.
        kwargs: further arguments of the function.
        local: whether the maps are slopes, like a gradient, not shares of f(x) - f(baseline).
        stochastic: whether the maps depend on the seed; None: unknown.
        distribution: whether `baselines` may be a distribution to average over, (R, ...); if every sample has its own,
            at a layer that depends on its sample's arguments, the function is called sample by sample.
        label: the name in tables; by default the function's name.
        citation: the source.
    """

    function: str | Callable[..., object]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    local: bool = False
    stochastic: bool | None = None
    distribution: bool = False
    label: str | None = None
    citation: str | None = None

    def __post_init__(self) -> None:
        positions, names = passed(self._called, self.kwargs)
        try:
            inspect.signature(self._called).bind(*range(positions), **dict.fromkeys({*names, *self.kwargs}))
        except TypeError as error:
            raise ValueError(f"{self._name} cannot be called as f(model, inputs, target, ...): {error}") from None
        except ValueError:  # a builtin without a signature
            pass

    @cached_property
    def _called(self) -> Callable[..., object]:
        found = find(self.function) if isinstance(self.function, str) else self.function
        if not callable(found) or inspect.isclass(found):
            raise TypeError(f"function: expected a function f(model, inputs, target), got {found!r}")
        return found

    @property
    def _name(self) -> str:
        inner = self._called.func if isinstance(self._called, partial) else self._called
        return getattr(inner, "__name__", type(inner).__name__)

    @staticmethod
    def computed_by(node: Mapping[str, Any]) -> tuple[object, ...]:
        """The function that a config names, and the module that names it, see `xbench.config.nodes.source`."""
        named = node["function"]
        return (named.partition(":")[0], find(named)) if isinstance(named, str) else ()

    @property
    def facts(self) -> Facts:
        module = getattr(self._called, "__module__", "?")
        where = self.function if isinstance(self.function, str) else f"{module}:{self._name}"
        _, names = passed(self._called, self.kwargs)
        return Facts(
            self.label or self._name,
            self.citation or f"the function {where}",
            local=self.local,
            stochastic=self.stochastic,
            distribution=self.distribution or "baselines" not in names,  # without "baselines" it uses its own
            whole=True,
        )

    def explain(self, question: Question) -> object:
        alone = question.apart and "baselines" in passed(self._called, self.kwargs)[1]
        return question.one_by_one(self._explain) if alone else self._explain(question)

    def _explain(self, question: Question) -> object:
        positions, names = passed(self._called, self.kwargs)
        offered = {
            "target": question.target,
            "baselines": question.own_form(question.baselines),
            "extra": question.extra,
            "features": question.own_form(question.features),
            "seed": question.seed,
        }
        given = (question.model, question.own_form(question.inputs), question.target)[:positions]
        return self._called(*given, **{name: offered[name] for name in names}, **as_tuples(self.kwargs))
