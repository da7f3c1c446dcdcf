"""Nodes and weights on [0, 1] for path integrals."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

Method = Literal["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]


def check_method(method: str, n_steps: int) -> None:
    """Raise ValueError for an unknown rule or too few steps."""
    if method not in get_args(Method):
        raise ValueError(f"method: expected one of {', '.join(get_args(Method))}, got {method!r}")
    least = 2 if method == "riemann_trapezoid" else 1
    if n_steps < least:
        raise ValueError(f"n_steps: expected at least {least} for {method}, got {n_steps}")


def quadrature(method: str, n_steps: int) -> tuple[list[float], list[float]]:
    """Nodes and weights of the rule; the weights sum to one.

    `riemann_trapezoid` places n nodes on [0, 1] inclusive with weights 1/(n-1), halved at the ends. (Captum 0.9.0
    gives its weights the sum (n-1)/n, so that a linear model loses 1/n of its attribution.)
    """
    if method == "gausslegendre":
        return _gauss_legendre(n_steps)
    if method == "riemann_trapezoid":
        step = 1 / (n_steps - 1)
        ends = [step / 2]
        return list(np.linspace(0, 1, n_steps)), ends + [step] * (n_steps - 2) + ends
    shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[method]
    return [(i + shift) / n_steps for i in range(n_steps)], [1 / n_steps] * n_steps


@lru_cache(maxsize=64)
def _gauss_legendre(n: int) -> tuple[list[float], list[float]]:
    from scipy.special import roots_legendre  # imported here, because it takes a quarter of a second

    # SciPy's function is O(n^2) with O(n) memory; NumPy's needs an n x n matrix: a minute and 200 MB for 5000 nodes.
    nodes, weights = roots_legendre(n)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
