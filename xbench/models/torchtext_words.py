"""The vocabulary of a text model, chosen by torchtext."""

from __future__ import annotations

from collections.abc import Sequence

from xbench.models.vocabulary import SPECIAL, Vocabulary


def frequent(texts: Sequence[str], size: int, min_count: int) -> Vocabulary:
    """torchtext's vocabulary of the `size` most frequent words in lower case, with torchtext's ids.

    Raises ModuleNotFoundError if torchtext is not installed.
    """
    import torchtext

    torchtext.disable_torchtext_deprecation_warning()
    from torchtext.vocab import build_vocab_from_iterator

    rows = (text.lower().split() for text in texts)
    found = build_vocab_from_iterator(rows, min_freq=min_count, specials=list(SPECIAL), max_tokens=size)
    return Vocabulary(tuple(found.get_itos()))
