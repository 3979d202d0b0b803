"""Which signature a request carries, if any: its evidence for the gate."""

from mcp_gateway.access import signatures
from mcp_gateway.domain.principals import Evidence, Principal, Unsigned
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.visit import Visit

_STANDARD = frozenset({b"signature-input", b"signature"})


async def judged(gateway: Gateway, visit: Visit, principal: Principal, *, plain: bool) -> Evidence:
    """Tell what the signature over the raw bytes proves; nothing is refused, reads need none.

    Where no key of that id serves, the keys file is looked at once: it may have just been made.

    Args:
        principal: who calls, by the token.
        plain: whether the predecessor's X-Signature may stand in (for bodies over REST
            only, and only where MCP_GATEWAY_LEGACY_SIGNATURE allows it).
    """
    settings, keyring = gateway.settings, gateway.gate.keyring
    if {name for name, _ in visit.headers} & _STANDARD:
        evidence = _by_the_standard(gateway, visit)
        if isinstance(evidence, Unsigned) and evidence.no_key and await gateway.gate.keys.seek():
            evidence = _by_the_standard(gateway, visit)
        return evidence
    shown = [value for name, value in visit.headers if name == b"x-signature"]
    if not (plain and settings.legacy_signature and shown):
        return Unsigned("signature_missing")
    if len(shown) > 1:
        return Unsigned("signature_invalid")
    keys = keyring.keys_of(principal.issuer, principal.subject, gateway.clock.now())
    return signatures.judge_plain(visit.body or b"", shown[0], keys)


def _by_the_standard(gateway: Gateway, visit: Visit) -> Evidence:
    """Judge by each host under which the caller may know this server, until one fits."""
    evidence: Evidence = Unsigned("signature_invalid")
    for host in visit.hosts:
        request = signatures.SignedRequest(
            method=visit.method,
            scheme=visit.scheme,
            host=host,
            raw_path=visit.path.encode("latin-1"),
            query_string=visit.query.encode("latin-1"),
            headers=visit.headers,
            body=visit.body or b"",
        )
        window_s = gateway.settings.signature_window_s
        evidence = signatures.judge(request, gateway.gate.keyring, gateway.clock, window_s)
        if evidence != Unsigned("signature_invalid"):
            return evidence
    return evidence
