"""What a signed order costs at the door: its bytes judged, by an HMAC key and by a pair.

usage: python -m benchmarks.access
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx2
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcp_gateway.access.keyring import Key, Keyring
from mcp_gateway.access.signatures import SignedRequest, judge
from mcp_gateway.client import GatewayAuth
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Signed

MOST_US: Final = 500.0  # of one signed order
KEYS: Final = 2_000  # of a fleet, two for each agent
URL: Final = "https://gateway.example/mcp"
SECRET: Final = "a-secret-of-the-benchmark-0123456789abcdef"
WINDOW_S: Final = 300  # as wide as it may be, so that no round outlives its signature
Judging = Callable[[], None]


def judgings() -> dict[str, Judging]:
    """Return, by the name of the algorithm, what judges one signed order over MCP."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    others = [Key(f"agent-{n}", "issuer", f"agent-{n}", b"k" * 32) for n in range(KEYS)]
    ring = Keyring(
        keys=[
            Key("shared", "issuer", "agent", SECRET.encode()),
            Key("pair", "issuer", "agent", public, "ed25519"),
            *others,
        ]
    )
    return {
        "hmac-sha256": _judging(GatewayAuth("token", key=SECRET, key_id="shared"), ring),
        "ed25519": _judging(GatewayAuth("token", key=private, key_id="pair"), ring),
    }


def _judging(auth: GatewayAuth, ring: Keyring) -> Judging:
    clock, request = Clock(), _signed(auth)

    def work() -> None:
        evidence = judge(request, ring, clock, WINDOW_S)
        if not isinstance(evidence, Signed):
            raise TypeError(f"the order's signature does not fit: {evidence}")

    return work


def _signed(auth: GatewayAuth) -> SignedRequest:
    """Return an order as it comes over the wire, signed by the client."""
    order = {
        "request_id": "550e8400-e29b-41d4-a716-446655440000", "pair": "BTC/USDT", "side": "buy",
        "amount": "0.001", "order_type": "limit", "price": "60000",
    }  # fmt: skip
    params = {"name": "create_order", "arguments": order}
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    request = next(auth.auth_flow(httpx2.Request("POST", URL, content=body)))
    where = urlsplit(URL)
    return SignedRequest(
        "POST", where.scheme, where.netloc, where.path.encode(), b"",
        [(name.lower(), value) for name, value in request.headers.raw], body,
    )  # fmt: skip
