"""The mode of rules that compare each explained input with its reference, in one batch; see `pairs`."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from xbench.rules import operations
from xbench.rules.errors import UnknownOperation
from xbench.rules.hooked import is_passed_on
from xbench.rules.layouts import follow
from xbench.rules.override import Call, Override, Unknown, public_name, refuse_if_used, tensors_in
from xbench.rules.pairs import PairAxis, Pairs

# A rule runs one call, given its tensors that carry gradients, and returns the result.
PairRule = Callable[["Paired", Call, list[Tensor]], object]


class Paired(Override):
    """Runs a table of rules by operation name; linear operations pass, unknown ones are refused where they are used."""

    def __init__(self, title: str, table: Mapping[str, PairRule], eps: float, unknown: Unknown, inputs: int) -> None:
        super().__init__(unknown)
        self.title = title
        self.eps = eps
        self._table = table
        self._pairs = Pairs(inputs)
        # Reciprocals -> the tensors that they invert, as long as they live.
        self.divisors = WeakTensorKeyDictionary()
        # Numbers computed from all rows -> the same for the inputs alone, and for the references alone.
        self._sides = WeakTensorKeyDictionary()
        self._calls: list[str] = []  # the running operation, followed by its steps
        self._refused = WeakTensorKeyDictionary()  # results of a refused operation and their descendants -> its error

    def derives(self, tensor: Tensor) -> bool:
        return tensor in self._pairs

    def explains(self, tensor: Tensor, name: str) -> bool:
        if is_passed_on(tensor) and (tensor in self._pairs or self._pairs.passed_on(tensor)):
            return True
        return super().explains(tensor, name)

    def handle(self, call: Call) -> object:
        explained = [t for t in call.operands() if t.requires_grad or t in self._pairs]
        active = [tensor for tensor in explained if tensor.requires_grad and tensor.numel()]
        # Without gradients, as in the forward of an autograd.Function, there is nothing to change.
        if not active or not torch.is_grad_enabled() or call.name in operations.COMPARISONS:
            result = self.plain(call, explained)
            if isinstance(result, bool) and call.name in operations.DECISIONS:
                self._check_decision(call, explained[0])
            return result
        self._calls.append(call.name)
        try:
            for tensor in explained:
                if not tensor.requires_grad:
                    self._check_same(call, tensor)
            result = self._table.get(call.name, Paired.linear)(self, call, active)
        except UnknownOperation as refusal:
            if len(self._calls) > 1 or call.in_place or call.name in operations.NUMBERS:
                raise
            return self._refuse(call, refusal, explained)
        finally:
            self._calls.pop()
        if call.in_place and isinstance(result, Tensor) and result is not call.args[0]:
            return self._written(call.args[0], result)
        return result

    def linear(self, call: Call, active: list[Tensor]) -> object:
        """Run the operation unchanged; refuse it unless it is linear in all tensors that carry gradients."""
        result = call.run()
        results = list(tensors_in(result))
        if call.name in operations.NUMBERS and not results:
            self.complain(call.name, "it makes a Python number that depends on the input; detach() what is only logged")
        if call.name not in operations.LINEAR and any(tensor.requires_grad for tensor in results):
            self.complain(call.name, "it is not known to be linear, and has no rule")
        return self.finish(call, result, active)

    def _refuse(self, call: Call, refusal: UnknownOperation, explained: Sequence[Tensor]) -> object:
        """Run the plain operation; a gradient that reaches its result raises an error naming the first one refused."""
        result = self.plain(call, explained)
        results = [tensor for tensor in tensors_in(result) if all(tensor is not operand for operand in call.operands())]
        first = next((self._refused[tensor] for tensor in results if tensor in self._refused), None)
        named = first or (public_name(call.name), refusal.reason)
        for tensor in results:
            self._refused[tensor] = named

        def refuse() -> None:
            raise UnknownOperation(*named)

        refuse_if_used(results, refuse)
        return result

    def plain(self, call: Call, explained: Sequence[Tensor]) -> object:
        """Run the operation with its plain gradient."""
        return self.finish(call, call.run(), explained)

    def finish(self, call: Call, result: object, explained: Sequence[Tensor]) -> object:
        """Remember the positions of inputs and references in every result of a call."""
        written = call.in_place and (result is None or result is call.args[0])
        results = [call.args[0]] if written else list(tensors_in(result))
        blocks = follow(call, explained, self._pairs, results)
        name = self._calls[0] if self._calls else call.name
        culprit = next(filter(None, map(self._pairs.lost, explained)), public_name(name))
        refused = next((self._refused[tensor] for tensor in explained if tensor in self._refused), None)
        for tensor, outer in zip(results, blocks, strict=True):
            self._pairs.remember(tensor, culprit if outer is None else outer)
            if refused is not None:
                self._refused[tensor] = refused
            if tensor.ndim == 0 and not call.in_place:
                self._keep_sides(call, explained, tensor)
        return result

    def _keep_sides(self, call: Call, explained: Sequence[Tensor], result: Tensor) -> None:
        """Recompute a number for each side alone, if possible, so that it can be split into sides later."""
        places = {id(tensor): self._pairs.place(tensor) for tensor in explained}
        whole = call.name in operations.OVER_ALL and len(call.args) == 1 and not call.kwargs
        if not all(tensor in self._sides or (whole and places[id(tensor)]) for tensor in explained):
            return

        def side(which: int) -> Callable[[Tensor], Tensor]:
            def change(tensor: Tensor) -> Tensor:
                place = places.get(id(tensor))
                if tensor in self._sides:
                    own: Tensor = self._sides[tensor][which]
                    return own
                return tensor if place is None else place.sides(tensor)[which]

            return change

        with torch.no_grad():
            self._sides[result] = tuple(call.with_arguments(side(which)).run() for which in (0, 1))

    def remember(self, tensor: Tensor, outer: int) -> None:
        """Record the blocks (`PairAxis.outer`) of a tensor that a rule computed itself."""
        self._pairs.remember(tensor, outer)

    def place(self, call: Call, tensor: Tensor) -> PairAxis | None:
        """The positions of the two sides of an operand; the call is refused if they are unknown."""
        place = self._pairs.place(tensor)
        if place is None:
            culprit = self._pairs.lost(tensor)
            cause = (
                f"after {culprit} mixed examples or moved them" if culprit else "its rows are not those of the batch"
            )
            reason = "inputs and references cannot be told apart in an operand of shape"
            self.complain(call.name, f"{reason} {tuple(tensor.shape)}: {cause}")
        return place

    def _written(self, target: Tensor, result: Tensor) -> Tensor:
        target.copy_(result)
        self._pairs.copy(result, target)
        return target

    def _check_decision(self, call: Call, tensor: Tensor) -> None:
        inputs, references = self._sides.get(tensor, (None, None))
        if inputs is None or bool(inputs) != bool(references):
            reason = "the model decides by a value of its input what to compute, and input and reference may go apart"
            self.complain(call.name, reason)

    def _check_same(self, call: Call, tensor: Tensor) -> None:
        place = self._pairs.place(tensor)
        inputs, references = (tensor, None) if place is None else place.sides(tensor)
        if references is None or not bool((inputs == references).all()):
            value = "a value without gradient (a condition, an index, a detached tensor)"
            cause = "depends on the input and differs between input and reference"
            self.complain(call.name, f"it takes {value} that {cause}")
