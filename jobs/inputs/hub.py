"""Which errors of the hub's libraries may pass with time."""

from __future__ import annotations

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
