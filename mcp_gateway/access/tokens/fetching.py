"""One fetch of an issuer's keys: over https or from this machine, straight, small and soon.

No redirect is followed (it could lead into the own network), no proxy of the environment is
asked, nothing is unpacked, and the whole has one deadline by the wall clock.

Source: RFC 9111 section 5.2.2.1 (max-age).
"""

import re
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from mcp_gateway.settings.safety import is_loopback

DEADLINE_S: Final = 5.0
LARGEST_BYTES: Final = 256 * 1024
_PLAIN: Final = re.compile(r"https?://[\x21-\x7e]+\Z", re.IGNORECASE)
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})\"?(?=$|[\s,])", re.IGNORECASE)


class FetchFailed(Exception):
    """Nothing usable came; says why in words of ours."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body, and for how many seconds its server calls it fresh; None where it does not say."""

    body: bytes
    fresh_s: int | None


def unfit_url(url: object) -> str | None:
    """Return why keys can't be fetched from there, None where they can."""
    if not isinstance(url, str) or not _PLAIN.match(url):
        return "an https:// URL"
    try:
        parts = urlsplit(url)
        reachable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable:
        return "an https:// URL"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "a URL without user, password and fragment in it"
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "https: over http anybody on the way could hand out keys"
    return None


async def fetch(url: str, ca_file: Path | None = None, deadline_s: float = DEADLINE_S) -> Fetched:
    """Get what stands at ``url``.

    Args:
        ca_file: the PEM certificates that its server is checked by, instead of the public ones.

    Raises:
        FetchFailed: no answer in time, another status than 200, or too large.
    """
    try:
        with anyio.fail_after(deadline_s):
            # Reading the certificates takes 50 ms of computing, which would block all calls.
            client = await anyio.to_thread.run_sync(_client, url, ca_file)
            async with client, client.stream("GET", url) as response:
                return await _read(response)
    except TimeoutError:
        raise FetchFailed(f"no answer within {deadline_s:g} seconds") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise FetchFailed(f"no connection ({type(error).__name__})") from None
    except (OSError, ValueError) as error:
        raise FetchFailed(f"ca_file or address unusable ({type(error).__name__})") from None


def _client(url: str, ca_file: Path | None) -> httpx2.AsyncClient:
    # A connection in clear text (to this machine alone) checks no certificates.
    checked: ssl.SSLContext | bool = url.lower().startswith("https:")
    if ca_file is not None:
        checked = ssl.create_default_context(cafile=str(ca_file))
    return httpx2.AsyncClient(
        trust_env=False, follow_redirects=False, verify=checked, timeout=None,
        headers={"accept": "application/jwk-set+json, application/json",
                 "accept-encoding": "identity"},
    )  # fmt: skip


async def _read(response: httpx2.Response) -> Fetched:
    if response.has_redirect_location:
        raise FetchFailed("a redirect, which is not followed: name the last address")
    if response.status_code != HTTPStatus.OK:
        raise FetchFailed(f"status {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("a packed answer, which was not asked for")
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LARGEST_BYTES:
            raise FetchFailed(f"more than {LARGEST_BYTES} bytes")
    return Fetched(body, _fresh_s(response.headers.get("cache-control", "")))


def _fresh_s(cache_control: str) -> int | None:
    if re.search(r"(?:^|[\s,])no-(?:cache|store)(?=$|[\s,=])", cache_control, re.IGNORECASE):
        return 0
    told = _MAX_AGE.search(cache_control)
    return int(told[1]) if told else None
