"""Any function that explains, yours or another library's, in the same table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from xbench.algorithms.base import Facts
from xbench.algorithms.parts.elsewhere import ExternalAlgorithm
from xbench.algorithms.parts.functions import as_tuples, find, passed
from xbench.core.question import Question


@dataclass(frozen=True)
class External(ExternalAlgorithm):
    """`function(model, inputs, target=..., baselines=..., extra=..., features=..., seed=..., **kwargs)` -> maps.

    Only the arguments that the function names are passed, so `f(model, inputs, target)` is enough; a third positional
    parameter without a default is the target whatever it is called. `inputs`, `baselines` and `features` are a
    tensor, or a tuple where the inputs are one; see `Question` for what they mean. The maps have the shapes of the
    inputs: tensors or arrays. At a layer `model` is a module that takes the points there; with `extra` it is called
    as `model(inputs, *extra)`, which a function must do that changes the number of rows.

    A stored result is recomputed when the function's source changes, see docs/keys.md. Rows are those seen at the model
    (`ExternalAlgorithm`).

    Args:
        function: the function, or where it is: "package.module:name"; modules are also looked for in the working
            directory.
        kwargs: further arguments of the function.
        local: the maps are slopes, like a gradient, not shares of f(x) - f(baseline).
        stochastic: depends on the seed; None: not known.
        distribution: `baselines` may be a distribution to average over, (R, ...); where every sample has its own, at a
            layer that sees arguments of its sample, the function is asked sample by sample.
        label: the name in tables; the function's own by default.
        citation: where it is from.
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
        except ValueError:  # a builtin that does not tell its parameters
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
            distribution=self.distribution or "baselines" not in names,  # then it has its own, whatever is given
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
