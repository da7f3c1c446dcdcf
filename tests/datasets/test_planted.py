"""Functions with known attributions: every method that should reach the closed form does."""

import pytest
import torch
from torch import Tensor

from xbench import attribute
from xbench.config.compose import component
from xbench.datasets.planted import PlantedInteraction, PlantedLinear
from xbench.datasets.record import Dataset
from xbench.models.known import Known

LINEAR = ["ig", "deeplift", "lrp", "shapley_exact", "shapley_sampling", "kernel_shap", "input_x_gradient"]


def _maps(data: Dataset, algorithm: str, n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of the labels, the samples, and the labels."""
    model = Known().load(data)
    x, labels = data.test.inputs[:n].double(), data.test.targets[:n]
    maps = attribute(model.module.double(), x, component("algorithm", algorithm), target=labels)
    return maps, x, labels


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", LINEAR)
def test_on_the_linear_function_attributions_are_weight_times_value(algorithm: str) -> None:
    data = PlantedLinear(columns=9, relevant=2).load()
    maps, x, labels = _maps(data, algorithm)
    truth = data.known().linear.weight.detach().double()[labels] * x
    torch.testing.assert_close(maps, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ig", "deeplift", "shapley_exact"])
def test_on_the_products_each_of_a_pair_has_half(algorithm: str) -> None:
    data = PlantedInteraction(columns=8, pairs=2).load()
    function = data.known()
    maps, x, labels = _maps(data, algorithm)
    left, right, weight = function.left[labels], function.right[labels], function.weight[labels].double()
    half = weight * x.gather(1, left) * x.gather(1, right) / 2
    truth = torch.zeros_like(x).scatter_add_(1, left, half).scatter_add_(1, right, half)
    torch.testing.assert_close(maps, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("source", [PlantedLinear(), PlantedInteraction()])
def test_masks_hold_the_columns_that_decide(source: PlantedLinear | PlantedInteraction) -> None:
    data, again = source.load(), source.load()
    assert data.fingerprint == again.fingerprint
    relevant = source.relevant if isinstance(source, PlantedLinear) else 2 * source.pairs
    assert (data.test.masks.sum(1) == relevant).all()
    model = Known().load(data)
    assert model.accuracy == 1.0
    # Whatever the other columns are, the label's output stays what it is.
    x, labels = data.test.inputs, data.test.targets
    noise = torch.where(data.test.masks, x, torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    outputs = [model.module(values).gather(1, labels[:, None]) for values in (x, noise)]
    torch.testing.assert_close(*outputs)


def test_too_few_columns_and_no_known_function() -> None:
    with pytest.raises(ValueError, match="need at least 9"):
        PlantedLinear(columns=8)
    with pytest.raises(ValueError, match="need at least 8"):
        PlantedInteraction(columns=7)
    with pytest.raises(ValueError, match="nobody knows the function that made the labels of 'digits'"):
        Known().load(component("dataset", "digits").load())
