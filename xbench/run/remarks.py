"""What a reader of the numbers must know about data and model: said when a job begins, and below its table."""

from collections.abc import Iterable

from xbench.boundary.attempt import attempt
from xbench.datasets.record import Dataset
from xbench.explain.consistency import SAMPLES, inconsistencies
from xbench.explain.explainer import Explainer
from xbench.explain.request import Request
from xbench.run.block import OpenJob

KEY = "inconsistencies"  # of what cells say about themselves

FEW = 10  # samples, of which a bootstrap interval says little


def remarks(dataset: Dataset, n: int | None) -> list[str]:
    """Plain sentences, the data set named in each: its own notes, and what they say of `n` samples asked for."""
    found = list(dataset.notes)
    there = len(dataset.test)
    if n is not None and n > there:
        found.append(f"n={n}, and there are {there} samples to explain: all of them are")
    if there < FEW and (n is None or n > there):
        samples = "1 sample" if there == 1 else f"{there} samples"
        found.append(f"only {samples} to explain ({dataset.origin}): means and intervals of so few say little")
    return [f"{dataset.name}: {note}." for note in found]


def doubts(job: OpenJob, cells: Iterable[str]) -> list[str]:
    """What keeps the job's model from being explained, a clause each: as these cells, by their keys, say, or found now.

    What was found is decided once: the cells that a run stores hold it, and later runs say the same.
    """
    stored = [job.store.load(key, verify_arrays=False) for key in cells] if job.cfg.reuse != "never" else []
    told = [record["info"][KEY] for record in stored if record is not None and KEY in record["info"]]
    if told:
        return list(dict.fromkeys(clause for found in told for clause in found))
    return attempt(lambda: _doubts_now(job), lambda _: [])  # of a user's files and code the cells will tell


def _doubts_now(job: OpenJob) -> list[str]:
    test = job.dataset.test
    encoded = job.model.encode(job.dataset, test.subset(range(min(SAMPLES, len(test)))).in_memory())
    setting = Request(job.model.module, encoded.inputs, extra=encoded.extra, select=job.model.output)
    return list(inconsistencies(Explainer(setting).subject))
