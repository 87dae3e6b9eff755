"""The hub: addresses that mean it alone, and its errors that may pass with time."""

from __future__ import annotations

from jobs.errors import refuse

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
    """Whether an error of the hub's libraries may pass with time: no connection, or a busy hub."""
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
