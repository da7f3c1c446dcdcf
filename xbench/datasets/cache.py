"""The directories of cached models and data, and the checksum that names their contents."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """`$XBENCH_CACHE`, else the user's cache directory for xbench. It need not exist yet."""
    return Path(os.environ.get("XBENCH_CACHE") or platformdirs.user_cache_dir("xbench"))


def data_directory() -> Path:
    """`$XBENCH_DATA`, else `data` in the cache directory. It need not exist yet."""
    return Path(os.environ.get("XBENCH_DATA") or cache_directory() / "data")


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
