"""Addresses that a token may be sent to: https, or this very machine."""

from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

MCP_PATH = "/mcp"


def base(url: str) -> str:
    """Return a gateway's address without path and trailing slash; ``/mcp`` may stand behind it.

    Raises:
        ValueError: it is no address of a gateway, or tokens would travel in the open.
    """
    whole = endpoint(url)
    if urlsplit(whole).path not in {"", "/", MCP_PATH, f"{MCP_PATH}/"}:
        raise ValueError("the gateway's own address, such as https://gateway.example")
    scheme, place, *_ = urlsplit(whole)
    return f"{scheme}://{place}"


def mcp(url: str) -> str:
    """Return where a gateway answers MCP, of its own address or of that one."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=MCP_PATH)) if parts.path in {"", "/"} else url


def endpoint(url: str) -> str:
    """Return one endpoint's address as it is.

    Raises:
        ValueError: no http or https, a user, a query or a fragment in it, or http:// to another
            machine, where anybody on the way reads the token.
    """
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError beyond all ports
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an https:// URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a URL without user, password, query and fragment in it")
    if parts.scheme == "http" and not on_loopback(parts.hostname):
        raise ValueError("https://; http:// is for this machine alone (127.0.0.1, localhost)")
    return urlunsplit(parts)


def on_loopback(host: str) -> bool:
    """Tell whether a host name means this machine, whatever a name server says."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
