"""The columns of the tables: what a metric's records say of its numbers, and the costs that every run measures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xbench.tables.outcomes import StoredCell

# The families of metrics in reading order, what algorithms report of themselves, and costs; with their headings.
FAMILIES = {
    "faithfulness": "Faithfulness",
    "robustness": "Robustness",
    "axiomatic": "Axioms",
    "randomisation": "Randomisation",
    "complexity": "Complexity",
    "localisation": "Localisation",
    "graph": "Graphs",
    "own": "Other measures",
    "reported": "Reported by methods",
    "cost": "Cost",
}
# Unit of the records -> factor and unit of a reader. The heading of a column of rows says rows.
_SHOWN: Mapping[str, tuple[float, str]] = {
    "bytes": (2.0**-20, "MiB"),
    "s": (1e3, "ms"),
    "s/sample": (1e3, "ms"),
    "rows": (1.0, ""),
    "rows/sample": (1.0, ""),
}


@dataclass(frozen=True)
class TableColumn:
    """A column of numbers and what its metric says of it.

    Attributes:
        name: in the tables; `<metric>.<source>` where two metrics of the grid have columns of one name.
        source: in the records.
        direction: "lower" or "higher" is better, or "none".
        label: the heading.
        short: the heading where there is little room.
        meaning: one sentence for the reader; "" where the metric says none.
        family: what kind of question is asked, one of FAMILIES.
        low, high: the least and the greatest value that is possible; None: no bound is known.
        detail: says more about another column of the metric; left out where there is little room.
        lead: stands for its family where there is room for one column of it.
    """

    name: str
    source: str
    direction: str
    unit: str
    label: str
    short: str
    meaning: str = ""
    family: str = "own"
    low: float | None = None
    high: float | None = None
    detail: bool = False
    lead: bool = False


def _cost(name: str, unit: str, meaning: str) -> TableColumn:
    label = in_words(name)
    return TableColumn(name, name, "lower", unit, label, label, meaning, family="cost", low=0)


def in_words(name: str) -> str:
    """The heading of a column whose metric gives it no label."""
    return name.replace("_", " ").capitalize()


RUNTIME = _cost("runtime", "s/sample", "Seconds to attribute one sample, after a warm-up.")
PEAK_MEMORY = _cost("peak_memory", "bytes", "Most memory in use while attributing.")
_ROWS = "Examples sent {} through the model to explain one sample, with those that can be spared."
COST = (
    RUNTIME,
    _cost("forward_rows", "rows/sample", _ROWS.format("forward")),
    _cost("backward_rows", "rows/sample", _ROWS.format("backward")),
    PEAK_MEMORY,
)


def shown_unit(unit: str) -> tuple[float, str]:
    """The factor from a unit of the records to that of a reader, and the latter: MiB for bytes, ms for seconds."""
    return _SHOWN.get(unit, (1.0, unit))


def found(cells: Iterable[StoredCell]) -> dict[str | None, tuple[TableColumn, ...]]:
    """The columns of every metric (None: of the attributions), as its finished cells tell.

    A metric with no finished cell gets one column of its own name, the attributions get `COST`. A column that two
    metrics both have is called `<metric>.<column>` in all tables. Of columns with one label each names its metric.
    """
    known: dict[str | None, dict[str, dict[str, Any]]] = {}
    for cell in cells:
        if cell.kind != "samples":
            mine = known.setdefault(cell.group[3], {})
            for name, facts in (cell.result["columns"] if cell.result else {}).items():
                mine[name] = mine.get(name, {}) | facts  # a cell of an older release says less than one of today
    names = Counter(name for mine in known.values() for name in mine)
    made = {metric: _columns(metric, mine, names) for metric, mine in known.items()}
    labels = Counter(column.label for mine in made.values() for column in mine)
    return {
        metric: tuple(_told_apart(metric, column, mine) if labels[column.label] > 1 else column for column in mine)
        for metric, mine in made.items()
    }


def ordered(columns: Iterable[TableColumn]) -> list[TableColumn]:
    """Families in the order of FAMILIES, columns of a family as configured; costs as in COST."""
    families, costs = list(FAMILIES), [column.name for column in COST]

    def rank(column: TableColumn) -> tuple[int, int]:
        return families.index(column.family), costs.index(column.name) if column.name in costs else 0

    return sorted(columns, key=rank)


def leading(columns: Iterable[TableColumn], family: str) -> TableColumn | None:
    """The column that stands for a family: the first that leads it, else the first that is no detail.

    A column without a direction cannot stand for anything.
    """
    mine = [column for column in columns if column.family == family and column.direction != "none"]
    preferred = sorted(mine, key=lambda column: (not column.lead, column.detail))
    return preferred[0] if preferred else None


def leaders(columns: Iterable[TableColumn]) -> list[TableColumn]:
    """The column that stands for each family, of those that have one."""
    every = list(columns)
    return [column for family in FAMILIES if (column := leading(every, family)) is not None]


def _columns(
    metric: str | None, known: Mapping[str, Mapping[str, Any]], names: Mapping[str, int]
) -> tuple[TableColumn, ...]:
    if not known:
        return COST if metric is None else (_column(metric, metric, {"direction": "none"}, "own"),)
    if metric is None:
        costs = {column.source: column for column in COST}
        return tuple(costs.get(name) or _column(name, name, facts, "reported") for name, facts in known.items())
    return tuple(
        _column(name if names[name] == 1 else f"{metric}.{name}", name, facts, "own") for name, facts in known.items()
    )


def _column(name: str, source: str, facts: Mapping[str, Any], family: str) -> TableColumn:
    """The column that a record describes; of a family that this release does not know, as of none."""
    label = facts.get("label") or in_words(source)
    told = facts.get("family")
    return TableColumn(
        name=name,
        source=source,
        direction=facts["direction"],
        unit=facts.get("unit", ""),
        label=label,
        short=facts.get("short") or label,
        meaning=facts.get("meaning", ""),
        family=told if told in FAMILIES else family,
        low=facts.get("low"),
        high=facts.get("high"),
        detail=facts.get("detail", False),
        lead=facts.get("lead", False),
    )


def _told_apart(metric: str | None, column: TableColumn, mine: Sequence[TableColumn]) -> TableColumn:
    """The column with its metric behind its label, or with its own name where the metric has the label twice."""
    twice = sum(other.label == column.label for other in mine) > 1
    owner = column.source if metric is None or twice else metric
    return replace(column, label=f"{column.label} ({owner})", short=f"{column.short} ({owner})")
