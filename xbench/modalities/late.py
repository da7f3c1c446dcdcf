"""The modules of `xbench.modalities.parts` by name, imported at the first call of one of their functions.

They need torch, and a record is read where only its names are wanted. For a type checker they are the modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xbench.modalities.parts import drawings, graphs, groups
else:
    from dataclasses import dataclass
    from importlib import import_module

    @dataclass(frozen=True)
    class LateFunction:
        """The function `name` of `module`, which is imported when it is called."""

        module: str
        name: str

        def __call__(self, *given: object) -> object:
            return getattr(import_module(self.module), self.name)(*given)

    @dataclass(frozen=True)
    class LateModule:
        """A module whose attributes are functions that import it."""

        module: str

        def __getattr__(self, name: str) -> LateFunction:
            if name.startswith("__"):  # asked of any object, such as by copy
                raise AttributeError(name)
            return LateFunction(self.module, name)

    drawings, graphs, groups = (
        LateModule(f"xbench.modalities.parts.{name}") for name in ("drawings", "graphs", "groups")
    )

__all__ = ["drawings", "graphs", "groups"]
