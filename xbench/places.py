"""What an algorithm may ask about the model: the shapes at a place, and which layers there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from xbench.layout import Layout
from xbench.sites import Place, Site, check_visited, frozen

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CHANNELS_LAST = (nn.Embedding, nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.TransformerEncoderLayer)


class NotApplicable(ValueError):
    """A method does not suit this model or these samples, whatever its parameters: its cells are skipped."""


@dataclass(frozen=True)
class Places:
    """The model's places, found by sending one sample through it.

    Attributes:
        model: the model.
        forward: sends the first sample through it.
    """

    model: nn.Module
    forward: Callable[[], object]
    _layouts: dict[Place, Layout] = field(default_factory=dict)
    _sites: dict[tuple[type[nn.Module], ...], list[Site]] = field(default_factory=dict)

    def layout(self, place: Place) -> Layout:
        """The tensors there. ValueError when the forward pass never comes there."""
        if place not in self._layouts:
            with frozen(self.model), torch.no_grad(), place.watch(self.model) as seen:
                self.forward()
            check_visited(seen, place, rows=1)
            self._layouts[place] = Layout.of(seen.tensors)
        return self._layouts[place]

    def has(self, place: Place) -> bool:
        """Whether the forward pass comes there."""
        try:
            self.layout(place)
        except ValueError:
            return False
        return True

    def calls(self, kinds: tuple[type[nn.Module], ...]) -> list[Site]:
        """The outputs of the modules of these types, in the order in which the forward pass calls them."""
        if kinds not in self._sites:
            self._sites[kinds] = self._calls(kinds)
        return self._sites[kinds]

    def _calls(self, kinds: tuple[type[nn.Module], ...]) -> list[Site]:
        called: list[str] = []
        handles = [
            module.register_forward_hook(lambda _module, _args, _output, name=name: called.append(name))
            for name, module in self.model.named_modules()
            if isinstance(module, kinds)
        ]
        try:
            with frozen(self.model), torch.no_grad():
                self.forward()
        finally:
            for handle in handles:
                handle.remove()
        seen: dict[str, int] = {}
        sites = []
        for name in called:
            seen[name] = seen.get(name, 0) + 1
            sites.append(Site(name, call=seen[name] if called.count(name) > 1 else None))
        return sites

    def last(self, kinds: tuple[type[nn.Module], ...], what: str) -> Site:
        """The last of them; NotApplicable `needs {what}` when there is none."""
        sites = self.calls(kinds)
        if not sites:
            raise NotApplicable(f"needs {what}: the model has none")
        return sites[-1]

    def channels_last(self, site: Site) -> bool:
        """Whether the tensors there have their channels in the last dimension, as hidden states (positions, channels).

        By the kind of module where that tells; else two dimensions are taken for hidden states, more for an image.
        """
        module = site.module(self.model)
        if isinstance(module, _CHANNELS_LAST):
            return True
        return not isinstance(module, CONVOLUTIONS) and len(self.layout(site).shapes[0]) == 2
