"""Weights files: what is read, what is refused, and what an unfit one says."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from xbench.models.weights import fit_weights, module_digest, read_weights


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def test_both_formats_are_read(tmp_path: Path) -> None:
    state = nn.Linear(2, 3).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "b.pt")
    for name in ("a.safetensors", "a.pt", "b.pt"):
        found = read_weights(tmp_path / name)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_pickle_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="weights_only"):
        read_weights(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=name):
        read_weights(tmp_path / name)


def test_a_missing_file_and_a_file_of_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        read_weights(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="state dict of named tensors, got list"):
        read_weights(tmp_path / "list.pt")


def test_an_unfit_file_names_keys_and_shapes() -> None:
    state = {"weight": torch.zeros(4, 2), "extra": torch.zeros(1)}
    with pytest.raises(ValueError, match="missing bias; unexpected extra; wrong shape weight") as caught:
        fit_weights(nn.Linear(2, 3), state, "weights file w.pt")
    assert "weights file w.pt does not fit Linear" in str(caught.value)
    assert "(file (4, 2), model (3, 2))" in str(caught.value)


def test_long_lists_are_cut() -> None:
    with pytest.raises(ValueError, match="and 12 more"):
        fit_weights(nn.Linear(2, 3), {f"k{i}": torch.zeros(1) for i in range(20)}, "w")


def test_the_digest_is_of_names_shapes_and_values() -> None:
    layer = nn.Linear(2, 3)
    same = nn.Linear(2, 3)
    same.load_state_dict(layer.state_dict())
    assert module_digest(layer) == module_digest(same)
    with torch.no_grad():
        same.bias[0] += 1
    assert module_digest(layer) != module_digest(same)
    assert module_digest(nn.Sequential(layer)) != module_digest(layer)
