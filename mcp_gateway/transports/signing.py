"""Which signature a request carries, if any: its evidence for the gate."""

from urllib.parse import urlsplit

from mcp_gateway.access import signatures
from mcp_gateway.domain.principals import Evidence, Unsigned
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.visit import Visit

_STANDARD = frozenset({b"signature-input", b"signature"})


def judged(gateway: Gateway, visit: Visit, *, plain: bool) -> Evidence:
    """Tell what the signature over the raw bytes proves; nothing is refused, reads need none.

    Args:
        plain: whether the predecessor's X-Signature may stand in (for bodies over REST
            only, and only where MCP_GATEWAY_LEGACY_SIGNATURE allows it).
    """
    settings, keyring = gateway.settings, gateway.gate.keyring
    body = visit.body or b""
    if {name for name, _ in visit.headers} & _STANDARD:
        host = next((value for name, value in visit.headers if name == b"host"), b"")
        request = signatures.SignedRequest(
            method=visit.method,
            scheme=urlsplit(settings.base_url).scheme,
            host=host.decode("latin-1"),
            raw_path=visit.path.encode("latin-1"),
            query_string=visit.query.encode("latin-1"),
            headers=visit.headers,
            body=body,
        )
        return signatures.judge(request, keyring, gateway.clock, settings.signature_window_s)
    shown = [value for name, value in visit.headers if name == b"x-signature"]
    if not (plain and settings.legacy_signature and shown):
        return Unsigned("signature_missing")
    if len(shown) > 1:
        return Unsigned("signature_invalid")
    return signatures.judge_plain(body, shown[0], keyring)
