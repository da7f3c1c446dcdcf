"""Optional libraries that may be absent or fail to load: one line names the library and the extra that installs it.

Each release of torchaudio and torchvision is built for one release of torch; a pair that does not load is named.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from xbench.boundary.attempt import message

log = logging.getLogger("xbench")

PAIRED = ("torchaudio", "torchvision")
EXTRAS = {  # extra -> the names of its library and of the module to import
    "audio": {"torchaudio": "torchaudio"},
    "captum": {"Captum": "captum"},
    "graph": {"networkx": "networkx", "torch_geometric": "torch_geometric"},
    "superpixels": {"scikit-image": "skimage"},
    "timm": {"timm": "timm"},
    "video": {"PyAV": "av"},
}
_told: set[str] = set()


def broken(error: BaseException) -> str | None:
    """One line that names the library whose import failed with `error`, with advice; None for any other failure."""
    cause: BaseException | None = error
    while cause is not None:
        for frame in traceback.extract_tb(cause.__traceback__):
            # If a library fails in use, its frames are functions, not a module being executed.
            name = _library(frame.filename) if frame.name == "<module>" else None
            if name is not None:
                return (
                    f"{name}{_release(name)} does not load beside torch{_release('torch')} "
                    f"({type(cause).__name__}: {_first_line(cause)}); install releases that belong together: "
                    "pip install --upgrade torch torchvision torchaudio"
                )
        cause = cause.__cause__ or cause.__context__
    return None


@contextlib.contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Wrap an import that needs the extra `name`; if the library is absent, the error says how to install it.

    Raises:
        ModuleNotFoundError: `what` needs the library.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        for library, module in EXTRAS[name].items():
            if error.name is not None and error.name.split(".")[0] == module:
                line = f"{what} needs {library}: pip install 'xbench[{name}]'"
                raise ModuleNotFoundError(line, name=error.name) from error
        raise


@contextlib.contextmanager
def for_transformers() -> Iterator[None]:
    """Wrap an import or use of transformers; libraries that do not load are hidden from it, with a warning.

    transformers imports torchaudio and torchvision whenever they are installed, even for a text model.
    """
    hidden = []
    for name in PAIRED:
        if name in sys.modules or find_spec(name) is None:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # an import may raise anything
            if name not in _told:
                log.warning("%s", broken(error) or f"{name} does not load: {type(error).__name__}: {message(error)}")
            _told.add(name)
            sys.modules[name] = None  # type: ignore[assignment]  # None marks a module that cannot be imported
            hidden.append(name)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Inside the block, each message of the hub is printed once; its logger also propagates to the root logger."""
    from huggingface_hub.utils.logging import get_logger

    hub = get_logger("huggingface_hub")
    handlers, hub.handlers[:] = hub.handlers[:], []
    try:
        yield
    finally:
        hub.handlers[:] = handlers


@contextlib.contextmanager
def no_loading_bars() -> Iterator[None]:
    """Inside the block, transformers shows no progress bar for loading weights; download bars stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging as bars

    shown, downloads = bars.is_progress_bar_enabled(), not are_progress_bars_disabled()
    bars.disable_progress_bar()
    if downloads:
        enable_progress_bars()  # transformers disables the download bars together with its own
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _library(filename: str) -> str | None:
    """The paired library that a file belongs to."""
    for name in PAIRED:
        spec = find_spec(name)
        if spec is not None and any(Path(filename).is_relative_to(at) for at in spec.submodule_search_locations or ()):
            return name
    return None


def _release(name: str) -> str:
    try:
        return f" {version(name)}"
    except PackageNotFoundError:
        return ""


def _first_line(error: BaseException) -> str:
    return (message(error).strip().splitlines() or ["no message"])[0]
