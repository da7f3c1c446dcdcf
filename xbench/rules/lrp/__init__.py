"""Layer-wise relevance propagation for any model made of known torch operations, unmodified.

`rules` has the rules of linear layers, `presets` assigns them to layers, `operations` and `attention` treat all other
operations, and `rule` combines them.
"""

from xbench.rules.lrp.presets import (
    Composite,
    attn_lrp,
    cp_lrp,
    epsilon_alpha2_beta1,
    epsilon_alpha2_beta1_flat,
    epsilon_gamma_box,
    epsilon_only,
    epsilon_plus,
    epsilon_plus_flat,
)
from xbench.rules.lrp.rule import LayerwiseRelevance
from xbench.rules.lrp.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Identity,
    LayerRule,
    WSquare,
    ZBox,
    ZPlus,
)

__all__ = [
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Identity",
    "LayerRule",
    "LayerwiseRelevance",
    "WSquare",
    "ZBox",
    "ZPlus",
    "attn_lrp",
    "cp_lrp",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "epsilon_only",
    "epsilon_plus",
    "epsilon_plus_flat",
]
