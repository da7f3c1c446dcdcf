"""The keys of the command that are not components, with their types and ranges; defaults are in conf/."""

import re
from dataclasses import dataclass, fields
from typing import Literal

from xbench.boundary.files import file_name
from xbench.config import devices
from xbench.core.names import (
    BASELINES,
    CHANNELS,
    NORMALISERS,
    SIGNS,
    SITE,
    SITE_FORMS,
    TARGETS,
    Compile,
    Output,
    Precision,
)
from xbench.modalities import FEATURES

GROUPS = ("algorithm", "dataset", "metric", "model", "run", "experiment")
COMPONENTS = ("algorithm", "metric", "control")  # groups with a dictionary of components by name
SINGLE = ("model", "dataset")  # groups with one component
ONE_PER_COMMAND = ("name", "store", "reports", "report", "display", "plan", "agreement")  # keys that cannot be swept
_BYTES = r"\s*(?=.*[1-9])\d+(\.\d+)?\s*([kmgt]i?)?b?\s*"


@dataclass(frozen=True)
class Run:
    """Settings of the execution: `run.*`."""

    rows: int | Literal["auto"]
    memory: int | str
    block: int
    devices: str | list[str]
    timing: Literal["exclusive", "shared"]
    timeout: float | None
    precision: Precision
    compile: Compile | None
    rewrites: bool | Literal["exact"]
    consistency: Literal["warn", "stop", "ignore"]
    id: str | None
    beside: int

    def __post_init__(self) -> None:
        if self.rows != "auto" and self.rows < 1:
            raise ValueError(f"rows must be at least 1, or auto, got {self.rows}")
        if self.block < 1:
            raise ValueError(f"block must be at least 1 sample, got {self.block}")
        if self.memory != "auto" and not re.fullmatch(_BYTES, str(self.memory), re.IGNORECASE):
            raise ValueError(f"memory must be auto, a number of bytes or a text such as 2GiB, got {self.memory!r}")
        devices.check(self.devices)
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"timeout must be a number of seconds, or null for none, got {self.timeout:g}")
        if self.beside < 0:
            raise ValueError(f"beside must be 0 or more, got {self.beside}")


@dataclass(frozen=True)
class Settings:
    """The request and the folders of results: the keys at the top of the config."""

    n: int | None
    seed: int
    target: int | list[int] | Literal["predicted", "label"]
    output: Output
    layer: str | None
    read: str | None
    neuron: list[str | int | list[int]] | None
    features: str | None
    baseline: str | None
    postprocess: str | None
    name: str
    store: str
    reports: str
    report: bool
    reuse: Literal["missing", "retry-failed", "never", "only"]
    controls: bool
    agreement: float | None
    plan: bool
    display: Literal["auto", "rich", "plain", "json", "none"]

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise ValueError(f"n must be at least 1, or null for all samples, got {self.n}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        numbers = self.target if isinstance(self.target, list) else [self.target] if self.target not in TARGETS else []
        if numbers != [n for n in numbers if isinstance(n, int) and n >= 0] or self.target == []:
            raise ValueError(f"target must be predicted, label, or one or several numbers from 0 on, got {self.target}")
        for key in ("layer", "read"):
            _site(key, getattr(self, key))
        self._check_neuron()
        if self.features is not None and self.features not in FEATURES:
            raise ValueError(f"features must be {', '.join(FEATURES)} or null, got {self.features!r}")
        if self.baseline is not None and self.baseline not in BASELINES and not self.baseline.endswith(".npy"):
            raise ValueError(
                f"baseline must be {', '.join(BASELINES)}, the path of a .npy file or null, got {self.baseline!r}"
            )
        processing(self.postprocess)
        for key in ("store", "reports"):
            if not getattr(self, key).strip():
                raise ValueError(f"{key} must name a folder, got {getattr(self, key)!r}")
        if self.agreement is not None and not (0 < self.agreement < 1 or self.agreement in range(1, 1 << 31)):
            raise ValueError(
                f"agreement must be a whole number of features from 1 on, a share between 0 and 1, or null, "
                f"got {self.agreement:g}"
            )
        file_name(self.name)

    def _check_neuron(self) -> None:
        if self.neuron is None:
            return
        layer, *index = self.neuron
        places = index[0] if len(index) == 1 and isinstance(index[0], list) else index
        if not isinstance(layer, str) or len(index) != 1 or not places or not all(type(i) is int for i in places):
            raise ValueError(f"neuron must be [LAYER, INDEX] or [LAYER, [INDEX, ...]], got {self.neuron}")
        _site("neuron", layer)


def processing(text: str | None) -> dict[str, str]:
    """`postprocess` as parameters of metrics: "absolute+l2+max" is sign, channels and normaliser."""
    scales = [name for name in NORMALISERS if name != "none"]
    kinds = {"sign": SIGNS, "channels": CHANNELS, "normaliser": scales}
    found: dict[str, str] = {}
    for part in [] if text is None else text.split("+"):
        kind = next((kind for kind, known in kinds.items() if part in known), None)
        if kind is None or kind in found:
            raise ValueError(
                f"postprocess must be one of {', '.join(SIGNS)}, one of {', '.join(CHANNELS)}, one of "
                f"{', '.join(scales)}, joined by +, or null, got {text!r}"
            )
        found[kind] = part
    return found


def _site(key: str, text: str | None) -> None:
    found = None if text is None else SITE.fullmatch(text)
    if text is not None and (found is None or not found["layer"]):
        raise ValueError(f"{key} must be {SITE_FORMS}, got {text!r}")


SETTINGS = tuple(field.name for field in fields(Settings))
RUN = tuple(field.name for field in fields(Run))
KEYS = (*SETTINGS, "run", *COMPONENTS, *SINGLE)
