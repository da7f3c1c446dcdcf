"""A contender in a process of its own: it answers requests from a pipe, so that contenders can take turns.

The process pays for imports and for the model once. A request is one JSON line, and so is the answer; a method that
raises answers with its error. Memory is measured in a fork of a process that has run nothing yet: what one method left
behind is no room that the next gets for nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_LONG, _CALLS = 0.25, 15  # seconds, and how many calls that last less make one measurement
ROOT = Path(__file__).resolve().parents[2]


class Contender:
    """The driver's end of the pipe."""

    def __init__(self, name: str, workload: str, threads: int, rewrites: bool = True) -> None:
        """Start `xbench`, `captum` or `bare` on a workload with so many threads of torch."""
        command = [sys.executable, "-m", "experiments.parts.contender", name, workload, str(threads), str(rewrites)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    def ask(self, **request: object) -> dict[str, object]:
        """The answer to one request; a dict with `error` where the method raised."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with code {self.process.wait()} on {request}")
        answer: dict[str, object] = json.loads(line)
        return answer

    def seconds(self, **request: object) -> float:
        """The answer to a request for a time."""
        answer = self.ask(**request)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return float(str(answer["seconds"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _in_a_fork(act: Callable[[], dict[str, object]]) -> dict[str, object]:
    """What `act` answers in a copy of this process, which must not have run a backward pass or threads yet."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(_answered(act), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"error": f"the process ended with status {status}"}


def _answered(act: Callable[[], dict[str, object]]) -> dict[str, object]:
    try:
        return act()
    except Exception as error:  # the driver shows it in the row
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def took(run: Callable[[], object]) -> float:
    """One call's time; for a short one the median of several, after one that wakes threads and caches up."""
    found = []
    while not found or (sum(found) < _LONG and len(found) < _CALLS):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:] or found)


def serve(name: str, workload: str, threads: int, rewrites: bool) -> None:
    """Answer requests until the pipe is closed."""
    import torch

    from experiments.parts import bare, methods, peaks, switches, workloads

    torch.set_num_threads(1)  # a fork inherits no pool of threads
    w = workloads.load(workload)
    table = methods.methods(w)

    def call(request: dict[str, object]) -> Callable[[], torch.Tensor]:
        method = table[str(request["method"])]
        if name == "xbench":
            return methods.ours_call(w, method, switches.rewrites(rewrites))
        chunk = request.get("chunk")
        return methods.captums_call(w, method, None if chunk is None else int(str(chunk)))

    def act(request: dict[str, object]) -> dict[str, object]:
        torch.set_num_threads(threads)
        if request["do"] == "bare":
            seconds, rows = bare.best(w.model, w.x, bool(request["backward"]), int(str(request["most"])))
            return {"seconds": seconds, "rows": rows}
        run = call(request)
        if request["do"] == "peak":
            found = peaks.peak(run)
            return {"resident": found.resident, "tensors": found.tensors}
        if request["do"] == "maps":
            torch.save(run().detach(), str(request["path"]))
            return {}
        return {"seconds": took(run)}

    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        request = json.loads(line)

        def one(request: dict[str, object] = request) -> dict[str, object]:
            return act(request)

        answer = _in_a_fork(one) if request["do"] == "peak" else _answered(one)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "True")
