"""Opens a job: its data and its model, on a device. The last ones are cached, because jobs of a sweep share them."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import torch
from omegaconf import DictConfig, OmegaConf

from xbench.config.nodes import instantiate, source
from xbench.core.sites import Site
from xbench.datasets.record import Dataset
from xbench.explain.request import on_device
from xbench.models.record import Model
from xbench.run.block import OpenJob
from xbench.run.cells import Algorithms
from xbench.run.identities import Identities
from xbench.run.rehearsal import try_samples
from xbench.store.environment import environment
from xbench.store.records import digest
from xbench.store.store import Store


def open_job(cfg: DictConfig, device: torch.device, beside: int = 0, *, tried: bool = False) -> OpenJob:
    """The job of a settled config on `device`; see `block.Job` for `beside`.

    Raises whatever a user's files and code raise while data and model load and, unless `tried` before, while a few
    samples are evaluated; nothing is written in that case.
    """
    parts = Algorithms.of(cfg)
    dataset, model = opened(cfg, device, tried=tried)
    store = Store(cfg.store)
    names = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    where = store.save_environment(environment(devices=names, threads=torch.get_num_threads(), beside=beside))
    ids = Identities(cfg, dataset, model.name, model.fingerprint)
    return OpenJob(cfg, store, parts, dataset, model, device, ids, where, beside)


def opened(cfg: DictConfig, device: torch.device, *, tried: bool = False) -> tuple[Dataset, Model]:
    """The data and the model of a job, the latter on `device`; see `open_job`."""
    dataset, model = dataset_of(cfg), model_of(cfg)
    _check_places(cfg, model)
    model = replace(model, module=on_device(model.module, device))
    if not tried:
        try_samples(cfg, dataset, model, device)
    return dataset, model


def dataset_of(cfg: DictConfig) -> Dataset:
    """The job's data set; the source of a user's code is part of its fingerprint."""
    return _dataset(_text(cfg.dataset), source(cfg.dataset))


def model_of(cfg: DictConfig) -> Model:
    """The job's model; trained or downloaded if needed."""
    return _model(_text(cfg.model), source(cfg.model), _text(cfg.dataset), source(cfg.dataset))


def _check_places(cfg: DictConfig, model: Model) -> None:
    """Raise ValueError with the nearest names if the command names an unknown layer."""
    for name in (cfg.layer, cfg.read, cfg.neuron and cfg.neuron[0]):
        if name is not None:
            Site.parse(name).module(model.module)


def _text(node: DictConfig) -> str:
    return json.dumps(OmegaConf.to_container(node, resolve=True), sort_keys=True)


@functools.lru_cache(maxsize=2)
def _dataset(node: str, made_by: str | None) -> Dataset:
    dataset: Dataset = instantiate(json.loads(node), "dataset").load()
    if made_by is None:
        return dataset
    return replace(dataset, fingerprint=digest({"contents": dataset.fingerprint, "source": made_by}))


@functools.lru_cache(maxsize=2)
def _model(node: str, _made_by: str | None, dataset: str, dataset_made_by: str | None) -> Model:
    model: Model = instantiate(json.loads(node), "model").load(_dataset(dataset, dataset_made_by))
    return model
