"""A function of yours as a data set: every kind of data, what comes of it, and what is said of a wrong result."""

import re

import pytest
import torch
from torch import Tensor

from xbench.config.nodes import instantiate
from xbench.datasets.function import Function
from xbench.models.encoders import encode_tensors

N = 20
LABELS = torch.arange(N) % 2
KINDS = {
    "image": (torch.rand(N, 3, 16, 24), 96),
    "audio": (torch.rand(N, 1, 1280), 32),
    "series": (torch.rand(N, 2, 40), 64),
    "video": (torch.rand(N, 1, 4, 16, 16), 128),
    "tabular": (torch.rand(N, 5), 5),
}


@pytest.mark.parametrize("modality", KINDS)
def test_every_kind_of_tensor(modality: str) -> None:
    values, features = KINDS[modality]
    data = Function(lambda: (values, LABELS), modality).load()
    assert (data.name, data.modality, data.classes) == ("function", modality, ("0", "1"))
    assert (len(data.test), len(data.train())) == (4, 16)
    assert len(data.features.unique()) == features
    assert data.features.shape == (1, *values.shape[1:])
    whole = torch.cat([data.test.inputs, data.train().inputs]).flatten(1)
    assert {tuple(row) for row in whole.tolist()} == {tuple(row) for row in values.flatten(1).tolist()}
    assert data.test.targets.tolist().count(0) == 2  # classes are mixed
    again = Function(lambda: (values.clone(), LABELS.tolist()), modality).load()
    assert again.fingerprint == data.fingerprint
    assert Function(lambda: (values + 1, LABELS), modality).load().fingerprint != data.fingerprint


def test_the_same_bytes_in_another_form_are_another_data_set() -> None:
    values = torch.rand(N, 1, 4, 6)
    forms = [(values, "image"), (values.reshape(N, 1, 6, 4), "image"), (values[:, 0], "series")]
    assert len({Function(lambda v=v: (v, LABELS), kind).load().fingerprint for v, kind in forms}) == 3


def test_texts_with_masks() -> None:
    texts = [f"film {i} is  {'good' if i % 2 else 'bad'}" for i in range(N)]
    masks = [[False, False, False, True]] * N
    data = Function(lambda: (texts, LABELS.tolist(), masks), "text", classes=("bad", "good"), n=6).load()
    assert len(data.test) == 6
    for text, label, mask in zip(data.test.inputs, data.test.targets, data.test.masks, strict=True):
        assert text.split()[-1] == data.classes[label]
        assert mask == (False, False, False, True)


def test_masks_go_with_their_samples_and_a_regression_has_no_classes() -> None:
    values = torch.arange(N * 4).float().reshape(N, 4)
    data = Function(lambda: (values, values.sum(1), values % 2 == 0), "tabular", columns=("a", "b", "c", "d")).load()
    assert data.classes == ()
    torch.testing.assert_close(data.test.targets, data.test.inputs.sum(1))
    assert torch.equal(data.test.masks, data.test.inputs % 2 == 0)


def function(scale: float) -> tuple[Tensor, Tensor]:
    return scale * torch.ones(10, 3) * torch.arange(10)[:, None], torch.arange(10) % 2


def test_the_function_may_have_arguments_in_yaml() -> None:
    made = {"_target_": f"{__name__}.function", "_partial_": True, "scale": 2.0}
    data = instantiate(
        {"_target_": "xbench.datasets.function.Function", "samples": made, "modality": "tabular"}, "dataset"
    )
    assert data.load().value_range == (0.0, 18.0)


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (torch.rand(3, 2), {}, "or a map-style torch.utils.data.Dataset with a length; got Tensor"),
        ((torch.rand(3, 2), torch.zeros(4)), {}, "3 samples need as many targets, got (4,)"),
        ((torch.rand(3, 2, 2), torch.zeros(3).long()), {}, "a float tensor (n, columns), got torch.float32 (3, 2, 2)"),
        ((torch.ones(3, 2).long(), torch.zeros(3).long()), {}, "got torch.int64 (3, 2)"),
        ((torch.tensor([[1.0], [float("nan")]]), torch.tensor([0, 1])), {}, "sample 1 has a value that is no number"),
        ((torch.rand(2, 2), torch.tensor([0, 5])), {"classes": ("a", "b")}, "from 0 to 5, and there are 2 classes"),
        ((torch.rand(2, 2), torch.tensor([0, -1])), {}, "targets go from -1 to 0"),
        ((torch.rand(4, 2), LABELS[:4], torch.ones(4, 3, dtype=torch.bool)), {}, "masks of tensor inputs must be"),
    ],
)  # fmt: skip
def test_a_wrong_result_is_told(made: object, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Function(lambda: made, "tabular", **options).load()


def test_an_empty_text_is_told_and_numbers_are_single_precision() -> None:
    with pytest.raises(ValueError, match="text 1 is empty"):
        Function(lambda: (["a", "  ", "b"], [0, 1, 0]), "text").load()
    values = torch.rand(N, 3, dtype=torch.float64, requires_grad=True)
    data = Function(lambda: (values, LABELS), "tabular").load()
    assert data.test.inputs.dtype == torch.float32
    assert not data.test.inputs.requires_grad


def test_wrong_options_are_told() -> None:
    with pytest.raises(ValueError, match="modality must be one of audio, image, .*got 'graph'"):
        Function(lambda: None, "graph")
    with pytest.raises(TypeError, match="_partial_: true"):
        Function((1, 2), "tabular")


def test_columns_without_names_are_numbered() -> None:
    data = Function(lambda: (KINDS["tabular"][0], LABELS), "tabular").load()
    encoded = encode_tensors(data, data.test)
    assert [cell.split(" = ")[0] for cell in encoded.tokens[0]] == ["x0", "x1", "x2", "x3", "x4"]


class Pairs(torch.utils.data.Dataset):
    """Images by index, as torchvision's data sets give them; `read` counts what was asked for."""

    def __init__(self, values: Tensor, labels: Tensor) -> None:
        self.values, self.labels = values, labels
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        self.read.append(row)
        return self.values[row], int(self.labels[row])


def test_a_torch_data_set_is_read_lazily_and_gives_what_its_tensors_would() -> None:
    values = torch.rand(40, 1, 8, 8)
    pairs = Pairs(values, torch.arange(40) % 2)
    for given in (pairs, lambda: pairs):
        data = Function(given, "image", n=6).load()
        assert len(data.test) == 6
        assert len(data.train()) == 34
        assert data.value_range == (float(values.min()), float(values.max()))
    pairs.read.clear()
    block = data.test.subset([2, 4]).in_memory()
    assert len(pairs.read) == 2
    for sample, target, row in zip(block.inputs, block.targets, pairs.read, strict=True):
        assert torch.equal(sample, values[row])
        assert target == row % 2
    changed = Pairs(values + torch.eye(8), torch.arange(40) % 2)
    assert Function(changed, "image", n=6).load().fingerprint != data.fingerprint


def test_a_torch_data_set_of_texts() -> None:
    class Texts(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, row: int) -> tuple[str, int]:
            return f"film {row}  is fine", row % 2

    data = Function(Texts(), "text").load()
    assert len(data.test) == 2
    assert all(text.endswith("is fine") for text in data.test.inputs)


class Odd(torch.utils.data.Dataset):
    def __init__(self, *items: object) -> None:
        self.items = items

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> object:
        return self.items[row % len(self.items)]


class Random(Odd):
    def __getitem__(self, row: int) -> object:
        return torch.rand(3), row % 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Odd({"x": 1}), r"item 0 must be \(sample, target\), got dict"),
        (
            Odd((torch.ones(3, dtype=torch.uint8), 0)),
            "sample 0 must be a float tensor or a text, got torch.uint8",
        ),
        (Odd((torch.ones(3), 0), (torch.ones(4), 1)), "samples must have one shape; sample 1"),
        (Odd((torch.ones(3), 0), (torch.full((3,), torch.nan), 1)), "sample 1 has a value that is no number"),
        (Random(), "its transforms must not be random"),
        (Odd((torch.ones(3, 3), 0), (torch.ones(3, 3), 1)), r"tabular samples are a float tensor \(n, columns\)"),
    ],
    ids=["dict", "bytes", "shapes", "nan", "random", "dimensions"],
)
def test_what_is_wrong_with_a_torch_data_set_is_said(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Function(given, "tabular").load()


def test_a_sample_that_changes_between_two_reads_is_refused() -> None:
    pairs = Pairs(torch.rand(10, 3), torch.arange(10) % 2)
    data = Function(pairs, "tabular").load()
    pairs.values = pairs.values + 1
    with pytest.raises(ValueError, match="other values for sample"):
        data.test.in_memory()
