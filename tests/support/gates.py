"""A gate as the settings of a test describe it, on virtual time and in memory."""

from dataclasses import dataclass

from mcp_gateway.access.gate import Gate, build_gate
from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.domain.principals import Channel, Credentials, Evidence, Unsigned
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import KeyValue, open_kv
from tests.support.clock import ManualClock
from tests.support.signing import KEY, KEY_ID
from tests.support.tokens import SECRET

UNSIGNED = Unsigned("signature_missing")


@dataclass(frozen=True)
class Bench:
    """The gate under test with what stands around it."""

    gate: Gate
    clock: ManualClock
    trail: Trail

    def noted(self) -> tuple[AuditEvent, ...]:
        """Return what the audit log would get."""
        return self.trail.oldest(1000)


def make_bench(*, kv: KeyValue | None = None, **settings: object) -> Bench:
    """Return a gate for ``Settings`` fields over the tests' own secrets."""
    clock, trail = ManualClock(), Trail()
    defaults: dict[str, object] = {
        "jwt_secret": SECRET.decode(), "hmac_secret": KEY, "subject": KEY_ID,
        "rate_limit_per_minute": 3,
    }  # fmt: skip
    given = Settings.apart(**(defaults | settings))
    return Bench(build_gate(given, kv or open_kv(None, clock), trail, clock), clock, trail)


def credentials(
    token: str | None = None,
    evidence: Evidence = UNSIGNED,
    channel: Channel = "http",
) -> Credentials:
    """Return what a caller shows."""
    return Credentials(channel, token, evidence, "call-1")
