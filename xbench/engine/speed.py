"""How fast the model may be made: settings for what changes how it is evaluated, not what is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from xbench.core.names import Compile, Precision

Rewriting = bool | Literal["always", "exact"]


@dataclass(frozen=True)
class Speed:
    """What may be done to evaluate the model faster; see `engine.trial` for how each step is verified.

    Attributes:
        precision: fp32 takes the model as it is; bf16 evaluates under autocast to bfloat16, which changes numbers in
            the third digit. Evaluations under a backward rule (DeepLIFT, LRP, ...) are not autocast.
        compile: a mode of torch.compile, for evaluations without a layer and without a backward rule; None: not.
        rewrites: change the model where that gives the same numbers (batch-norm folded into convolutions, images in
            channels-last order, the front before a layer left out, padding left out): True or False. "exact": not
            where the gradient of a sample that was tried differs by more than 1e-5 of its largest value (1e-9 in
            float64), as it does where ReLUs switch at their kink. In Python a call for few rows leaves the model as it
            is, since a trial costs more than it gains; "always" does not.
        keep_memory: on a CPU, freed memory stays with the process (up to 1 GiB) instead of going back to the system
            after every evaluation. It is a setting of the whole process, which the command makes and a call in Python
            does not unless asked.
    """

    precision: Precision = "fp32"
    compile: Compile | None = None
    rewrites: Rewriting = True
    keep_memory: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be fp32 or bf16, got {self.precision!r}")
        if self.compile is not None and self.compile not in get_args(Compile):
            modes = ", ".join(get_args(Compile))
            raise ValueError(f"compile must be null or a mode of torch.compile ({modes}), got {self.compile!r}")
        if not isinstance(self.rewrites, bool) and self.rewrites not in ("always", "exact"):
            raise ValueError(f"rewrites must be true, false, exact or always, got {self.rewrites!r}")
