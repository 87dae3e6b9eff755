"""Our own host names, and the requests that a page of another site has made."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from flask import request

from webui.accounts.proxies import is_https


def is_host_of(host: str, names: Collection[str]) -> bool:
    """True if a Host header matches one of `names`; `.example.org` matches every subdomain."""
    own = _address(f"//{host}").hostname or ""
    return any(
        own == name.removeprefix(".") or (name.startswith(".") and own.endswith(name))
        for name in names
    )


def is_address(host: str) -> bool:
    """True if a Host header is an IP address and no name."""
    try:
        ip_address(_address(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True


def is_foreign() -> bool:
    """True if the browser sends this request for a page of another site."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    given = _address(origin)
    # The scheme is known behind a trusted proxy alone: another one may end TLS before us.
    return given.netloc != request.host or (is_https() and given.scheme != "https")


def _address(given: str) -> SplitResult:
    """The parts of an address that a client sent; none of one that is no address."""
    try:
        return urlsplit(given)
    except ValueError:  # brackets without an IPv6 address in them
        return urlsplit("")
