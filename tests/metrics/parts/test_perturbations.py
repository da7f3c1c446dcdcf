"""Perturbations: what is drawn, how often, and that slicing the samples draws the same."""

import pytest
import torch
from torch import Tensor

from tests.metrics.toys import case_of
from tests.models_for_tests import numbers
from xbench.core.draws import Draws
from xbench.metrics import (
    FeatureRemoval,
    GaussianNoise,
    Infidelity,
    Perturbation,
    SquareRemoval,
    TimeRemoval,
    perturbations,
)

EVERY = [GaussianNoise(), GaussianNoise(0.3, relative=False), SquareRemoval(), FeatureRemoval()]
WORDS = torch.tensor([[-1, 0, 1, 2, -1, -1], [-1, 0, 1, 2, 3, -1]])  # special tokens and padding are -1


def _squares(perturbation: SquareRemoval, shape: tuple[int, ...], count: int) -> list[tuple[int, int, int]]:
    """(side, top, left) of `count` draws, checked to be squares of every channel."""
    case, x = case_of(numbers(1, *shape))
    found = []
    for index in range(count):
        image = perturbation.mask(case, x, index).reshape(-1, *shape[-2:])
        assert (image == image[0]).all()
        filled = image[0].nonzero()
        (top, left), (bottom, right) = filled.amin(0).tolist(), filled.amax(0).tolist()
        side = bottom - top + 1
        assert right - left + 1 == side
        assert len(filled) == side * side
        found.append((side, top, left))
    return found


def test_squares_reach_every_size_and_place_equally_often():
    count = 3000
    found = _squares(SquareRemoval(sizes=(2, 3)), (2, 4, 5), count)
    # Places: 3 x 4 for side 2, 2 x 3 for side 3.
    expected = {
        (side, top, left): count / 2 / ((5 - side) * (6 - side))
        for side in (2, 3)
        for top in range(5 - side)
        for left in range(6 - side)
    }
    assert set(found) == set(expected)
    chi2 = sum((found.count(place) - mean) ** 2 / mean for place, mean in expected.items())
    assert chi2 < 40  # 17 degrees of freedom: 0.999 quantile


@pytest.mark.parametrize(("side", "largest"), [(28, 10), (8, 3), (3, 1), (1, 1), (2, 1)])
def test_squares_go_up_to_a_third_of_the_image(side: int, largest: int):
    sides = {s for s, _, _ in _squares(SquareRemoval(), (1, side, side + 4), 150)}
    assert sides == set(range(1, largest + 1))


@pytest.mark.parametrize("sizes", [(1,), (4,), (2, 4)])
def test_squares_have_the_sizes_asked_for(sizes: tuple[int, ...]):
    assert {s for s, _, _ in _squares(SquareRemoval(sizes), (3, 4, 6), 40)} == set(sizes)


def test_features_are_removed_in_sets_of_uniform_size_and_equally_often():
    ids = tuple(map(str, range(3000)))
    features = torch.tensor([[0, 0, 1, 2, 2, 2, 3, -1]])
    case, x = case_of(numbers(3000, 8), features=features, ids=ids)
    mask = FeatureRemoval().mask(case, x, 0)
    assert not mask[:, 7].any()
    assert torch.equal(mask[:, 0], mask[:, 1])
    assert torch.equal(mask[:, 3:4].expand(-1, 2), mask[:, 4:6])
    removed = mask[:, [0, 2, 3, 6]]
    sizes = removed.sum(1).bincount(minlength=5).tolist()
    assert sizes[0] == 0
    assert all(abs(count - 750) < 4 * (3000 * 0.25 * 0.75) ** 0.5 for count in sizes[1:])
    # A feature is in a set of uniform size 1..4 with probability (1 + 2 + 3 + 4) / 16.
    assert all(abs(count - 1875) < 4 * (3000 * 0.625 * 0.375) ** 0.5 for count in removed.sum(0).tolist())


def test_each_sample_has_its_own_number_of_features():
    case, x = case_of(numbers(2, 6), features=WORDS)
    sizes = [FeatureRemoval().mask(case, x, index).sum(1).tolist() for index in range(200)]
    assert {size for size, _ in sizes} == {1, 2, 3}
    assert {size for _, size in sizes} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "perturbation", [GaussianNoise(), GaussianNoise(2.0, relative=False), FeatureRemoval(), TimeRemoval()]
)
def test_nothing_outside_the_features_is_touched(perturbation: Perturbation):
    case, x = case_of(numbers(2, 6), features=WORDS, baselines=9.0)
    for index in range(20):
        draw = perturbation.draw(case, x, index)
        outside = WORDS < 0
        assert torch.equal(draw.perturbed[outside], x[outside])
        assert not draw.shift[outside].any()
        assert not draw.share[outside].any()


@pytest.mark.parametrize("perturbation", EVERY, ids=repr)
def test_shift_and_share_say_what_happened(perturbation: Perturbation):
    x0 = numbers(4, 1, 6, 6, seed=9)
    case, x = case_of(numbers(4, 1, 6, 6), baselines=x0)
    for index in range(5):
        draw = perturbation.draw(case, x, index)
        torch.testing.assert_close(x - draw.shift, draw.perturbed, rtol=0, atol=1e-15)
        torch.testing.assert_close(draw.share * (x - x0.flatten(1)), draw.shift, rtol=1e-12, atol=1e-15)
        assert draw.shift.any(1).all()


@pytest.mark.parametrize("perturbation", [SquareRemoval(), FeatureRemoval()], ids=repr)
def test_what_is_removed_is_the_baseline_bit_for_bit(perturbation: Perturbation):
    case, x = case_of(numbers(4, 1, 6, 6), baselines=torch.inf)  # x - inf must not leak into what is kept
    perturbed, mask = perturbation.draw(case, x, 0).perturbed, perturbation.mask(case, x, 0)
    assert torch.equal(perturbed[~mask], x[~mask])
    assert (perturbed[mask] == torch.inf).all()


def test_gaussian_noise_has_the_stated_deviation():
    x = numbers(2, 5000)
    x[1] *= 10
    case, flat = case_of(x)
    span = x.amax(1) - x.amin(1)
    relative, absolute = (
        GaussianNoise(0.1).draw(case, flat, 0),
        GaussianNoise(0.5, relative=False).draw(case, flat, 0),
    )
    torch.testing.assert_close(relative.shift.std(1) / span, torch.full((2,), 0.1).double(), rtol=0.05, atol=0)
    torch.testing.assert_close(absolute.shift.std(1), torch.full((2,), 0.5).double(), rtol=0.05, atol=0)
    assert (absolute.shift.mean(1).abs() < 0.03).all()


def test_a_range_is_taken_per_tensor_and_without_padding():
    first, second = torch.tensor([[0.0, 1.0, 50.0]]).double(), torch.tensor([[0.0, 200.0]]).double()
    features = (torch.tensor([[0, 1, -1]]), torch.tensor([[2, 3]]))
    case, x = case_of((first, second), features=features)
    shift = torch.stack([GaussianNoise(0.1).draw(case, x, index).shift[0] for index in range(600)])
    torch.testing.assert_close(shift.std(0), torch.tensor([0.1, 0.1, 0.0, 20.0, 20.0]).double(), rtol=0.15, atol=0)


@pytest.mark.parametrize("perturbation", EVERY, ids=repr)
def test_draws_do_not_depend_on_the_slice(perturbation: Perturbation):
    case, x = case_of(numbers(5, 1, 6, 6), baselines=numbers(5, 1, 6, 6, seed=3), ids=tuple("abcde"))
    whole = perturbation.draw(case, x, 2)
    for rows in (slice(0, 1), slice(1, 4), slice(4, 5)):
        part = perturbation.draw(case.part(rows), x[rows], 2)
        assert torch.equal(part.perturbed, whole.perturbed[rows])
        assert torch.equal(part.shift, whole.shift[rows])
        assert torch.equal(part.share, whole.share[rows])


@pytest.mark.parametrize("perturbation", EVERY, ids=repr)
def test_draws_differ_by_index_sample_and_seed(perturbation: Perturbation):
    same = numbers(1, 1, 6, 6).expand(2, -1, -1, -1)

    def first_eight(seed: int) -> Tensor:
        case, x = case_of(same, seed=seed, ids=("a", "b"))
        return torch.stack([perturbation.draw(case, x, index).shift for index in range(8)])

    one, other = first_eight(0), first_eight(1)
    assert torch.equal(one, first_eight(0))
    assert not torch.equal(one, other)
    assert not torch.equal(one[:, 0], one[:, 1])
    assert not (one == one[0]).all()


def test_labels_name_the_distribution():
    assert [p.label for p in EVERY] == [
        "Gaussian noise, sd 0.2 of the range",
        "Gaussian noise, sd 0.3",
        "removed squares",
        "removed features",
    ]
    assert SquareRemoval((2, 3)).label == "removed squares of side 2, 3"


@pytest.mark.parametrize("stdev", [0.0, -1.0, float("nan")])
def test_a_deviation_that_is_not_positive_is_refused(stdev: float):
    with pytest.raises(ValueError, match=f"stdev: expected a positive number, got {stdev}"):
        GaussianNoise(stdev)


@pytest.mark.parametrize("sizes", [(), (0,), (2, -1), (1.5,)])
def test_sizes_that_are_no_side_lengths_are_refused(sizes: tuple[int, ...]):
    with pytest.raises(ValueError, match="sizes: expected positive"):
        SquareRemoval(sizes)


def test_a_square_larger_than_the_image_is_refused():
    case, x = case_of(numbers(1, 1, 4, 6))
    with pytest.raises(ValueError, match="side 5 is larger than the image 4x6"):
        SquareRemoval((5,)).draw(case, x, 0)


@pytest.mark.parametrize("inputs", [numbers(1, 7), (numbers(1, 1, 4, 4), numbers(1, 1, 4, 4))], ids=["flat", "two"])
def test_squares_need_one_image(inputs: Tensor | tuple[Tensor, ...]):
    case, x = case_of(inputs)
    with pytest.raises(ValueError, match="square removal needs one image-like input"):
        SquareRemoval().draw(case, x, 0)


def test_a_sample_without_features_is_named():
    case, x = case_of(numbers(2, 3), features=torch.tensor([[0, 1, -1], [-1, -1, -1]]), ids=("full", "empty"))
    with pytest.raises(ValueError, match=r"1 sample\(s\) have no features \(empty\)"):
        FeatureRemoval().draw(case, x, 0)


def test_noise_on_token_ids_is_refused():
    # Rounded back to integers it would be other words.
    case, x = case_of(torch.tensor([[4, 7, 2]]))
    with pytest.raises(ValueError, match=r"Gaussian noise cannot be added .* torch.int64; name a layer"):
        GaussianNoise().draw(case, x, 0)


def test_what_is_removed_is_called_what_it_is_in_the_data() -> None:
    case, _ = case_of(torch.rand(2, 4), features_called="words")
    assert FeatureRemoval().describe(case) == "removed words"
    assert SquareRemoval().describe(case) == "removed squares"
    assert Infidelity(perturbation=FeatureRemoval()).describe(case) == "removed words"


@pytest.mark.parametrize(("share", "sizes"), [(0.02, (1, 1)), (0.5, (2, 2)), (1.0, (3, 4))])
def test_a_share_of_the_features_is_removed_and_at_least_one(share: float, sizes: tuple[int, int]):
    case, x = case_of(numbers(2, 6), features=WORDS)
    for index in range(10):
        assert tuple(FeatureRemoval(share).mask(case, x, index).sum(1).tolist()) == sizes


SERIES, CLIP = (2, 8), (1, 8, 2, 2)


@pytest.mark.parametrize(("shape", "axis"), [(SERIES, 1), (CLIP, 1), ((8,), 0)])
def test_one_stretch_of_time_is_removed_in_all_channels(shape: tuple[int, ...], axis: int):
    case, x = case_of(numbers(1, *shape))
    found = []
    for index in range(400):
        mask = TimeRemoval().mask(case, x, index).reshape(shape).movedim(axis, 0).reshape(8, -1)
        assert (mask == mask[:, :1]).all()
        steps = mask[:, 0].nonzero().flatten().tolist()
        assert steps == list(range(steps[0], steps[-1] + 1))
        found.append(len(steps))
    assert set(found) == set(range(1, 9))


def test_a_stretch_of_words_is_removed_and_no_padding():
    words = torch.tensor([[-1, 0, 1, -1, 2, 3, -1]])  # a special token in the middle
    case, x = case_of(numbers(1, 7), features=words, baselines=9.0)
    found = {tuple(TimeRemoval(0.5).mask(case, x, index)[0].nonzero().flatten().tolist()) for index in range(60)}
    assert found == {(1, 2), (2, 4), (4, 5)}


def test_images_have_no_time():
    case, x = case_of(numbers(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"time removal needs one series, .* got shapes \[\(3, 4, 4\)\]"):
        TimeRemoval().mask(case, x, 0)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_lies_between_none_and_all(share: float):
    for kind in (FeatureRemoval, TimeRemoval):
        with pytest.raises(ValueError, match=r"share: expected a number in \(0, 1\] or null"):
            kind(share)


@pytest.mark.parametrize("perturbation", [*EVERY, GaussianNoise(0.1)], ids=repr)
def test_draws_in_a_row_are_the_single_draws(perturbation: Perturbation):
    case, x = case_of(numbers(3, 1, 6, 6), baselines=numbers(3, 1, 6, 6, seed=9))
    drawn = list(perturbation.draws(case, x, 4))
    assert len(drawn) == 4
    for index, draw in enumerate(drawn):
        single = perturbation.draw(case, x, index)
        assert torch.equal(draw.perturbed, single.perturbed)
        assert torch.equal(draw.share, single.share)


def test_noise_is_drawn_once_for_all_algorithms_within_its_memory(monkeypatch: pytest.MonkeyPatch):
    calls = []
    normal = Draws.normal

    def counted(self: Draws, purpose: str, index: int, like: Tensor) -> Tensor:
        calls.append(index)
        return normal(self, purpose, index, like)

    monkeypatch.setattr(Draws, "normal", counted)
    monkeypatch.setattr(perturbations, "_NORMAL", perturbations.NormalDraws(2 * 3 * 36 * 8))  # two draws of float64
    case, x = case_of(numbers(3, 1, 6, 6))
    first = [draw.perturbed for draw in GaussianNoise().draws(case, x, 4)]
    second = [draw.perturbed for draw in GaussianNoise().draws(case, x, 4)]
    assert calls == [0, 1, 2, 3, 2, 3]
    assert all(map(torch.equal, first, second))
    other, _ = case_of(numbers(3, 1, 6, 6), ids=("a", "b", "c"))
    assert not torch.equal(GaussianNoise().draw(other, x, 0).perturbed, first[0])
    assert torch.equal(GaussianNoise().draw(case, x, 0).perturbed, first[0])
