"""Which signature a request carries, if any: its evidence for the gate."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from mcp_gateway.access import signatures
from mcp_gateway.access.keyring import Keyring
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Evidence, Unsigned
from mcp_gateway.settings import Settings
from mcp_gateway.transports.requests import Headers

_STANDARD = frozenset({b"signature-input", b"signature"})


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the raw bytes; it collects evidence and refuses nothing, reads need none."""

    settings: Settings
    keyring: Keyring
    clock: Clock

    def judge(
        self, method: str, path: str, query: str, headers: Headers, body: bytes, *, plain: bool
    ) -> Evidence:
        """Tell what the request's signature proves.

        Args:
            plain: whether the predecessor's X-Signature may stand in (REST only, and only
                where MCP_GATEWAY_LEGACY_SIGNATURE allows it).
        """
        names = {name for name, _ in headers}
        if names & _STANDARD:
            host = next((value for name, value in headers if name == b"host"), b"")
            request = signatures.SignedRequest(
                method=method,
                scheme=urlsplit(self.settings.base_url).scheme,
                host=host.decode("latin-1"),
                raw_path=path.encode("latin-1"),
                query_string=query.encode("latin-1"),
                headers=headers,
                body=body,
            )
            window_s = self.settings.signature_window_s
            return signatures.judge(request, self.keyring, self.clock, window_s)
        shown = [value for name, value in headers if name == b"x-signature"]
        if not (plain and self.settings.legacy_signature and shown):
            return Unsigned("signature_missing")
        if len(shown) > 1:
            return Unsigned("signature_invalid")
        return signatures.judge_plain(body, shown[0], self.keyring)
