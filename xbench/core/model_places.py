"""Answers an algorithm's questions about the model: the shapes at a place, and the layers it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Size, Tensor, nn

from xbench.core.layout import Layout
from xbench.core.needs import NotApplicable
from xbench.core.readouts import OutputPlace
from xbench.core.sites import Place, Site, check_visited, frozen

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AFFINE = (nn.Linear, *CONVOLUTIONS)
_CHANNELS_LAST = (nn.Embedding, nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.TransformerEncoderLayer)


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module: the site of its output, and the output's shape without the batch."""

    site: Site
    shape: Size


@contextmanager
def subtracted(module: nn.Module, values: Tensor) -> Iterator[None]:
    """The module gives so much less inside."""
    handle = module.register_forward_hook(lambda _module, _args, output: output - values)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Places:
    """The model's places, found by sending one sample through it.

    Attributes:
        model: the model.
        forward: sends the first sample through the model, or a function of each of its inputs.
        output: the model's whole output.
    """

    model: nn.Module
    forward: Callable[..., object]
    output: Place = field(default_factory=OutputPlace)
    _layouts: dict[Place, Layout] = field(default_factory=dict)
    _reached: dict[Place, bool] = field(default_factory=dict)
    _calls: list[ModuleCall] = field(default_factory=list)
    _shifts: dict[float, tuple[Site, Tensor]] = field(default_factory=dict)

    def layout(self, place: Place) -> Layout:
        """The layout of the tensors at a place. Raises ValueError if the forward pass does not reach it."""
        if place not in self._layouts:
            with frozen(self.model), torch.no_grad(), place.watch(self.model) as seen:
                self.forward()
            check_visited(seen, place, rows=1)
            self._layouts[place] = Layout.of(seen.tensors)
        return self._layouts[place]

    def has(self, place: Place) -> bool:
        """Whether the forward pass reaches the place and its tensors have a layout."""
        try:
            self.layout(place)
        except ValueError:
            return False
        return True

    def reached(self, place: Place) -> bool:
        """Whether the forward pass reaches the place, for any kind of tensors there."""
        if place not in self._reached:
            with frozen(self.model), torch.no_grad(), place.watch(self.model) as seen:
                self.forward()
            self._reached[place] = bool(seen.tensors)
        return self._reached[place]

    def calls(self, kinds: tuple[type[nn.Module], ...]) -> list[ModuleCall]:
        """The calls of modules of these types, in the order in which they return."""
        return [call for call in self._every_call() if isinstance(call.site.module(self.model), kinds)]

    def convolved(self) -> Site:
        """The last layer with the spatial size of the last convolution, i.e. after its activation and residual sum.

        Raises:
            NotApplicable: the model has no convolution.
        """
        if not self.calls(CONVOLUTIONS):
            raise NotApplicable("needs a convolutional layer: the model has none")
        positions = self.calls(CONVOLUTIONS)[-1].shape[1:]
        return [call.site for call in self._every_call() if len(call.shape) > 1 and call.shape[1:] == positions][-1]

    def last_hidden(self) -> Site:
        """The input of the last layer with weights. Raises NotApplicable if that is also the first one."""
        layers = self.calls(AFFINE)
        if len(layers) < 2:
            raise NotApplicable("needs a hidden layer: fewer than two linear or convolutional layers were seen")
        return replace(layers[-1].site, at="input")

    def shift(self, by: float) -> tuple[Site, Tensor]:
        """The first layer with weights, and what adding `by` to every input adds to what it gives, (1, ...).

        NotApplicable where taking that away again does not undo the shift: something else sees the input, or sees it
        first.
        """
        if by not in self._shifts:
            self._shifts[by] = self._shift(by)
        return self._shifts[by]

    def _shift(self, by: float) -> tuple[Site, Tensor]:
        layers = self.calls(AFFINE)
        if not layers or layers[0].site.call is not None:
            found = "called more than once" if layers else "none was seen"
            raise NotApplicable(f"needs a first linear or convolutional layer: {found}")
        site = layers[0].site

        def at(place: Place, change: Callable[[Tensor], Tensor]) -> Tensor:
            with frozen(self.model), torch.no_grad(), place.watch(self.model) as seen:
                self.forward(change)
            return seen.tensors[0].clone()

        added = at(site, lambda t: t + by) - at(site, torch.clone)
        # Tried at another point: at the first one it holds by definition.
        before = at(self.output, lambda t: t / 2)
        with subtracted(site.module(self.model), added):
            after = at(self.output, lambda t: t / 2 + by)
        if not torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max())):
            raise NotApplicable(f"needs a first layer through which all of the input passes: {site.layer!r} is none")
        return site, added

    def _every_call(self) -> list[ModuleCall]:
        """The calls of all modules that return one tensor, without the model itself."""
        if not self._calls:
            made: list[tuple[str, Size]] = []

            def ended(name: str, output: object) -> None:
                if isinstance(output, Tensor):
                    made.append((name, output.shape[1:]))

            handles = [
                module.register_forward_hook(lambda _module, _args, output, name=name: ended(name, output))
                for name, module in self.model.named_modules()
                if name
            ]
            try:
                with frozen(self.model), torch.no_grad():
                    self.forward()
            finally:
                for handle in handles:
                    handle.remove()
            numbers: Counter[str] = Counter()
            often = Counter(name for name, _ in made)
            for name, shape in made:
                numbers[name] += 1
                self._calls.append(ModuleCall(Site(name, call=numbers[name] if often[name] > 1 else None), shape))
        return self._calls

    def channels_last(self, site: Site, index: int = 0) -> bool:
        """Whether a tensor at the site has its channels last, as hidden states (positions, channels) do.

        The type of the module decides if it is known; otherwise two dimensions mean hidden states, more an image.
        """
        module = site.module(self.model)
        if isinstance(module, _CHANNELS_LAST):
            return True
        return not isinstance(module, CONVOLUTIONS) and len(self.layout(site).shapes[index]) == 2
