"""Numbers and names as a reader of the report sees them."""

import math
from collections.abc import Sequence

# The scatter and the gallery show one infidelity: the one that depends least on the scale of a map.
FIDELITY = ("infidelity_relative", "infidelity_scaled", "infidelity")
ROBUSTNESS = "sensitivity_max"
TIME = "runtime"
COST = ("runtime", "forward_rows", "backward_rows", "peak_memory")

_LABELS = {
    "infidelity": "Infidelity",
    "infidelity_scaled": "Infidelity, scaled",
    "infidelity_relative": "Infidelity, relative",
    "sensitivity_max": "Sensitivity (max)",
    "sensitivity_max_floor": "Sensitivity (floor)",
    "completeness": "Completeness",
    "pointing_game": "Pointing game",
    "top_k_intersection": "Top-k intersection",
    "relevance_mass": "Relevance mass",
    "relevance_rank": "Relevance rank",
    "grid_pointing_game": "Grid pointing game",
    "localisation_auroc": "AUROC",
    "localisation_ap": "Average precision",
    "rationale_f1": "Rationale F1",
    "rationale_precision": "Rationale precision",
    "rationale_recall": "Rationale recall",
    "rationale_iou": "Rationale IOU",
    "runtime": "Runtime",
    "forward_rows": "Forward rows",
    "backward_rows": "Backward rows",
    "peak_memory": "Peak memory",
}
_MEANINGS = {
    "infidelity": "Mean squared difference between the change of the output that the map predicts for a "
    "perturbation and the change that happens (Yeh et al. 2019). It depends on the scale of the map.",
    "infidelity_scaled": "Infidelity after each map is multiplied by the one factor that serves it best, "
    "so only its shape counts.",
    "infidelity_relative": "The share of the output's changes that no multiple of the map explains: 0 is "
    "perfect, 1 is no better than a map of zeros. It does not depend on the scale of map or output.",
    "sensitivity_max": "Largest relative change of the map when the input moves inside a small ball (Yeh et al. 2019).",
    "sensitivity_max_floor": "The same with the input not moved: the noise of a method that draws at random.",
    "completeness": "How far the sum of the map is from the change of the output between baseline and input, "
    "relative to that change.",
    "pointing_game": "Share of samples whose most relevant cell (pixel, word, column) lies on the known evidence.",
    "top_k_intersection": "Share of the k most relevant cells that lie on the known evidence.",
    "relevance_mass": "Share of the relevance that lies on the known evidence; chance is the evidence's area.",
    "relevance_rank": "Share of the K most relevant cells that lie on the known evidence, K being its size.",
    "grid_pointing_game": "Share of the positive relevance that lies in the explained class's cell of a mosaic.",
    "localisation_auroc": "How well relevance tells the known evidence from the rest; 0.5 is chance.",
    "localisation_ap": "Average precision of relevance as a detector of the known evidence; chance is its area.",
    "rationale_f1": "F1 of the most relevant share of the words (or cells) against the marked ones.",
    "rationale_precision": "Share of the most relevant words that are marked.",
    "rationale_recall": "Share of the marked words that are among the most relevant.",
    "rationale_iou": "The most relevant words and the marked ones: what both share, over what either has.",
    "runtime": "Seconds to attribute one sample, after a warm-up.",
    "forward_rows": "Examples sent forward through the model to explain one sample, with those that can be spared.",
    "backward_rows": "Examples sent backward through the model to explain one sample, with those that can be spared.",
    "peak_memory": "Most memory in use while attributing.",
}
_SHORT = {
    "infidelity": "infidelity",
    "infidelity_scaled": "infid. scaled",
    "infidelity_relative": "infid. relative",
    "sensitivity_max": "sensitivity",
    "completeness": "completeness",
    "top_k_intersection": "top-k",
    "localisation_auroc": "AUROC",
    "rationale_f1": "rationale F1",
}
_SHOWN: dict[str, tuple[float, str]] = {  # unit of a column -> factor and unit on the page
    "bytes": (2**-20, "MiB"),
    "s": (1000, "ms"),
    "s/sample": (1000, "ms"),
    "rows": (1, ""),  # the heading says rows
    "rows/sample": (1, ""),
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label(metric: str) -> str:
    """A column as a heading; an unknown one keeps its words, `metric.column` names both."""
    owner, _, column = metric.rpartition(".")
    plain = _LABELS.get(column) or column.replace("_", " ").capitalize()
    return f"{plain} ({owner})" if owner else plain


def short(metric: str) -> str:
    """A column where there is little room."""
    return _SHORT.get(metric) or metric.replace("_", " ")


def meaning(metric: str) -> str:
    """One sentence on a column, or "" for one this page does not know."""
    return _MEANINGS.get(metric, "")


def fidelity(metrics: Sequence[str]) -> str | None:
    """The infidelity column to show where there is room for one."""
    return next((name for name in FIDELITY if name in metrics), None)


def number(value: float | None) -> str:
    """Three significant digits: 0.0123, 12.3, 1.23×10⁻⁷; an undefined value is a dash."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    size = abs(value)
    if size and not 1e-3 <= size < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}".replace("-", "−")
    digits = 2 if size == 0 else max(0, 2 - math.floor(math.log10(size)))
    return "0" if size == 0 else f"{value:.{digits}f}".replace("-", "−")


def in_unit(value: float | None, unit: str) -> str:
    """`number`, in the unit that `shown_unit` names: MiB for bytes, ms for seconds."""
    if value is None or math.isnan(value):
        return number(value)
    if unit.startswith("rows") and value.is_integer():
        return f"{value:,.0f}"
    return number(value * _SHOWN.get(unit, (1, unit))[0])


def shown_unit(unit: str) -> str:
    """The unit that `in_unit` shows a column of `unit` in."""
    return _SHOWN.get(unit, (1, unit))[1]


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 sample`, `2 samples`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def clip(text: str, length: int) -> str:
    """`text`, cut to `length` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip(" ,;") + "…"
