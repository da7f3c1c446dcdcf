"""Every form of indexing passes through the rules, also below torch 2.4, whose modes do not see x[0]."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.rules.deeplift.test_rule import multipliers
from tests.rules.models import uniform
from xbench.rules.indexing import IndexingSeen

FORMS: dict[str, Any] = {
    "integer": 1,
    "negative": -1,
    "slice": slice(1, 3),
    "None": None,
    "ellipsis": ...,
    "tensor": torch.tensor([2, 0]),
    "mask": torch.tensor([True, False, True, False, False]),
    "integers": [2, 0],
    "tuple": (1, slice(0, 2)),
    "tuple with a tensor": (slice(None), torch.tensor([1, 3])),
    "NumPy's integer": torch.tensor(2).numpy()[()],
}


class _Seen(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> object:
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", FORMS)
def test_a_mode_sees_it_and_the_result_is_torchs(form: str) -> None:
    x, y = uniform(5, 4), uniform(5, 4)
    values = -x[FORMS[form]]
    y[FORMS[form]] = values
    with IndexingSeen(), _Seen() as outer, _Seen() as inner:
        found = -x[FORMS[form]]
        x[FORMS[form]] = values
    torch.testing.assert_close(found, values, rtol=0, atol=0)
    torch.testing.assert_close(x, y, rtol=0, atol=0)
    for seen in (outer, inner):
        assert {"__getitem__", "__setitem__"} <= set(seen.names)


@pytest.mark.parametrize("form", ["integer", "slice", "tensor", "integers"])
def test_deeplift_passes_tokens_that_stand_in_front(form: str) -> None:
    def of_tokens(x: Tensor) -> Tensor:
        taken = x.transpose(0, 1)[FORMS[form]]
        written = torch.zeros_like(x).transpose(0, 1)
        written[FORMS[form]] = taken.exp()
        return written.tanh().sum(0)

    x, x0 = uniform(2, 5), uniform(2, 5, seed=1)
    attribution = multipliers(of_tokens, x, x0) * (x - x0)
    torch.testing.assert_close(attribution.sum(1), of_tokens(x) - of_tokens(x0))


def test_torchs_methods_are_back_after_blocks_that_overlap() -> None:
    before, steps = (Tensor.__getitem__, Tensor.__setitem__), Barrier(2, timeout=60)
    names: list[str] = []

    def first() -> None:
        with IndexingSeen():
            steps.wait()
            steps.wait()  # the second block is open
        steps.wait()

    def second() -> None:
        steps.wait()
        with IndexingSeen(), _Seen() as seen:
            steps.wait()
            steps.wait()  # the first block is closed
            uniform(3)[0].neg()
            names.extend(seen.names)

    threads = [Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names[-2:] == ["__getitem__", "neg"]
    assert (Tensor.__getitem__, Tensor.__setitem__) == before
