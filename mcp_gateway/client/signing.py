"""An httpx2 authentication that any MCP client can use: bearer token and signed bytes.

    auth = GatewayAuth(token, key=key, key_id="signal-agent")
    async with httpx2.AsyncClient(auth=auth) as client: ...

The key is the text of an HMAC secret, or an Ed25519 private key (its PEM, or the object).

Source: RFC 9421 (label ``gw``, tag ``mcp-gateway``), RFC 9530 (Content-Digest).
"""

import secrets
from collections.abc import Callable, Generator
from typing import Final

import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver
from http_message_signatures.algorithms import ED25519, HMAC_SHA256, HTTPSignatureAlgorithm
from http_message_signatures.httpx2 import adapt_message

from mcp_gateway.client.tokens import TokenUnavailable, sendable
from mcp_gateway.clock import Clock

LABEL: Final = "gw"
TAG: Final = "mcp-gateway"
COMPONENTS: Final = ("@method", "@authority", "@path", "content-digest")
METHODS: Final = ("POST", "DELETE")
SHORTEST_KEY_BYTES: Final = 32  # the gateway takes no shorter secret
NONCE_BYTES: Final = 16  # 128 bit; the gateway asks for 96
PEM: Final = "-----BEGIN "  # RFC 7468; how no secret made by a gateway begins
SigningKey = str | Ed25519PrivateKey
SigningMaterial = bytes | Ed25519PrivateKey


class GatewayAuth(httpx2.Auth):
    """Adds the bearer token to every request and, given a key, a signature to what is no read.

    Every POST and DELETE is signed, not only orders: an MCP client sends all its calls to one
    path, and a signature that is not needed costs nothing at the gateway. A request that is
    sent again is signed anew, so a repetition over the wire is never mistaken for a replay.

    Works for sync and async clients, and through the MCP SDK's
    ``streamable_http_client(url, http_client=httpx2.AsyncClient(auth=…))``.

    Args:
        token: the bearer token, or a function that returns the current one (called for each
            request, so that it may renew it). White space around it, as a file's end, is left
            out.
        key: the HMAC secret as text (a line feed at its end is left out), or an Ed25519 private key (text in PEM, PKCS #8 without a
            password, or the object); None where the caller places no orders.
        key_id: whose key it is; needed with ``key``.
        clock: dates the signatures.

    Raises:
        ValueError: a token that no header can hold, one of key and key_id without the other,
            an empty one, a secret of less than 32 bytes, or a PEM that holds no Ed25519
            private key.
    """

    requires_request_body = True

    def __init__(
        self,
        token: str | Callable[[], str],
        *,
        key: SigningKey | None = None,
        key_id: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        if (key is None) != (key_id is None):
            raise ValueError("key and key_id go together")
        if key == "" or key_id == "":
            raise ValueError("key or key_id is empty")
        self._token = sendable(token) if isinstance(token, str) else token
        self._key_id = key_id
        self._clock = clock or Clock()
        self._signer = _signer(key_id, key) if key_id and key else None

    def __repr__(self) -> str:
        return f"GatewayAuth(key_id={self._key_id!r})"

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Add the headers to ``request``; httpx2 calls this before sending it.

        Raises:
            TokenUnavailable: the function that tells the token told none.
        """
        request.headers["Authorization"] = f"Bearer {self._current()}"
        if self._signer is not None and self._key_id and request.method in METHODS:
            self._sign(request, self._signer, self._key_id)
        yield request

    def _current(self) -> str:
        if isinstance(self._token, str):
            return self._token
        try:
            return sendable(self._token())
        except ValueError as error:
            raise TokenUnavailable(f"No token to show: {error}.") from None

    def _sign(self, request: httpx2.Request, signer: HTTPMessageSigner, key_id: str) -> None:
        # A request object that is sent twice still carries the digest of the first time.
        request.headers.pop("Content-Digest", None)
        signer.sign(
            adapt_message(request),
            key_id=key_id,
            created=self._clock.now(),
            nonce=secrets.token_urlsafe(NONCE_BYTES),
            label=LABEL,
            tag=TAG,
            covered_component_ids=COMPONENTS,
            body=request.content,
        )


def _signer(key_id: str, key: SigningKey) -> HTTPMessageSigner:
    algorithm, material = _understood(key)
    resolver = MappingKeyResolver(public_keys={}, private_keys={key_id: material})
    return HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=resolver)


def _understood(key: SigningKey) -> tuple[type[HTTPSignatureAlgorithm], SigningMaterial]:
    """Tell by the key's own form what it signs with."""
    if isinstance(key, Ed25519PrivateKey):
        return ED25519, key
    if not key.lstrip().startswith(PEM):
        secret = key.removesuffix("\n").removesuffix("\r").encode()
        if len(secret) < SHORTEST_KEY_BYTES:
            raise ValueError(f"key: an HMAC secret has at least {SHORTEST_KEY_BYTES} bytes")
        return HMAC_SHA256, secret
    try:
        loaded = load_pem_private_key(key.strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        loaded = None
    if not isinstance(loaded, Ed25519PrivateKey):
        # The cause is left out: it may quote the key.
        raise ValueError("key: no Ed25519 private key in PEM without a password") from None
    return ED25519, loaded
