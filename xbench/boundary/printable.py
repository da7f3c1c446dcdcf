"""Prints to the terminal with control characters of labels, names and errors escaped."""

import os
import re
import sys
from typing import TextIO

# Escape sequences recolour, erase and retitle, and some terminals reply to them; direction marks reorder a line;
# lone surrogates cannot be encoded. Tab and newline are harmless.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with every control character as its escape, such as \x1b."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: object, file: TextIO | None = None) -> None:
    """Print a line to `file` (None: standard error)."""
    stream = sys.stderr if file is None else file
    try:
        print(printable(str(text)), file=stream, flush=True)
    except BrokenPipeError:
        unheard(stream)


def unheard(stream: TextIO) -> None:
    """Discard further output to `stream`, whose reader has closed it (as `| head` does), and let the work go on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    if stream is not sys.stderr:
        say("nobody reads the output any more; the rest of it is left out")
