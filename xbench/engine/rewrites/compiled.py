"""The model compiled by torch.compile, for evaluations without sites at layers."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from xbench.core.names import Compile
from xbench.core.plan import Rule
from xbench.engine.rewrites.twin import sites, twin
from xbench.engine.subject import Subject


def compiled(subject: Subject, samples: Tensor, rule: Rule | None, mode: Compile) -> list[Subject]:
    """The subject with a compiled model; empty if layers are watched, under a rule, or with create_graph."""
    if rule is not None or subject.read is not None or subject.create_graph or any(sites(subject)):
        return []
    # Dynamic: the number of rows changes from one evaluation to the next.
    model = cast(nn.Module, torch.compile(twin(subject.model), mode=mode, dynamic=True))
    return [replace(subject, model=model, reuses_memory=True)]
