"""Bodies that would take long to look at: one caller without a token could stop everybody."""

import pytest

from mcp_gateway.errors import GatewayError
from mcp_gateway.transports import body as bodies

pytestmark = pytest.mark.unit


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "start", [b'{"a":', b'{"a":"', b'{"a":' + b"[" * 31], ids=["value", "text", "nested"]
)
@pytest.mark.parametrize(
    "unit", [b'\\"', b'"', b"\\", b"[{", b'"\\\\', b"\\u"],
    ids=["escaped quotes", "quotes", "escapes", "brackets", "texts", "half escapes"],
)  # fmt: skip
def test_no_body_holds_the_gateway_up(start: bytes, unit: bytes) -> None:
    """Each byte is looked at so many times and no more, however the body goes on.

    What costs the square of its length would take an hour here, and the mark ends it.
    """
    body = start + b"[" * 40 + b'"' + unit * (1_000_000 // len(unit))
    with pytest.raises(GatewayError):
        bodies.parse(body)
