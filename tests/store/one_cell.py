"""A cell to store, and the files that hold it."""

from tests.store_samples import cell


def record(scores=(1.0, None, 0.1), **changes):
    made = cell("digits", "score", "ig", "infidelity") | {"samples": ["a", "b", "c"]}
    made |= {
        "columns": {"infidelity": {"direction": "lower", "unit": ""}},
        "values": {"infidelity": list(scores)},
    }
    return made | changes


def file_of(store, key, suffix):
    return store.root / "cells" / key[:2] / f"{key}{suffix}"
