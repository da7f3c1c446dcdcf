"""Bytes: what a block takes, what a budget means, and that long computations take no more than short ones."""

import os
import platform
import subprocess
import sys

import psutil
import pytest
import torch
from torch import nn

from tests.models_for_tests import mlp, numbers, weights
from xbench import Speed, attribute
from xbench.algorithms import GradCam, GradientShap, HiResCam, IntegratedGradients, KernelShap, NoiseTunnel, Saliency
from xbench.engine.memory import LiveBytes, PeakMemory, is_out_of_memory, parse_bytes
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request

CPU = torch.device("cpu")
KB = 1000


def taken(kilobytes: int) -> torch.Tensor:
    return torch.zeros(kilobytes * KB, dtype=torch.uint8)


def test_tensors_alive_together_add_up():
    with PeakMemory(CPU) as peak:
        one = taken(10)
        two = taken(30)
        del one, two
    assert peak.bytes == 40 * KB


def test_tensors_that_follow_one_another_do_not():
    with PeakMemory(CPU) as peak:
        for size in (10, 30, 20):
            tensor = taken(size)
            del tensor
    assert peak.bytes == 30 * KB


def test_a_new_tensor_meets_the_old_one_of_its_name():
    with PeakMemory(CPU) as peak:
        tensor = taken(10)
        tensor = taken(30)
    assert peak.bytes == 40 * KB
    assert len(tensor) == 30 * KB


def test_views_and_writes_in_place_take_nothing():
    with PeakMemory(CPU) as peak:
        tensor = taken(10)
        view = tensor.reshape(100, 100)[3:7].t()
        tensor.add_(1)
    assert peak.bytes == 10 * KB
    assert view.shape == (100, 4)


def test_what_was_there_before_is_not_counted():
    before = taken(50)
    with PeakMemory(CPU) as peak:
        after = before + 1
        del before
    assert peak.bytes == 50 * KB
    assert len(after) == 50 * KB


def test_a_graph_keeps_what_it_saved_until_it_is_gone():
    x = torch.zeros(1000, dtype=torch.float64, requires_grad=True)
    with LiveBytes() as live:
        y = x.exp().exp()  # two results of 8000 bytes; the first lives in the graph
        assert live.alive == 16 * KB
        del y
        assert live.alive == 0
    assert live.peak == 16 * KB


def test_the_backward_pass_counts():
    x = torch.zeros(1000, dtype=torch.float64, requires_grad=True)
    with PeakMemory(CPU) as peak:
        y = (x * 2).sum()
        forward = peak._live.peak  # type: ignore[union-attr]
        torch.autograd.grad(y, x)
    assert forward == 8 * KB + 8
    assert peak.bytes > forward


def test_blocks_may_be_nested():
    with PeakMemory(CPU) as outer:
        kept = taken(10)
        with PeakMemory(CPU) as inner:
            more = taken(5)
            del more
        last = taken(20)
    assert inner.bytes == 5 * KB
    assert outer.bytes == 30 * KB
    assert len(kept) + len(last) == 30 * KB


def test_a_block_ends_with_an_error():
    peak = PeakMemory(CPU)

    def fail() -> None:
        with peak:
            taken(10)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert peak.bytes == 10 * KB
    assert torch._C._len_torch_dispatch_stack() == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1234, 1234),
        ("1234", 1234),
        ("5 b", 5),
        ("2KB", 2000),
        ("2KiB", 2048),
        ("1.5 MiB", 1_572_864),
        ("3MB", 3_000_000),
        ("2GiB", 2**31),
        ("0.5gb", 500_000_000),
    ],
)
def test_budgets(text, size):
    assert parse_bytes(text, CPU) == size


@pytest.mark.parametrize("text", ["much", "2 GiBs", "-3", "0", 0, -1, "1e9", "", "nan", "2 2GB"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError, match="memory: expected a positive number of bytes, a text such as '2GiB'"):
        parse_bytes(text, CPU)


@pytest.mark.parametrize("auto", [None, "auto"])
def test_half_of_what_is_free_is_the_budget_of_choice(auto, monkeypatch):
    class Free:
        available = 10**9

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    assert parse_bytes(auto, CPU) == 5 * 10**8


def test_memory_errors_are_told_from_others():
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


# Long computations


def peak_of(method: object, **options: object) -> int:
    """Peak bytes of the whole call, the samples' map included."""
    model, x = mlp(40, 16, 3), numbers(2, 40)
    attribute(model, x, Saliency(), target=1)  # first calls of a process make things that stay
    always = Speed(rewrites="always")  # a copy of the model counts in short and long calls alike
    with LiveBytes() as live:
        attribute(model, x, method, target=1, rows=16, speed=always, **options)  # type: ignore[arg-type]
    return live.peak


@pytest.mark.slow
@pytest.mark.parametrize("layer", [None, "0"])
def test_integrated_gradients_of_5000_steps_take_no_more_than_50(layer):
    few, many = peak_of(IntegratedGradients(50), layer=layer), peak_of(IntegratedGradients(5000), layer=layer)
    assert abs(many - few) <= 0.1 * few


@pytest.mark.slow
@pytest.mark.parametrize(
    ("few", "many"),
    [
        (GradientShap(30, 0.1), GradientShap(600, 0.1)),
        (NoiseTunnel(Saliency(), "vargrad", 30), NoiseTunnel(Saliency(), "vargrad", 600)),
        (NoiseTunnel(IntegratedGradients(30), nt_samples=2), NoiseTunnel(IntegratedGradients(30), nt_samples=20)),
    ],
    ids=["gradient_shap", "vargrad", "smoothgrad of ig"],
)
def test_sampling_more_takes_no_more(few, many):
    assert abs(peak_of(many) - peak_of(few)) <= 0.1 * peak_of(few)


def test_kernel_shap_keeps_its_coalitions_but_not_the_samples_made_from_them():
    """Ten groups of forty numbers: a thousand more coalitions of two samples are 160 kB as numbers, 6.4 MB applied."""
    model, x = mlp(400, 16, 3), numbers(2, 400)
    groups = torch.arange(400).unsqueeze(0) // 40

    def peak(n_samples: int) -> int:
        with LiveBytes() as live:
            attribute(model, x, KernelShap(n_samples), target=1, rows=16, features=groups)
        return live.peak

    peak(50)  # first calls of a process make things that stay
    assert 160 * KB < peak(1100) - peak(100) < 1000 * KB


def test_a_budget_is_kept():
    model, x = mlp(400, 16, 3), numbers(64, 400)
    budget = 100 * KB
    explainer = Explainer(Request(model, x, target=1, memory=budget))
    explainer.attribute(IntegratedGradients(20))
    first = explainer.engine.counters.peak_bytes
    explainer.restart()
    explainer.attribute(IntegratedGradients(20))
    assert explainer.engine.counters.peak_bytes <= budget < first * 10


@pytest.mark.parametrize("method", [GradCam("0"), HiResCam("0")], ids=["gradcam", "hirescam"])
def test_a_budget_is_kept_where_far_more_is_read_than_enters(method):
    """Each of a hundred samples is 200 bytes, and 160 kB at the layer that is read."""
    model = weights(nn.Sequential(nn.Conv2d(1, 800, 1), nn.ReLU(), nn.Flatten(), nn.Linear(20_000, 1)))
    with LiveBytes() as live:
        attribute(model, numbers(100, 1, 5, 5), method, memory="4MB")
    assert live.peak < 4_000_000


def faults(keep_memory: bool = True, **environment: str) -> int:
    """Pages that a fresh process takes from the system for the same 64 MiB, ten times, after one call."""
    code = f"""
import resource, torch, xbench
from xbench.algorithms import Saliency
speed = xbench.Speed(keep_memory={keep_memory})
xbench.attribute(torch.nn.Linear(2, 2), torch.ones(1, 2), Saliency(), target=0, speed=speed)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_freed_memory_serves_the_next_tensors_on_request_unless_the_environment_decides():
    kept = 3 * faults()
    assert kept < faults(GLIBC_TUNABLES="")
    assert kept < faults(keep_memory=False)
