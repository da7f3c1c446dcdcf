"""Does the cells of a job that are missing, and leaves every result, or the reason why there is none, in the store."""

from __future__ import annotations

import functools
import json
import traceback
from dataclasses import replace

import torch
from omegaconf import DictConfig, OmegaConf

from xbench.block import Block, Entry, Job
from xbench.cells import Algorithms, Identities, Unit, blocks, known, units
from xbench.config import instantiate
from xbench.datasets.record import Dataset
from xbench.display import Display
from xbench.environment import environment
from xbench.grid import Outcome, of_config
from xbench.models.record import Model
from xbench.prepared import Prepared
from xbench.setting import on_device
from xbench.sites import Site
from xbench.store import Store, StoreError


def run_job(cfg: DictConfig, display: Display) -> Outcome:
    """Compute the cells of `cfg` that the store does not have; a failing cell is recorded and the others go on.

    Raises:
        StoreError: the store cannot be written; raised before any work.
    """
    store = Store(cfg.store)
    store.check_writable()
    parts = Algorithms.of(cfg)
    try:
        dataset = _dataset(_text(cfg.dataset))
        model = _model(_text(cfg.model), _text(cfg.dataset))
        _check_places(cfg, model)
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    except Exception as error:  # a user's files and code: whatever they raise ends this job only, with its reason
        if not isinstance(error, (ValueError, TypeError, OSError, ImportError)):  # not one of our own messages
            display.message(traceback.format_exc())
        return Outcome(_without_data(cfg, f"{type(error).__name__}: {error}"))
    device = _device(cfg.run.device)
    names = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    where = store.save_environment(environment(devices=names, threads=torch.get_num_threads()))
    ids = Identities(cfg, dataset, model.name, model.fingerprint)
    model = replace(model, module=on_device(model.module, device))
    job = Job(cfg, display, store, parts, dataset, model, device, ids, where)
    planned = [unit for block in blocks(cfg, dataset.test) for unit in units(ids, parts, block)]
    state = [known(store, unit.key, cfg.reuse) for unit in planned]
    display.start(len(planned), sum(status == "reused" for status, _ in state))
    try:
        for number, split in enumerate(blocks(cfg, dataset.test)):
            block = Block(job, split)
            if number == 0:
                block.announce()
            block.run()
    except KeyboardInterrupt:
        return Outcome(_with_rest(job.entries, planned), interrupted=True)
    except StoreError as error:  # the disk is full or gone: what was done before stays in the manifest
        return Outcome(_with_rest(job.entries, planned), error=str(error))
    return Outcome(job.entries)


def plan_job(cfg: DictConfig) -> list[Entry]:
    """What `run_job` would do: status reused, to run, skipped or unknown until loaded.

    A model whose weights are at hand is loaded to say what algorithms lack; one that is not trained or downloaded
    yet is left alone.
    """
    store, parts = Store(cfg.store), Algorithms.of(cfg)
    dataset = _dataset(_text(cfg.dataset))
    source = instantiate(cfg.model, "model")
    fingerprint = source.fingerprint(dataset)
    ids = Identities(cfg, dataset, getattr(source, "title", cfg.choice.model), fingerprint or "")
    model = _model(_text(cfg.model), _text(cfg.dataset)) if fingerprint else None
    planned = []
    for block in blocks(cfg, dataset.test):
        prepared = Prepared(cfg, dataset, model, torch.device("cpu"), block) if model else None
        for unit in units(ids, parts, block):
            status, reason = known(store, unit.key, cfg.reuse)
            if status == "todo":
                reason = _not_applicable(prepared, unit) if prepared else None
                status = "skipped" if reason else "to run" if fingerprint else "unknown until loaded"
            planned.append(unit.entry(status, reason))
    return planned


def _check_places(cfg: DictConfig, model: Model) -> None:
    """ValueError with the nearest names when the command names a layer that the model does not have."""
    for name in (cfg.layer, cfg.read, cfg.neuron and cfg.neuron[0]):
        if name is not None:
            Site.parse(name).module(model.module)


def _not_applicable(prepared: Prepared, unit: Unit) -> str | None:
    try:
        return prepared.not_applicable(unit)
    except Exception:  # the model does not run on these samples, which its cells will say when they are tried
        return None


def _without_data(cfg: DictConfig, reason: str) -> list[Entry]:
    """The cells of a job whose data or model cannot be loaded: one entry each, with the reason."""
    facts = {"key": None, "samples": 0, "status": "error", "reason": reason}
    names = ("kind", "model", "dataset", "algorithm", "metric")
    return [{name: getattr(spec, name) for name in names} | facts for spec in of_config(cfg)]


def _with_rest(done: list[Entry], units: list[Unit]) -> list[Entry]:
    """What was done, and the cells that an interruption left."""
    keys = {e["key"] for e in done}
    return done + [unit.entry("planned") for unit in units if unit.key not in keys]


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _text(node: DictConfig) -> str:
    return json.dumps(OmegaConf.to_container(node, resolve=True), sort_keys=True)


# The jobs of a sweep mostly share data and model: keep the last ones open.
@functools.lru_cache(maxsize=2)
def _dataset(node: str) -> Dataset:
    return instantiate(json.loads(node), "dataset").load()


@functools.lru_cache(maxsize=2)
def _model(node: str, dataset: str) -> Model:
    return instantiate(json.loads(node), "model").load(_dataset(dataset))
