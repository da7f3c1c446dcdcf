"""Numbers and units as a reader of the report sees them."""

import math
from collections.abc import Sequence

from xbench.tables.columns import shown_unit

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
    """`number`, in the unit of a reader: MiB for bytes, ms for seconds."""
    if value is None or math.isnan(value):
        return number(value)
    if unit.startswith("rows") and value.is_integer():
        return f"{value:,.0f}"
    return number(value * shown_unit(unit)[0])


def per_sample(unit: str) -> str:
    """The unit that `in_unit` shows, in full: "ms per sample"."""
    shown = shown_unit(unit)[1]
    return f"{shown} per sample".strip() if unit.endswith("/sample") else shown


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 sample`, `2 samples`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def clip(text: str, length: int) -> str:
    """`text`, cut to `length` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip(" ,;") + "…"
