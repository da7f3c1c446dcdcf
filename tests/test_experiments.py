"""The experiments run, on tiny settings, and say what they claim to say."""

import torch

from experiments import estimators_vs_captum as estimators


def test_estimators_are_compared_at_equal_evaluations(capsys, monkeypatch):
    """1024 evaluations fit all coalitions of 10 features: kernel_shap is exact there, and not before."""
    monkeypatch.setattr(estimators, "N", 1)
    rows = estimators.main(["--seeds", "2", "--budgets", "64", "1024"])
    evaluations = {"kernel_shap": [(64, 64), (1024, 1024)], "shapley_sampling": [(56, 61), (1019, 1021)]}
    assert [(row.method, row.evaluations, row.model) for row in rows] == [
        (method, used, model)
        for method in ("kernel_shap", "shapley_sampling")
        for used in evaluations[method]
        for model in ("ReLU network", "interactions", "logistic")
    ]
    for row in rows:
        assert len(row.errors) == 2
        assert row.errors[0] != row.errors[1]  # the seeds
        exact = row.evaluations[0] == 1024
        for ours, captums in row.errors:
            assert (ours < 1e-24) == exact
            assert captums > 1e-6
    lines = capsys.readouterr().out.splitlines()
    assert sum("all models" in line for line in lines) == 2 * 2 + 2  # the last two: Captum's default
    assert sum("(target at most 0.5)" in line for line in lines) == 2


def test_the_median_is_over_seeds_and_models():
    one = estimators.Row("kernel_shap", "logistic", 64, (64, 65), ((1.0, 2.0), (1.0, 4.0), (3.0, 1.0)))
    other = estimators.Row("kernel_shap", "interactions", 64, (64, 65), ((1.0, 8.0), (1.0, 8.0)))
    assert estimators.median([one]) == 0.5
    assert estimators.median([one, other]) == 0.25


def test_the_global_random_state_is_not_touched():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    estimators.compete("shapley_sampling", "logistic", 1, 1)
    assert torch.equal(torch.get_rng_state(), before)
