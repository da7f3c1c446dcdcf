"""Where relevance lies against where the evidence lies: hand-computed scores, ties, padding, channels."""

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from tests.metrics.toys import bag, linear, maps_of, score
from tests.models_for_tests import numbers
from xbench import measure
from xbench.algorithms import IntegratedGradients, Saliency
from xbench.core.needs import NotApplicable
from xbench.metrics import (
    AttributionLocalisation,
    GridPointingGame,
    LocalisationAUC,
    LocalisationIoU,
    Metric,
    PointingGame,
    Rationale,
    RelevanceMass,
    RelevanceRank,
    TopKIntersection,
)

FLAT = nn.Flatten()
MAP = torch.tensor([[4.0, -6.0, 1.0, 3.0, 0.0, 2.0]])
MASK = torch.tensor([[True, True, False, False, False, True]])


def one(metric: Metric, values: Tensor = MAP, mask: Tensor | None = MASK, **setting: object) -> dict[str, float]:
    columns = score(FLAT, values, metric, maps_of(values.flatten(1), local=False), target=0, masks=mask, **setting)
    return {name: round(float(column[0]), 6) for name, column in columns.items()}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (PointingGame(), {"pointing_game": 1}),
        (PointingGame(sign="absolute"), {"pointing_game": 1}),
        (TopKIntersection(k=2), {"top_k_intersection": 0.5}),
        (TopKIntersection(k=2, sign="absolute"), {"top_k_intersection": 1}),
        (TopKIntersection(k=100), {"top_k_intersection": 0.5}),  # all six cells
        (RelevanceMass(), {"relevance_mass": 0.6}),  # (4 + 2) / (4 + 1 + 3 + 2)
        (RelevanceMass(sign="absolute"), {"relevance_mass": 0.75}),
        (GridPointingGame(), {"grid_pointing_game": 0.6}),
        (AttributionLocalisation(), {"attribution_localisation": 1.2}),  # 0.6 of the relevance on half of the cells
        (LocalisationIoU(threshold=0.4), {"localisation_iou": 0.5}),  # 4, 3, 2 against 4, -6, 2
        (LocalisationIoU(threshold=0.4, sign="absolute"), {"localisation_iou": 0.5}),  # 4, 6, 3
        (RelevanceRank(), {"relevance_rank": 0.666667}),  # 4, 3, 2
        (
            Rationale(share=0.3),  # two cells: 4 and 3
            {
                "rationale_f1": 0.4,
                "rationale_precision": 0.5,
                "rationale_recall": 0.333333,
                "rationale_iou": 0.25,
            },
        ),
    ],
)
def test_scores_are_those_counted_by_hand(metric: Metric, expected: dict[str, float]) -> None:
    assert one(metric) == pytest.approx(expected, abs=1e-6)


def test_areas_are_those_of_scikit_learn() -> None:
    values, mask = numbers(5, 40), numbers(5, 40, seed=3) > 0.5
    got = score(nn.Identity(), values, LocalisationAUC(), maps_of(values, local=False), target=0, masks=mask)
    for row in range(5):
        assert got["localisation_auroc"][row] == pytest.approx(roc_auc_score(mask[row], values[row]))
        assert got["localisation_ap"][row] == pytest.approx(average_precision_score(mask[row], values[row]))


@pytest.mark.parametrize("metric", [PointingGame(), TopKIntersection(k=3), RelevanceRank()])
def test_a_constant_map_scores_the_area_of_the_mask(metric: Metric) -> None:
    flat = torch.ones(1, 6)
    assert one(metric, flat) == {metric.main: 0.5}
    assert one(metric, torch.zeros(1, 6)) == {metric.main: 0.5}


@pytest.mark.parametrize(
    "metric",
    [
        PointingGame(),
        TopKIntersection(),
        RelevanceMass(),
        RelevanceRank(),
        GridPointingGame(),
        AttributionLocalisation(),
        LocalisationIoU(),
        LocalisationAUC(),
        Rationale(),
    ],
)
def test_an_empty_mask_is_undefined_and_no_mask_does_not_apply(metric: Metric) -> None:
    columns = score(
        nn.Identity(), MAP, metric, maps_of(MAP, local=False), target=0, masks=torch.zeros(1, 6, dtype=torch.bool)
    )
    assert all(column.isnan().all() for column in columns.values())
    with pytest.raises(NotApplicable, match="needs masks of where the evidence lies"):
        one(metric, mask=None)


def test_a_mask_of_everything_has_no_area_under_the_curve() -> None:
    everything = one(LocalisationAUC(), mask=torch.ones(1, 6, dtype=torch.bool))
    assert everything["localisation_auroc"] != everything["localisation_auroc"]
    assert everything["localisation_ap"] == 1


def test_channels_that_the_mask_does_not_tell_apart_are_summed() -> None:
    image = torch.tensor([[[[5.0, 1.0]], [[-5.0, 1.0]]]])  # two channels of 1x2 pixels: sums 0 and 2
    mask = torch.tensor([[[[False, True]]]])
    assert one(PointingGame(), image, mask) == {"pointing_game": 1}
    assert one(RelevanceMass(), image, mask) == {"relevance_mass": 1}


def test_words_are_cells_and_padding_is_none() -> None:
    # At an embedding the map has a vector per word; the third position is padding with most of the relevance.
    ids = torch.tensor([[3, 4, 0]])
    model = bag()
    values = torch.tensor([[1.0, 0, 0, 0, 2, 0, 0, 0, 9, 9, 9, 9]])
    columns = score(
        model, ids, RelevanceMass(), maps_of(values, local=False), target=0, layer="embedding",
        features=torch.tensor([[0, 1, -1]]), masks=torch.tensor([[True, False, False]]),
    )  # fmt: skip
    assert columns["relevance_mass"].tolist() == [pytest.approx(1 / 3)]


def test_the_tolerance_widens_the_mask_on_all_sides() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 4, 4] = 1
    mask = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    mask[0, 0, 2, 2] = True
    hits = [one(PointingGame(tolerance=t), image, mask)["pointing_game"] for t in (0, 1, 2)]
    assert hits == [0, 0, 1]
    with pytest.raises(ValueError, match="tolerance: needs masks with height and width"):
        one(PointingGame(tolerance=1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointingGame(sign="both"), "sign: expected one of signed, absolute, positive, got 'both'"),
        (lambda: PointingGame(tolerance=-1), "tolerance"),
        (lambda: TopKIntersection(k=0), "k: expected"),
        (lambda: LocalisationIoU(threshold=1), "threshold: expected a number from 0 on and below 1, got 1"),
        (lambda: Rationale(share=0), "share: expected"),
    ],
)
def test_parameters_are_checked(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_masks_are_checked() -> None:
    with pytest.raises(ValueError, match="masks: expected a row for each of 1 samples, got 2"):
        one(PointingGame(), mask=MASK.repeat(2, 1))
    with pytest.raises(ValueError, match="do not fit samples of shape"):
        one(PointingGame(), mask=MASK[:, :4])


def test_the_notebook_call_takes_masks() -> None:
    x = numbers(4, 1, 6, 6)
    mask = torch.zeros(4, 1, 6, 6, dtype=torch.bool)
    mask[:, :, :2] = True
    model = linear()
    by_name = measure(model, x, "ig", "relevance_rank", target=1, masks=mask)
    given = measure(model, x, IntegratedGradients(), RelevanceRank(), target=1, masks=mask)
    assert torch.equal(by_name, given)
    assert measure(model, x, Saliency(), "pointing_game", target=1, masks=mask).shape == (4,)
