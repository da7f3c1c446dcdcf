"""Composites of the literature, which assign rules to layers, with zennit's names and numbers."""

from dataclasses import dataclass
from typing import Literal

from xbench.rules.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, LayerRule, ZBox, ZPlus


@dataclass(frozen=True)
class Composite:
    """The rules of a model, by kind of operation and by depth.

    Attributes:
        title: the name in tables and figures.
        source: the paper that proposed it.
        convolution: the rule of convolutions, transposed ones too.
        dense: the rule of dense layers and other products with a constant matrix.
        first_convolution, first_dense: rules of the first layer on the model's input; None: the same as for other
            layers. They are not used if points enter deeper in the model.
        normalization: treatment of layer, group and instance norms. With `detach` the denominator is a constant, so the
            division passes relevance on while the mean and the bias take their shares (AttnLRP and CP-LRP alike); with
            `identity` the whole norm passes it on. RMS norms always pass it on.
        gates: operations whose result, as a factor of a product, takes no relevance; the other factor takes all, as in
            Arras et al. 2017 (arXiv 1706.07206), where ("sigmoid",) are the gates of an LSTM. Otherwise all factors
            take the same share (AttnLRP).
        stabilizer: stabiliser of sums, averages and other operations that are linear or treated as linear.
    """

    title: str = "LRP"
    source: str = ""
    convolution: LayerRule = Epsilon()  # noqa: RUF009 - rules are frozen
    dense: LayerRule = Epsilon()  # noqa: RUF009
    first_convolution: LayerRule | None = None
    first_dense: LayerRule | None = None
    normalization: Literal["detach", "identity"] = "detach"
    gates: tuple[str, ...] = ()
    stabilizer: float = 1e-6

    def __post_init__(self) -> None:
        if self.normalization not in ("detach", "identity"):
            raise ValueError(f"normalization must be 'detach' or 'identity', got {self.normalization!r}")

    def layer(self, convolution: bool, first: bool) -> LayerRule:
        """The rule of a linear layer."""
        usual = self.convolution if convolution else self.dense
        special = self.first_convolution if convolution else self.first_dense
        return special if first and special is not None else usual


_OVERVIEW = "Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview"
_PRACTICE = (
    "Kohlbrenner et al. 2020, Towards Best Practice in Explaining Neural Network Decisions with LRP, arXiv 1910.09840"
)


def epsilon_only(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Epsilon everywhere; on a ReLU network it tends to input times gradient as epsilon tends to 0."""
    rule = Epsilon(epsilon)
    return Composite("LRP-ε", convolution=rule, dense=rule, stabilizer=stabilizer)


def epsilon_plus(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """z-plus at convolutions, epsilon at dense layers."""
    return Composite(
        "LRP-ε-z+", _PRACTICE, convolution=ZPlus(stabilizer), dense=Epsilon(epsilon), stabilizer=stabilizer
    )


def epsilon_plus_flat(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """z-plus at convolutions, epsilon at dense layers, flat at the first layer."""
    flat = Flat(stabilizer)
    return Composite("LRP-ε-z+-flat", _PRACTICE, ZPlus(stabilizer), Epsilon(epsilon), flat, flat, stabilizer=stabilizer)


def epsilon_gamma_box(
    low: float | tuple[float, ...] | None = None,
    high: float | tuple[float, ...] | None = None,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    stabilizer: float = 1e-6,
) -> Composite:
    """Gamma at convolutions, epsilon at dense layers, z-box at a first convolution (`low`, `high`: see `ZBox`)."""
    box = ZBox(low, high, stabilizer)
    return Composite("LRP-ε-γ-box", _OVERVIEW, Gamma(gamma, stabilizer), Epsilon(epsilon), box, stabilizer=stabilizer)


def epsilon_alpha2_beta1(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Alpha 2, beta 1 at convolutions, epsilon at dense layers."""
    rule = AlphaBeta(2.0, 1.0, stabilizer)
    return Composite("LRP-ε-α2β1", _PRACTICE, rule, Epsilon(epsilon), stabilizer=stabilizer)


def epsilon_alpha2_beta1_flat(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Alpha 2, beta 1 at convolutions, epsilon at dense layers, flat at the first layer."""
    rule, flat = AlphaBeta(2.0, 1.0, stabilizer), Flat(stabilizer)
    return Composite("LRP-ε-α2β1-flat", _PRACTICE, rule, Epsilon(epsilon), flat, flat, stabilizer=stabilizer)


def attn_lrp(epsilon: float = 1e-6, gamma: float = 0.0, stabilizer: float = 1e-6) -> Composite:
    """Softmax by its Taylor expansion, products in equal shares, denominators of norms constant, the rest epsilon.

    gamma: above 0, layers get the gamma rule instead of epsilon, as the paper advises for vision transformers
    """
    rule = Gamma(gamma, stabilizer) if gamma > 0 else Epsilon(epsilon)
    paper = "Achtibat et al. 2024, AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers"
    return Composite("AttnLRP", f"{paper}, arXiv 2402.05602", rule, rule, stabilizer=stabilizer)


def cp_lrp(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Attention weights and the denominators of norms are constants, the rest epsilon."""
    rule = Epsilon(epsilon)
    paper = "Ali et al. 2022, XAI for Transformers: Better Explanations through Conservative Propagation"
    return Composite("CP-LRP", f"{paper}, arXiv 2202.07304", rule, rule, gates=("softmax",), stabilizer=stabilizer)
