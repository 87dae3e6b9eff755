"""The hub: addresses that mean it alone, and its errors that may pass with time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from jobs.errors import refuse

T = TypeVar("T")

SECONDS = 5.0
"""Longest wait for the hub while somebody waits for a check."""
AWAY_SECONDS = 30.0
"""After a call that was too slow the hub is not asked again for so long."""
_free = threading.BoundedSemaphore(8)
"""Calls that are under way, those included that nobody waits for any more."""
_away_until = 0.0

FILE_FORMATS = (
    *("csv", "json", "pandas", "parquet", "arrow", "text", "conll", "imagefolder", "audiofolder"),
    *("videofolder", "meshfolder", "pdffolder", "niftifolder", "webdataset", "xml", "hdf5"),
    *("eval", "lance", "tsfile", "iceberg", "vortex", "mmcif", "pdb", "genbank", "fasta", "fastq"),
    "harbor",
)
"""Names that `datasets` takes for a format of files in the working directory, not for a dataset;
a test holds the list."""


def dataset_address(name: str) -> str:
    """The address of a dataset on the hub, and of nothing else.

    Under a bare name, `datasets` would read a folder of that name in the working directory. Raises
    InputError for names of file formats.
    """
    if name in FILE_FORMATS:
        remedy = (
            "Give owner/name, as in nyu-mll/glue, or data.path for a file in an allowed folder."
        )
        raise refuse("data.dataset", name, "is a file format, not a dataset on the hub", remedy)
    return f"hf://datasets/{name}"


_BUSY = (408, 425, 429)
"""HTTP: request timeout, too early, too many requests."""


def hub_is_away(error: BaseException) -> bool:
    """True if an error of the hub's libraries may pass with time: no connection, or a busy hub."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled  # slow

    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(isinstance(one, OfflineModeIsEnabled) for one in causes):
        return False  # switched off here: waiting would not help
    for one in causes:
        if isinstance(one, HfHubHTTPError):
            status = getattr(one.response, "status_code", 0)
            return status in _BUSY or status >= 500
    return any(isinstance(one, ConnectionError | TimeoutError | HTTPError) for one in causes)


def in_time(call: Callable[[], T]) -> T:
    """The result of a call to the hub, which goes on in a thread of its own if it takes too long.

    Raises TimeoutError, at once if the hub was too slow a moment ago, and the call's own errors.
    """
    global _away_until
    late, free = f"the hub did not answer within {SECONDS:g} s", _free
    if time.monotonic() < _away_until or not free.acquire(blocking=False):
        raise TimeoutError(late)
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.put((None, error))
        finally:
            free.release()

    threading.Thread(target=run, name="hub", daemon=True).start()
    try:
        result, error = done.get(timeout=SECONDS)
    except queue.Empty:
        _away_until = time.monotonic() + AWAY_SECONDS
        raise TimeoutError(late) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
