"""One block of samples ready to be explained: encoded for the model, with the explained outputs and the sites."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from omegaconf import DictConfig, ListConfig
from torch import Tensor, nn

from xbench.core.layout import Layout
from xbench.datasets.record import Dataset, Lazy, Split, by_part
from xbench.engine.rewrites.choice import Decide
from xbench.engine.speed import Speed
from xbench.explain.explainer import Explainer
from xbench.explain.problem import Neuron
from xbench.explain.request import Request
from xbench.explain.score import refusal
from xbench.inputs.baselines import choose_baseline
from xbench.inputs.features import as_cells, regroup
from xbench.inputs.targets import Chosen, choose
from xbench.modalities.audio import CELLS
from xbench.modalities.parts.spectral import FromSpectrum
from xbench.models.record import Encoded, Model
from xbench.run.cells import Cell


@dataclass
class Prepared:
    """Properties are computed on first use: a block whose cells are all stored costs nothing."""

    cfg: DictConfig
    dataset: Dataset
    model: Model
    device: torch.device
    split: Split
    progress: Callable[[int, int], None] | None = None
    decide: Decide | None = None
    _ahead: Future[Split] | None = field(default=None, init=False)

    def read_ahead(self) -> None:
        """Begin to read the samples' files in a separate thread."""
        if any(isinstance(part, Lazy) for part in by_part(self.split.inputs).values()):
            reader = ThreadPoolExecutor(1, "read-ahead")
            self._ahead = reader.submit(self.split.in_memory)
            reader.shutdown(wait=False)

    @functools.cached_property
    def samples(self) -> Split:
        """The samples in memory: files are read once, for the model and for the pictures."""
        return self.split.in_memory() if self._ahead is None else self._ahead.result()

    @functools.cached_property
    def encoded(self) -> Encoded:
        encoded = self.model.encode(self.dataset, self.samples)
        if self.cfg.features is None or self._in_cells:
            return encoded
        return replace(encoded, features=regroup(self.cfg.features, self.dataset, encoded))

    @functools.cached_property
    def baselines(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None]:
        """(the baseline of each sample, the distribution of baselines or None)."""
        name, encoded = self.cfg.baseline, self.encoded
        if name is None:
            return encoded.baseline, None
        return choose_baseline(name, self.dataset, self.model, encoded, self.split.ids, self.cfg.seed)

    def _named_baseline(self, name: str) -> tuple[Tensor, ...]:
        """The data set's baseline of that name, for metrics that remove features. ValueError when it has none."""
        made, _ = choose_baseline(name, self.dataset, self.model, self.encoded, self.split.ids, self.cfg.seed)
        return as_cells(self.dataset, self.encoded, made, None)[1] if self._in_cells else made

    @functools.cached_property
    def chosen(self) -> Chosen:
        """The predictions for the samples, and the explained output."""
        return choose(self.model, self.encoded, self.split, self.cfg.target, self.dataset.classes)

    @property
    def layer(self) -> str | None:
        """The site where points enter: the layer of the command, else the model's own site."""
        return self.cfg.layer or self.model.site

    @property
    def _in_cells(self) -> bool:
        """Whether spectra are explained, although the model takes waveforms."""
        cells: bool = self.cfg.features == CELLS
        return cells

    @functools.cached_property
    def explainer(self) -> Explainer:
        cfg, encoded, model = self.cfg, self.encoded, self.model.module
        baselines, distribution = self.baselines
        layer, read, neuron = self.layer, cfg.read, _neuron(cfg.neuron)
        if self._in_cells:
            length = encoded.inputs[0].shape[-1]
            model = _from_spectrum(model, length).to(self.device)
            encoded, baselines, distribution = as_cells(self.dataset, encoded, baselines, distribution)
            layer, read = (name and f"network.{name}" for name in (layer, read))
            neuron = neuron and (f"network.{neuron[0]}", neuron[1])
        inputs = tuple(t.to(self.device) for t in encoded.inputs)
        me = weakref.proxy(self)  # a block is freed as it ends, without waiting for the collector of cycles
        setting = Request(
            model=model,
            inputs=inputs if len(inputs) > 1 else inputs[0],
            target=self.chosen.target,
            baselines=baselines,
            distribution=distribution,
            named_baselines=lambda name: me._named_baseline(name),
            extra=encoded.extra,
            features=encoded.features,
            features_called=self.cfg.features or encoded.called,
            masks=encoded.masks,
            padded=encoded.padded,
            layer=layer,
            read=read,
            neuron=neuron,
            output=cfg.output,
            select=self.model.output,
            seed=cfg.seed,
            ids=self.split.ids,
            memory=cfg.run.memory,
            rows=None if cfg.run.rows == "auto" else cfg.run.rows,
            own_baselines=True,
            features_where_they_fit=cfg.layer is not None,
            progress=self.progress,
            speed=speed_of(cfg),
            decide=self.decide,
        )
        return Explainer(setting)

    def not_applicable(self, unit: Cell) -> str | None:
        """The reason why a cell does not apply, `needs ...`; None if it applies."""
        if unit.algorithm is None:
            return None
        reason = self.explainer.missing(unit.algorithm.component)
        if reason is None and unit.metric is not None:
            reason = refusal(self.explainer, unit.metric.component, unit.algorithm.component)
        return reason

    def fits_tokens(self, layout: Layout) -> bool:
        """Whether one of the map's tensors has a value per token of the texts."""
        tokens = self.encoded.tokens
        return tokens is None or any(shape[:1] == (len(tokens[0]),) for shape in layout.shapes)


@functools.lru_cache(maxsize=1)  # one module for all blocks, because row limits are kept per module
def _from_spectrum(model: nn.Module, length: int) -> FromSpectrum:
    return FromSpectrum(model, length)


def speed_of(cfg: DictConfig) -> Speed:
    """The command's settings of `Speed`."""
    return Speed(cfg.run.precision, cfg.run.compile, cfg.run.rewrites, keep_memory=True)


def _neuron(given: ListConfig | None) -> Neuron | None:
    """Convert `[layer, index]` or `[layer, [index, ...]]` to the form of `xbench.attribute`."""
    if given is None:
        return None
    layer, index = given
    return layer, tuple(index) if isinstance(index, ListConfig) else cast(int, index)
