"""Guided backpropagation and deconvolution: ReLUs pass only positive gradients; other operations are unchanged.

Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for Simplicity: The All Convolutional Net", 2014,
https://arxiv.org/abs/1412.6806 (guided); Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks",
2014, https://arxiv.org/abs/1311.2901 (deconvolution).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from xbench.rules.override import Call, Override, RuleFunction, Unknown, tensors_in

Pass = Literal["guided", "deconvolution"]
_TITLES = {"guided": "guided backpropagation", "deconvolution": "deconvolution"}


@dataclass(frozen=True)
class PositiveGradients:
    """Backward rule: at each ReLU y = max(x, 0) the gradient g becomes max(g, 0), where x > 0 ("guided") or everywhere.

    Both papers and other implementations treat only ReLU: ReLU6, leaky and smooth activations keep their plain
    gradients. A model without any ReLU therefore has its plain gradient.

    Attributes:
        kind: "guided" or "deconvolution", the latter also where x <= 0.
        unknown: at steps whose ReLUs cannot be seen (TorchScript, an autograd.Function), "raise" UnknownOperation, or
            "warn" and use their plain gradient.
    """

    merges_affine: ClassVar[bool] = True

    kind: Pass
    unknown: Unknown = "raise"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Pass):
            raise ValueError(f"kind must be 'guided' or 'deconvolution', got {self.kind!r}")
        if self.unknown not in get_args(Unknown):
            raise ValueError(f"unknown must be 'raise' or 'warn', got {self.unknown!r}")

    @property
    def key(self) -> str:
        """By all its fields."""
        return repr(self)

    def apply(self) -> Override:
        """Activate the rule: a context manager for one forward pass and its readout."""
        return _Rectifiers(_TITLES[self.kind], guided=self.kind == "guided", unknown=self.unknown)


class _Rectifiers(Override):
    """Replaces every call of relu, in any form, and remembers all results, to detect results of unseen code."""

    def __init__(self, title: str, *, guided: bool, unknown: Unknown) -> None:
        super().__init__(unknown)
        self.title = title
        self._guided = guided
        self._seen = WeakTensorKeyDictionary()

    def derives(self, tensor: Tensor) -> bool:
        return tensor in self._seen

    def handle(self, call: Call) -> object:
        result = self._rectified(call) if call.name == "relu" else call.run()
        for tensor in tensors_in((result, call.args[0]) if call.in_place else result):
            self._seen[tensor] = True
        return result

    def _rectified(self, call: Call) -> Tensor:
        result: Tensor = _Rectified.apply(call.args[0], self._guided, call.in_place)
        return result


class _Rectified(RuleFunction):
    """max(x, 0); backward: max(gradient, 0), with `guided` only where x > 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, guided: bool, in_place: bool) -> Tensor:  # noqa: ANN401 - autograd's own
        ctx.save_for_backward(*([x > 0] if guided else []))
        if not in_place:
            return x.clamp(min=0)
        ctx.mark_dirty(x)
        return x.clamp_(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        positive = grad.clamp(min=0)
        for active in ctx.saved_tensors:
            positive.mul_(active)
        return positive, None, None
