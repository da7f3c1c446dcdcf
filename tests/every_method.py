"""Every kind of method with few evaluations, for tests of the calls."""

import pytest

from xbench import algorithms as a

N = 4
GRADIENT = [a.Saliency(), a.InputXGradient(), a.IntegratedGradients(4), a.GradientShap(3), a.DeepLift()]
PERTURBATION = [a.Occlusion(), a.FeatureAblation(), a.KernelShap(12)]
EVERY = [*GRADIENT, *PERTURBATION, a.NoiseTunnel(a.Saliency()), a.Random(), a.Constant()]


def name(method: a.Algorithm) -> str:
    return type(method).__name__


each = pytest.mark.parametrize("method", EVERY, ids=name)
