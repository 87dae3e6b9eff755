"""The origin of a request: the client's address and scheme, behind proxies that are trusted."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from flask import request

from webui.context import settings


def is_trusted(address: str) -> bool:
    """True if an address is that of a trusted proxy."""
    named = settings().trusted_proxies
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(
        found in ip_network(one.strip(), strict=False) for one in named.split(",") if one.strip()
    )


def client_address() -> str:
    """The client's address: the nearest one that is no trusted proxy's."""
    address = request.remote_addr or ""
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    while is_trusted(address) and forwarded:
        nearer = forwarded.pop().strip()
        try:
            address = str(ip_address(nearer))
        except ValueError:
            break
    return address


def external(path: str) -> str:
    """A path as an address that people open."""
    if public := settings().public_url:
        return public.rstrip("/") + path
    return f"{'https' if is_https() else 'http'}://{request.host}{path}"


def network_of(address: str) -> str:
    """The address of one client, or of IPv6 the network that it chooses addresses from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address


def is_https() -> bool:
    """True if the browser speaks HTTPS with a trusted proxy."""
    if not is_trusted(request.remote_addr or ""):
        return False
    return request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
