"""A user's algorithm, metric and model that do what none should, for tests that run the command on them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from tests.lab import Net
from xbench.algorithms.base import Algorithm, Facts
from xbench.core.case import Case
from xbench.core.needs import NotApplicable
from xbench.core.plan import Answer, Plan, Want
from xbench.metrics.base import Column, Metric, MetricFacts
from xbench.metrics.maps import Maps
from xbench.run.messages import Answered


class Bare(BaseException):
    """No Exception."""


class Mute(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no words")


def _forever(depth: int) -> int:
    return _forever(depth + 1)


def _fork() -> None:
    """A process forked by hand, whose child leaves as scripts do."""
    child = os.fork()
    if child == 0:
        sys.exit(0)
    assert os.waitpid(child, 0)[0] == child
    raise RuntimeError("the child is gone")


def _ctrl_c() -> None:
    """A real Ctrl-C, which comes while the part computes."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)


def _swallowed() -> None:
    with contextlib.suppress(BaseException):
        _ctrl_c()


def _raise(error: BaseException) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


RAISED: dict[str, tuple[Callable[[], object], str]] = {  # name -> what happens, what the row says
    "exit": (lambda: sys.exit(3), "SystemExit: 3"),
    "interrupt": (_raise(KeyboardInterrupt()), "KeyboardInterrupt"),
    "generator": (_raise(GeneratorExit()), "GeneratorExit"),
    "bare": (_raise(Bare("not even an Exception")), "Bare: not even an Exception"),
    "mute": (_raise(Mute()), "Mute: it cannot say what: its __str__ raises"),
    "surrogate": (_raise(ValueError("a \ud800 b")), "ValueError: a \\ud800 b"),
    "recursion": (lambda: _forever(0), "RecursionError: maximum recursion depth"),
    "fork": (_fork, "RuntimeError: the child is gone"),
}


def _die_elsewhere() -> None:
    if "ELSEWHERE" in os.environ:
        Path("killed elsewhere").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _other_command() -> None:
    """Another command on the same store, which dies of `_die_elsewhere`, while this one computes."""
    if "ELSEWHERE" not in os.environ and not Path("killed elsewhere").exists():
        environment = os.environ | {"ELSEWHERE": "yes", "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-m", "xbench", *json.loads(os.environ["OTHER"])]
        subprocess.run(command, env=environment, check=False, timeout=120)


def _stop_in_mid_send() -> None:
    """The next word to the process that gives out the work is sent by half."""

    def half(self: Connection, data: bytes, write: object = None) -> None:
        os.write(self.fileno(), bytes(data)[: max(1, len(data) // 2)])
        os.kill(os.getpid(), signal.SIGSTOP)

    Connection._send = half  # type: ignore[attr-defined]


def _say_twice() -> None:
    """Every answer is given twice from now on."""
    send = Connection.send

    def twice(self: Connection, word: object) -> None:
        for _ in range(2 if isinstance(word, Answered) else 1):
            send(self, word)

    Connection.send = twice  # type: ignore[method-assign]


def _hang_up() -> None:
    """The terminal is closed."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGHUP)


def _fill_disk() -> None:
    """No file takes a byte any more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


SIGNALS = {"ctrl-c": _ctrl_c, "swallowed": _swallowed}
WORDS = {"stops in mid-send": _stop_in_mid_send, "says all twice": _say_twice}
ENDS = {"hang up": _hang_up, "full disk": _fill_disk}
COMMANDS = {"dies elsewhere": _die_elsewhere, "other command": _other_command}


def act(fault: str) -> None:
    if fault in RAISED:
        RAISED[fault][0]()
    else:
        (SIGNALS | ENDS | WORDS | COMMANDS).get(fault, lambda: None)()


class FaultyNet(Net):
    """`tests.lab.Net`, whose fault comes where a sample is nothing but baseline."""

    def forward(self, x: Tensor) -> Tensor:
        if (x.detach().flatten(1).numpy().max(1) == 0).any():
            act(self.fault)
        return super().forward(x)


class UnmadeNet(Net):
    """A network whose fault comes while it is made."""

    def __init__(self, fault: str = "none") -> None:
        super().__init__()
        act(fault)


@dataclass(frozen=True)
class FaultyMethod(Algorithm):
    """The gradient, or not."""

    fault: str = "none"

    @property
    def facts(self) -> Facts:
        return Facts("Faulty", "a test")

    def plan(self, case: Case, x: Tensor) -> Plan:
        def reduce(answers: object) -> Tensor:
            (answer,) = answers  # type: ignore[misc]
            return self._spoilt(answer)

        return Plan([x], 1, Want.GRADIENT, reduce)

    def _spoilt(self, answer: Answer) -> Tensor:
        act(self.fault)
        if self.fault == "not applicable":
            raise NotApplicable("needs more light than these samples have")
        return MAPS[self.fault][0](answer.slope) if self.fault in MAPS else answer.slope  # type: ignore[return-value]


MAPS: dict[str, tuple[Callable[[Tensor], object], str]] = {  # name -> the map, what the row says
    "narrow": (lambda slope: slope[:, 1:], "(4, 35)"),
    "one row": (lambda slope: slope[:1], "(1, 36)"),
    "a row more": (lambda slope: torch.cat([slope, slope[:1]]), "(5, 36)"),
    "flat": (lambda slope: slope.sum(1), "(4,)"),
    "deep": (lambda slope: slope[None].expand(4, -1, -1), "(4, 4, 36)"),
    "an array": (lambda slope: slope.numpy(), "must be a tensor, got ndarray"),
    "nothing": (lambda slope: None, "must be a tensor, got NoneType"),
    "complex": (lambda slope: slope + 1j, "torch.complex64"),
    "infinite": (lambda slope: slope / 0, "NaN or infinity"),
}


@dataclass(frozen=True)
class FaultyMetric(Metric):
    """The size of a map, or not."""

    fault: str = "none"

    @property
    def facts(self) -> MetricFacts:
        facts = MetricFacts("Faulty", "a test", {"size": Column("lower")})
        return replace(facts, label=facts) if self.fault == "label" else facts  # type: ignore[arg-type]

    def describe(self, case: Case) -> str:
        return object() if self.fault == "describe" else ""  # type: ignore[return-value]

    def score(self, case: Case, x: Tensor, maps: Maps, *found: Tensor) -> dict[str, Tensor]:
        act(self.fault)
        if self.fault == "not applicable":
            raise NotApplicable("needs maps of another kind")
        size = maps.values.abs().sum(1)
        return SCORES[self.fault][0](size) if self.fault in SCORES else {"size": size}  # type: ignore[return-value]


SCORES: dict[str, tuple[Callable[[Tensor], object], str]] = {  # name -> the scores, what the row says
    "infinite": (lambda size: {"size": size / 0}, "size is infinite for 4 of 4 samples"),
    "few": (lambda size: {"size": size[:1]}, "(1,)"),
    "many": (lambda size: {"size": torch.cat([size, size])}, "(8,)"),
    "square": (lambda size: {"size": size[:, None].repeat(1, 2)}, "(4, 2)"),
    "scalar": (lambda size: {"size": size.sum()}, "got () of torch.float32"),
    "further": (lambda size: {"size": size, "weight": size}, "['size', 'weight']"),
    "lacking": (lambda size: {}, "got []"),
    "another": (lambda size: {"weight": size}, "got ['weight']"),
    "a tensor": (lambda size: size, "got Tensor"),
    "a number": (lambda size: {"size": 1.0}, "got float"),
    "complex": (lambda size: {"size": size + 1j}, "torch.complex64"),
    "nothing": (lambda size: None, "got NoneType"),
}
