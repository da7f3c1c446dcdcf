"""Remarks on data and model for a reader of the numbers, shown when a job begins and below its table."""

from collections.abc import Iterable

from xbench.boundary.attempt import attempt
from xbench.datasets.record import Dataset
from xbench.explain.consistency import SAMPLES, inconsistencies
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.run.block import OpenJob

KEY = "inconsistencies"  # key in a cell's info

FEW = 10  # bootstrap intervals of fewer samples are unreliable


def remarks(dataset: Dataset, n: int | None) -> list[str]:
    """Plain sentences that name the data set: its own notes, and a note if fewer than `n` or too few samples exist."""
    found = list(dataset.notes)
    there = len(dataset.test)
    if n is not None and n > there:
        found.append(f"n={n}, and there are {there} samples to explain: all of them are")
    if there < FEW and (n is None or n > there):
        samples = "1 sample" if there == 1 else f"{there} samples"
        found.append(f"only {samples} to explain ({dataset.origin}): means and intervals of so few say little")
    return [f"{dataset.name}: {note}." for note in found]


def doubts(job: OpenJob, cells: Iterable[str]) -> list[str]:
    """Inconsistencies of the job's model, one clause each: from the stored cells of these keys, or from a check now.

    The check is made once: stored cells hold its result, and later runs repeat it.
    """
    stored = [job.store.load(key, verify_arrays=False) for key in cells] if job.cfg.reuse != "never" else []
    told = [record["info"][KEY] for record in stored if record is not None and KEY in record["info"]]
    if told:
        return list(dict.fromkeys(clause for found in told for clause in found))
    return attempt(lambda: _doubts_now(job), lambda _: [])  # the cells report errors of a user's files and code


def _doubts_now(job: OpenJob) -> list[str]:
    test = job.dataset.test
    encoded = job.model.encode(job.dataset, test.subset(range(min(SAMPLES, len(test)))).in_memory())
    setting = Request(job.model.module, encoded.inputs, extra=encoded.extra, select=job.model.output)
    return list(inconsistencies(Explainer(setting).subject))
