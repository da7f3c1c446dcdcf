"""Settings for a faster evaluation of the model, which do not change the explained quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from xbench.core.names import Compile, Precision

Rewriting = bool | Literal["always", "exact"]


@dataclass(frozen=True)
class Speed:
    """The allowed means of a faster evaluation; `engine.rewrites.trial` verifies each.

    Attributes:
        precision: fp32 uses the model unchanged; bf16 evaluates under autocast to bfloat16, which changes numbers in
            the third digit. Evaluations under a backward rule (DeepLIFT, LRP, ...) are not autocast.
        compile: a mode of torch.compile, for evaluations without a layer and without a backward rule; None: off.
        rewrites: whether to use faster forms with the same numbers (batch-norm folded into convolutions, images in
            channels-last order, the front before a layer skipped, padding trimmed): True or False. "exact" drops forms
            that change the gradient of a tried sample by more than 1e-5 of its largest value (1e-9 in float64), as
            ReLUs that switch at their kink do. In Python a call for few rows uses the model unchanged, because a trial
            costs more than it gains; "always" runs the trial anyway.
        keep_memory: whether, on a CPU, freed memory stays with the process (up to 1 GiB) instead of returning to the
            system after every evaluation. It is a process-wide setting: the command sets it, a call in Python only on
            request.
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
