"""Small grids of stored cells, written by hand."""

from tests.store_samples import ENVIRONMENT, cell
from xbench.store.store import cell_key
from xbench.tables import tables


class Maker:
    """Writes small grids by hand: model "m", dataset "d", one attribution column and one metric."""

    def __init__(self, store):
        self.store, self.cells = store, []
        self.environment = store.save_environment(ENVIRONMENT)

    def plan(self, algorithm, metric, samples, status="planned", reason=None, block=0):
        record = cell("digits", "score" if metric else "attribution" if algorithm else "samples", algorithm, metric)
        key = cell_key({"a": algorithm, "m": metric, "block": block})
        ids = [f"s{block}-{index}" for index in range(samples)]
        record |= {"key": key, "model": "m", "dataset": "d", "samples": ids, "environment": self.environment}
        names = {name: record[name] for name in ("key", "kind", "model", "dataset", "algorithm", "metric")}
        self.cells.append(names | {"samples": samples, "status": status, "reason": reason})
        return record

    def done(self, algorithm, metric, columns, block=0, direction="lower", facts=(), **changes):
        """A finished cell; `facts` are what its metric says of every column."""
        samples = len(next(iter(columns.values())))
        record = self.plan(algorithm, metric, samples, block=block)
        record["columns"] = {name: {"direction": direction, "unit": "", **dict(facts)} for name in columns}
        record |= {"values": columns} | changes
        self.store.save(record)

    def failed(self, algorithm, metric, samples, status, reason, block=0):
        record = self.plan(algorithm, metric, samples, block=block)
        self.store.save_failure(record | {"status": status, "reason": reason})

    def build(self):
        manifest = {
            "name": "x",
            "created": "",
            "command": [],
            "config": {},
            "cells": self.cells,
            "n": 2,
            "seed": 0,
        }
        return tables.build(self.store, manifest)


def entry(built, algorithm, column):
    return next(row for row in built.grid.rows if row.algorithm == algorithm).entries[column]
