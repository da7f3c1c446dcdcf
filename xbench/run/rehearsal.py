"""Sends a few samples through the model before anything is written, to report errors common to all cells at once."""

from __future__ import annotations

from typing import cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from xbench.core.case import Case
from xbench.core.plan import Plan, Want
from xbench.datasets.record import Dataset
from xbench.engine import NonFiniteError
from xbench.engine.memory import is_out_of_memory
from xbench.models.record import Model
from xbench.run.prepared import Prepared

_FEW = 2  # number of samples


def try_samples(cfg: DictConfig, dataset: Dataset, model: Model, device: torch.device) -> None:
    """Evaluate the explained scalar at the first samples and, if that fails, at the last ones.

    Raises the first samples' error: model and data that do not match, an absent target or neuron. Damaged samples, lack
    of memory and non-finite outputs are reported by their cells.
    """
    plainly = {"rows": _FEW, "rewrites": False, "compile": None}  # no search for speed here
    cfg = cast(DictConfig, OmegaConf.merge(cfg, {"run": plainly}))
    n = len(dataset.test) if cfg.n is None else min(cfg.n, len(dataset.test))
    said: list[Exception] = []
    for rows in (range(min(_FEW, n)), range(max(0, n - _FEW), n)):
        prepared = Prepared(cfg, dataset, model, device, dataset.test.subset(rows))
        try:
            explainer = prepared.explainer
            explainer.run(_values, explainer.case(distribution=False), explainer.x)
            return
        except NonFiniteError:
            return
        except Exception as error:  # a user's model may raise anything
            if is_out_of_memory(error):
                return
            said.append(error)
            if rows.stop == n:
                raise said[0] from said[0].__cause__


def _values(_: Case, x: Tensor) -> Plan:
    return Plan([x], 1, Want.VALUE, lambda answers: next(answers).value)
