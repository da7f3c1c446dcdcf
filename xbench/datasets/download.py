"""Downloads files with a checksum, and gives up at once without a network."""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path

from xbench.boundary.files import write_atomic
from xbench.datasets.cache import cache_directory

log = logging.getLogger("xbench")

CONNECT_SECONDS = 5.0  # an offline machine must not wait longer than this
DOWNLOAD_SECONDS = 1800.0
RETRY_SECONDS = 600.0  # a failed download is not tried again by other jobs for this long


class DownloadError(OSError):
    """A file could not be downloaded, or its checksum is wrong."""


def download(url: str, sha256: str, *, patience: bool = False) -> bytes:
    """Download `url` and check its sha256 against `sha256`, a full hash or a prefix as in torchvision's names.

    A failure is remembered in the cache directory for 10 minutes, so that the jobs of a sweep do not each wait for an
    absent network; with `patience` the download is tried anyway. Raises DownloadError.
    """
    if os.environ.get("XBENCH_OFFLINE", "") not in ("", "0"):
        raise DownloadError(f"XBENCH_OFFLINE is set, so {url} was not tried")
    marker = cache_directory() / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.failed"
    if not patience and _recent(marker):
        raise DownloadError(marker.read_text(encoding="utf-8"))
    try:
        content = _fetch(url)
        found = hashlib.sha256(content).hexdigest()
        if not found.startswith(sha256):
            raise DownloadError(f"checksum mismatch: {url} has sha256 {found}, expected {sha256}")
    except DownloadError as error:
        _remember(marker, str(error))
        raise
    marker.unlink(missing_ok=True)
    return content


def _recent(marker: Path) -> bool:
    return marker.is_file() and time.time() - marker.stat().st_mtime < RETRY_SECONDS


def _remember(marker: Path, reason: str) -> None:
    try:
        write_atomic(marker, reason.encode())
    except OSError as error:  # in a read-only cache the failure is not remembered
        log.debug("could not write %s: %s", marker, error)


def _fetch(url: str) -> bytes:
    """Read `url` in a daemon thread: name resolution has no timeout and must not hold up the run."""
    connected = threading.Event()
    answer: queue.Queue[bytes | Exception] = queue.Queue()

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
                connected.set()
                answer.put(response.read())
        except (OSError, HTTPException) as error:
            answer.put(error)
        finally:
            connected.set()

    threading.Thread(target=work, daemon=True, name="xbench-download").start()
    if not connected.wait(CONNECT_SECONDS):
        raise DownloadError(f"no answer from {url} within {CONNECT_SECONDS:.0f} s")
    try:
        result = answer.get(timeout=DOWNLOAD_SECONDS)
    except queue.Empty:
        raise DownloadError(f"{url} did not arrive within {DOWNLOAD_SECONDS:.0f} s") from None
    if isinstance(result, Exception):
        raise DownloadError(f"could not download {url}: {result}") from result
    return result
