"""Relevance propagation as a backward rule: the table of handlers for torch's operations."""

from dataclasses import dataclass, field

from xbench.rules import operations
from xbench.rules.composites import COMPOSITES
from xbench.rules.lrp import attention
from xbench.rules.lrp.mode import COMPLEX, MOVING, Handler, Relevance, scoped
from xbench.rules.lrp.operations import (
    batch_norm,
    div,
    dropout,
    elementwise,
    layer,
    linear,
    linear_in_first,
    moving,
    product,
    sums,
)
from xbench.rules.lrp.presets import Composite
from xbench.rules.override import Override, Unknown
from xbench.rules.recurrent import RECURRENT


@dataclass(frozen=True)
class LayerwiseRelevance:
    """Backward rule: `with rule.apply(): ...`. The gradient of a per-row output f is then relevance / f.

    Relevance starts as 1 at the explained scalar; all rules are linear in it, so multiplying by f(x) starts it as f(x).
    Parameters must be frozen, and the model in eval mode.

    unknown: at an operation without a rule, "raise" UnknownOperation, or "warn" and distribute in proportion to x df/dx
    """

    composite: Composite = field(default_factory=Composite)
    unknown: Unknown = "raise"

    def __post_init__(self) -> None:
        if self.unknown not in ("raise", "warn"):
            raise ValueError(f"unknown must be 'raise' or 'warn', got {self.unknown!r}")

    @property
    def key(self) -> str:
        """By all its fields."""
        return repr(self)

    def apply(self) -> Override:
        """Activate the rule: a context manager for one forward pass and its readout."""
        return Relevance(self.composite, _TABLE, self.unknown)


_MAXIMA = ("max", "min", "amax", "amin", "maximum", "minimum", "fmax", "fmin", "sort", "topk")
# Operations of degree one, or approximated by the first term of their Taylor expansion.
_EXPANDED = ("logsumexp", "log_softmax", "logaddexp", "linalg_vector_norm", "linalg_norm", "norm")
_STEPWISE = (
    *("glu", "var", "std", "var_mean", "prod", "cosine_similarity", "pairwise_distance"),
    *("addmm", "addmv", "baddbmm", "addcmul", "addcdiv", "lerp", "scaled_dot_product_attention"),
)

_TABLE: dict[str, Handler] = {
    **dict.fromkeys(operations.PER_EXAMPLE - COMPLEX, linear_in_first),
    **dict.fromkeys(operations.REDUCTIONS | operations.CUMULATIVE, linear),
    **dict.fromkeys(("index_add", "scatter_add"), linear),
    **dict.fromkeys(operations.ELEMENTWISE | {"neg"}, elementwise),
    **dict.fromkeys(operations.MAX_POOLS | set(_MAXIMA) | MOVING, moving),
    **dict.fromkeys(operations.CONVOLUTIONS | {"linear"}, layer),
    **dict.fromkeys(operations.PRODUCTS, product),
    **dict.fromkeys(operations.DROPOUTS, dropout),
    **dict.fromkeys(("add", "sub", "rsub"), sums),
    **dict.fromkeys(_EXPANDED, linear),
    **{name: scoped(COMPOSITES[name]) for name in (*_STEPWISE, *RECURRENT)},
    **dict.fromkeys(attention.NORMS, attention.norm),
    "div": div,
    "batch_norm": batch_norm,
    "softmax": attention.softmax,
}
