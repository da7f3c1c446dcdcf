"""Nodes and weights of a path, against numpy and by hand."""

import numpy as np
import pytest

from tests.algorithms.formulas import RULES
from xbench import algorithms as a
from xbench.algorithms.parts.quadrature import quadrature

# Quadrature and path integrals


@pytest.mark.parametrize("n_steps", [2, 3, 50, 500])
@pytest.mark.parametrize("method", RULES)
def test_weights_sum_to_one(method, n_steps):
    nodes, weights = quadrature(method, n_steps)
    assert len(nodes) == len(weights) == n_steps
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert sorted(nodes) == nodes


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
def test_gauss_legendre_is_numpys(n_steps):
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    assert np.allclose(quadrature("gausslegendre", n_steps), [(nodes + 1) / 2, weights / 2], rtol=0, atol=1e-14)


def test_gauss_legendre_of_many_nodes_integrates_a_high_power():
    nodes, weights = quadrature("gausslegendre", 5000)
    assert np.dot(weights, np.power(nodes, 999)) == pytest.approx(1 / 1000, rel=1e-10)


@pytest.mark.parametrize(
    ("method", "places"),
    [
        ("riemann_left", [0, 0.25, 0.5, 0.75]),
        ("riemann_middle", [0.125, 0.375, 0.625, 0.875]),
        ("riemann_right", [0.25, 0.5, 0.75, 1]),
    ],
)
def test_riemann_nodes(method, places):
    assert quadrature(method, 4) == (places, [0.25] * 4)


def test_trapezoid_nodes_and_weights():
    nodes, weights = quadrature("riemann_trapezoid", 5)
    assert nodes == [0, 0.25, 0.5, 0.75, 1]
    assert weights == [0.125, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(
    ("method", "n_steps", "message"),
    [
        ("simpson", 5, "method: expected one of gausslegendre, riemann_left, .* got 'simpson'"),
        ("gausslegendre", 0, "n_steps: expected at least 1 for gausslegendre, got 0"),
        ("riemann_trapezoid", 1, "n_steps: expected at least 2 for riemann_trapezoid, got 1"),
    ],
)
def test_impossible_rules_are_refused(method, n_steps, message):
    with pytest.raises(ValueError, match=message):
        a.IntegratedGradients(n_steps, method)
