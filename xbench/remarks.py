"""What a reader of the numbers must know about the data: said when a job begins, and below its table."""

from xbench.datasets.record import Dataset

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
