"""The fixtures of the contract of metrics: every metric of conf/metric by its name, and a small network."""

import pytest
from torch import nn

from tests.metrics.contract import names, parameterised
from tests.metrics.toys import known
from tests.models_for_tests import ConvNet, weights
from xbench.metrics import Metric


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def metric(name: str) -> Metric:
    return parameterised(name)


@pytest.fixture
def model() -> nn.Module:
    return known(weights(ConvNet()))
