"""Requests signed by hand: RFC 9421's signature base without the library under test."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mcp_gateway.access.keyring import Key, Keyring
from mcp_gateway.access.signatures import SignedRequest
from tests.support.tokens import ISSUER, NOW

KEY = "a-signing-key-of-the-tests-0123456789abcdef"
KEY_ID = "signal-agent"
OTHER_KEY = "the-key-of-another-agent-0123456789abcdefgh"
OTHER_ID = "risk-agent"
NONCE = "AAECAwQFBgcICQoLDA0ODw"
BODY = b'{"pair":"BTC/USDT","side":"buy","amount":"0.001"}'
COMPONENTS = ("@method", "@authority", "@path", "content-digest")
PARAMETERS: dict[str, int | str] = {
    "created": NOW, "keyid": KEY_ID, "alg": "hmac-sha256", "nonce": NONCE, "tag": "mcp-gateway",
}  # fmt: skip
KEYRING = Keyring(
    keys=[
        Key(KEY_ID, ISSUER, KEY_ID, KEY.encode()),
        Key(OTHER_ID, ISSUER, OTHER_ID, OTHER_KEY.encode()),
    ]
)


def content_digest(body: bytes, algorithm: str = "sha-256") -> str:
    """Return a Content-Digest field of one member."""
    raw = hashlib.new(algorithm.replace("-", ""), body).digest()
    return f"{algorithm}=:{base64.b64encode(raw).decode()}:"


def signed(
    *,
    key: str = KEY,
    method: str = "POST",
    host: str = "127.0.0.1:8000",
    path: str = "/api/v1/orders",
    query: bytes = b"",
    body: bytes = BODY,
    digest: str | None = None,
    components: Sequence[str] = COMPONENTS,
    label: str = "gw",
    without: tuple[str, ...] = (),
    signer: Callable[[bytes], bytes] | None = None,
    **parameters: int | str,
) -> SignedRequest:
    """Return a request with a genuine signature over ``components``, as varied.

    Args:
        signer: signs the base in the place of HMAC with ``key``.
    """
    values = {
        "@method": method, "@authority": host, "@path": path, "@scheme": "http",
        "content-digest": content_digest(body) if digest is None else digest,
    }  # fmt: skip
    told = {name: value for name, value in (PARAMETERS | parameters).items() if name not in without}
    covered = _covered(components, told)
    lines = [f'"{name}": {values[name]}' for name in components]
    base = "\n".join([*lines, f'"@signature-params": {covered}'])
    if signer is None:
        signer = partial(hmac.digest, key.encode(), digest="sha256")
    signature = base64.b64encode(signer(base.encode())).decode()
    headers = [
        (b"host", host.encode()),
        (b"content-type", b"application/json"),
        (b"content-digest", values["content-digest"].encode()),
        (b"signature-input", f"{label}={covered}".encode()),
        (b"signature", f"{label}=:{signature}:".encode()),
    ]
    return SignedRequest(method, "http", host, path.encode(), query, headers, body)


def _covered(components: Sequence[str], parameters: Mapping[str, int | str]) -> str:
    names = " ".join(f'"{name}"' for name in components)
    told = "".join(
        f";{name}={value}" if isinstance(value, int) else f';{name}="{value}"'
        for name, value in parameters.items()
    )
    return f"({names}){told}"
