"""Localisation against loops over cells, on mosaics, and on planted evidence."""

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from tests.metrics.toys import maps_of, score
from tests.models_for_tests import numbers
from xbench.core.needs import NotApplicable
from xbench.core.truth import Truth
from xbench.datasets.shapes import Shapes
from xbench.metrics import (
    AttributionLocalisation,
    Focus,
    GridPointingGame,
    LocalisationAUC,
    LocalisationIoU,
    Metric,
    PointingGame,
)

N, SIDE = 6, 8


def of(metric: Metric, maps: Tensor, masks: Tensor, **setting: object) -> list[float]:
    """The score of each of the maps, (n, C, H, W), which are the samples too."""
    given = maps_of(maps.flatten(1), local=False)
    return score(nn.Flatten(), maps, metric, given, target=0, masks=masks, **setting)[metric.main].tolist()


@pytest.fixture
def masks() -> Tensor:
    return numbers(N, 1, SIDE, SIDE, seed=4) > 0.8


def test_attribution_localisation_is_that_of_the_loop(masks: Tensor) -> None:
    maps = numbers(N, 3, SIDE, SIDE)
    for row, found in enumerate(of(AttributionLocalisation(), maps, masks)):
        inside = total = size = 0.0
        for i in range(SIDE):
            for j in range(SIDE):
                relevance = max(0.0, float(maps[row, :, i, j].sum()))
                total += relevance
                inside += relevance * bool(masks[row, 0, i, j])
                size += bool(masks[row, 0, i, j])
        assert found == pytest.approx((inside / total) * (SIDE * SIDE / size))
    flat = torch.ones(N, 3, SIDE, SIDE)
    assert of(AttributionLocalisation(), flat, masks) == pytest.approx([1.0] * N)
    assert all(value != value for value in of(AttributionLocalisation(), -flat, masks))


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7])
def test_iou_is_that_of_the_loop(masks: Tensor, threshold: float) -> None:
    maps = numbers(N, 1, SIDE, SIDE)
    for row, found in enumerate(of(LocalisationIoU(threshold=threshold), maps, masks)):
        cells = {(i, j): float(maps[row, 0, i, j]) for i in range(SIDE) for j in range(SIDE)}
        taken = {place for place, value in cells.items() if value > threshold * max(cells.values())}
        marked = {place for place in cells if masks[row, 0][place]}
        assert found == pytest.approx(len(taken & marked) / len(taken | marked))
    assert of(LocalisationIoU(), masks.double(), masks) == [1.0] * N
    area = masks.flatten(1).double().mean(1).tolist()
    assert of(LocalisationIoU(), torch.ones(N, 1, SIDE, SIDE), masks) == pytest.approx(area)
    assert all(value != value for value in of(LocalisationIoU(), torch.zeros(N, 1, SIDE, SIDE), masks))


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_the_pointing_game_hits_within_the_tolerance(tolerance: int) -> None:
    maps, masks = numbers(40, 1, SIDE, SIDE), numbers(40, 1, SIDE, SIDE, seed=4) > 1.8
    masks[:, 0, 3, 3] = True
    found = of(PointingGame(tolerance=tolerance), maps, masks)
    for row in range(40):
        place = int(maps[row].argmax())
        near = range(-tolerance, tolerance + 1)
        around = [(place // SIDE + i, place % SIDE + j) for i in near for j in near]
        hit = any(0 <= i < SIDE and 0 <= j < SIDE and bool(masks[row, 0, i, j]) for i, j in around)
        assert found[row] == hit
    assert 0 < sum(found) < 40


def test_focus_is_the_share_in_the_cells_of_the_class() -> None:
    """Two of the four cells show the class, as in the paper."""
    maps, masks = numbers(2, 3, SIDE, SIDE), torch.zeros(2, 1, SIDE, SIDE, dtype=torch.bool)
    masks[0, 0, :4, :4] = masks[0, 0, 4:, 4:] = True
    masks[1, 0, :4, 4:] = True
    for row, found in enumerate(of(Focus(), maps, masks)):
        positive = maps[row].sum(0).clamp(min=0)
        quadrants = [float(part.sum()) for half in positive.split(4) for part in half.split(4, dim=1)]
        own = quadrants[0] + quadrants[3] if row == 0 else quadrants[1]
        assert found == pytest.approx(own / sum(quadrants))
    assert of(Focus(), torch.ones(2, 3, SIDE, SIDE), masks) == pytest.approx([0.5, 0.25])


def test_focus_is_for_mosaics() -> None:
    mosaics = Shapes(side=16, grid=2, n=5, train=5).load().test
    images = mosaics.inputs
    assert of(Focus(), images, mosaics.masks) == of(GridPointingGame(), images, mosaics.masks)
    truth = mosaics.masks.double() - 0.25
    assert of(Focus(), truth, mosaics.masks) == [1.0] * 5
    assert of(Focus(), -truth, mosaics.masks) == [0.0] * 5
    single = Shapes(side=16, n=5, train=5).load().test
    everything = torch.ones(5, 1, 32, 32, dtype=torch.bool)
    for inputs, masks in ((single.inputs, single.masks), (images, everything), (images, ~everything)):
        with pytest.raises(NotApplicable, match="needs mosaics: the masks are not whole cells of a grid"):
            of(Focus(), inputs, masks)
    with pytest.raises(NotApplicable, match="needs mosaics"):
        of(Focus(), numbers(2, 6), torch.tensor([[True, True, True, False, False, False]] * 2))
    with pytest.raises(NotApplicable, match="needs masks of where the evidence lies"):
        score(nn.Flatten(), images, Focus(), maps_of(images.flatten(1), local=False), target=0)


@pytest.mark.parametrize(
    "metric", [AttributionLocalisation(), LocalisationIoU(), PointingGame(), PointingGame(tolerance=1)], ids=repr
)
def test_the_true_map_beats_its_inverse(metric: Metric) -> None:
    split = Shapes(side=16, n=8, train=5).load().test
    truth = split.masks.double().expand(-1, 3, -1, -1) - 0.25
    right, wrong = of(metric, truth, split.masks), of(metric, -truth, split.masks)
    assert all(a > b for a, b in zip(right, wrong, strict=True))


def test_auroc_and_average_precision_are_those_of_scikit_learn_with_ties_and_cells_outside() -> None:
    """Cells beyond a text's last word are no cells of it, and values of few levels tie."""
    inside = torch.arange(SIDE).expand(N, SIDE) < torch.tensor([8, 7, 6, 5, 4, 3])[:, None]
    evidence = numbers(N, SIDE, seed=4) > 0
    evidence[:, 0], evidence[:, 1] = True, False
    relevance = numbers(N, SIDE).mul(2).round()
    truth = Truth(torch.arange(SIDE), evidence, inside, ((SIDE,),))
    found = LocalisationAUC().compare(truth, relevance)
    for row in range(N):
        labels, values = evidence[row][inside[row]], relevance[row][inside[row]]
        assert found["localisation_auroc"][row] == pytest.approx(roc_auc_score(labels, values))
        assert found["localisation_ap"][row] == pytest.approx(average_precision_score(labels, values))
