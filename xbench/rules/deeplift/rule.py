"""The Rescale rule, and which rule each operation has.

Shrikumar, Greenside, Kundaje, "Learning Important Features Through Propagating Activation Differences", 2017,
https://arxiv.org/abs/1704.02685. The rule for one-input functions is the paper's. Beyond the paper, so that
the multipliers explain f(x) - f(x0) exactly through them too: products take the gradient at the mean of input
and reference, quotients the same of the product that they undo, softmax that of its exponentials at the logarithms
of the probabilities (`exponentials`), and normalisation, attention and recurrent layers are taken apart into products,
quotients, sums and one-input functions. Max-pooling gives each window's difference to the position of the larger
maximum, as the authors' code does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from xbench.rules import operations
from xbench.rules.composites import COMPOSITES
from xbench.rules.deeplift import maxima, rescale
from xbench.rules.deeplift.paired import Paired, PairRule
from xbench.rules.override import Override, Unknown


@dataclass(frozen=True)
class Rescale:
    """Backward rule for a batch of inputs and, behind them, their references: `with rule.apply(): ...`.

    Gradients of a per-row output at the inputs then are DeepLIFT multipliers M, with sum(M * (x - x0)) = f(x) - f(x0);
    those at the references mean nothing. Parameters must be frozen, and the model in eval mode.

    eps: differences |x - x0| below this count as none, and the plain gradient is used there
    unknown: at an operation without a rule, "raise" UnknownOperation, or "warn" and use its plain gradient
    inputs: k, how many have the same reference: the batch is (k, m) inputs and then m references
    """

    merges_affine: ClassVar[bool] = True

    eps: float = 1e-10
    unknown: Unknown = "raise"
    inputs: int = 1

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise ValueError(f"eps must be >= 0, got {self.eps}")
        if self.unknown not in ("raise", "warn"):
            raise ValueError(f"unknown must be 'raise' or 'warn', got {self.unknown!r}")

    @property
    def key(self) -> str:
        """Without `inputs`: the rule is the same whatever the batch."""
        return f"Rescale(eps={self.eps!r}, unknown={self.unknown!r})"

    def beside(self, others: int) -> Rescale:
        """The rule for a batch in which so many inputs have the same reference."""
        return replace(self, inputs=others)

    def apply(self) -> Override:
        """The rule in force: a context manager for one forward pass and its readout."""
        return Paired("DeepLIFT-Rescale", _TABLE, self.eps, self.unknown, self.inputs)


_TABLE: dict[str, PairRule] = {
    **dict.fromkeys(operations.PER_EXAMPLE, rescale.per_example),
    **dict.fromkeys(operations.ELEMENTWISE, rescale.elementwise),
    **dict.fromkeys(operations.PRODUCTS, rescale.product),
    **dict.fromkeys(operations.DROPOUTS, rescale.dropout),
    **dict.fromkeys(COMPOSITES, rescale.composite),
    **dict.fromkeys(operations.MAX_POOLS, maxima.max_pool),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), maxima.larger_or_smaller),
    **dict.fromkeys(("max", "min"), maxima.extremum),
    "abs": rescale.modulus,
    "div": rescale.div,
    "reciprocal": rescale.reciprocal,
    "rsqrt": rescale.reciprocal_root,
    "linear": rescale.linear,
    **dict.fromkeys(("logsumexp", "softmax", "log_softmax"), rescale.exponentials),
    "pack_padded_sequence": rescale.packed,
}
