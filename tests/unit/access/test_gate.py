"""The gate: what it asks, in which order, and what it leaves behind."""

import socket
from collections.abc import Sequence

import pytest

from mcp_gateway.access.gate import build_gate
from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.proof import NONCE_MARGIN_S
from mcp_gateway.audit.trail import Trail
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES, OPERATIONS, Operation
from mcp_gateway.domain.principals import (
    Admission,
    Channel,
    Credentials,
    Evidence,
    PlainSigned,
    Principal,
    Signed,
    Unsigned,
)
from mcp_gateway.errors import ConfigurationError, GatewayError, NotFound, QuotaExceeded
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
from tests.support.gates import UNSIGNED, Bench, credentials, make_bench
from tests.support.signing import KEY, KEY_ID, OTHER_ID
from tests.support.tokens import NOW, SECRET, forge

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

READ, PREVIEW, ORDER, CANCEL = (
    OPERATIONS[name] for name in ("get_candles", "dry_run_order", "create_order", "cancel_order")
)
PLAIN = PlainSigned(KEY_ID)


def signed(number: int = 0, key_id: str = KEY_ID) -> Signed:
    return Signed(key_id, f"nonce-of-the-tests-{number}", NOW)


def trader(evidence: Evidence = UNSIGNED, channel: Channel = "http") -> Credentials:
    return credentials(forge(), evidence, channel)


async def refusal(bench: Bench, shown: Credentials, operation: Operation) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        await bench.gate.admit(shown, operation)
    return refused.value


async def code(bench: Bench, shown: Credentials, operation: Operation) -> str:
    return (await refusal(bench, shown, operation)).code


async def test_an_admission_says_who_may_do_what_by_which_key() -> None:
    """Services and audit rows read the principal, the operation and the key from it."""
    admission = await make_bench().gate.admit(trader(signed()), ORDER)
    assert admission.principal.subject == "signal-agent"
    assert (admission.operation, admission.channel) == (ORDER, "http")
    assert (admission.call_id, admission.key_id) == ("call-1", KEY_ID)


def test_an_admission_cannot_be_made_by_hand() -> None:
    """A service that gets an admission can rely on the gate having made it."""
    with pytest.raises(TypeError):
        Admission(Principal("i", "s", frozenset()), ORDER, "http", "call-1")
    with pytest.raises(TypeError):
        Admission(Principal("i", "s", frozenset()), ORDER, "http", "call-1", made_by=object())


@pytest.mark.parametrize("channel", ["http", "rest"])
async def test_a_call_over_a_wire_needs_a_token(channel: Channel) -> None:
    """The local caller exists on stdio only, whatever the environment names."""
    bench = make_bench(scopes="market:read orders:create")
    assert await code(bench, credentials(None, channel=channel), READ) == "token_missing"


async def test_a_missing_scope_is_named() -> None:
    """The agent learns what to ask its operator for."""
    refused = await refusal(make_bench(), trader(), OPERATIONS["get_open_positions"])
    assert (refused.code, refused.detail) == ("scope_missing", {"scope": "positions:read"})


async def test_any_one_of_an_operations_scopes_suffices() -> None:
    """Who may create orders may read them back without the preview scope."""
    admission = await make_bench().gate.admit(trader(), OPERATIONS["get_order"])
    assert admission.operation.name == "get_order"


async def test_scope_is_asked_before_signature_and_signature_before_quota() -> None:
    """With everything wrong, the first gate on the way answers."""
    bench = make_bench(rate_limit_per_minute=1)
    await bench.gate.admit(trader(signed()), CANCEL)
    reader = credentials(forge(scope="market:read"), UNSIGNED)
    assert await code(bench, credentials("nonsense"), CANCEL) == "token_invalid"
    assert await code(bench, reader, CANCEL) == "scope_missing"
    assert await code(bench, trader(), CANCEL) == "signature_missing"
    assert await code(bench, trader(signed()), CANCEL) == "signature_replayed"
    assert await code(bench, trader(signed(1)), CANCEL) == "quota_exceeded"


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Unsigned("signature_missing"), "signature_missing"),
        (Unsigned("signature_invalid"), "signature_invalid"),
        (Unsigned("signature_expired"), "signature_expired"),
        (signed(key_id=OTHER_ID), "signature_invalid"),
        (signed(key_id="nobody"), "signature_invalid"),
        (PLAIN, "signature_missing"),
    ],
)
async def test_an_order_without_the_callers_own_signature_is_refused(
    evidence: Evidence, expected: str
) -> None:
    """A stolen token alone cannot trade; the refusal tells the server's time."""
    refused = await refusal(make_bench(), trader(evidence), ORDER)
    assert refused.code == expected
    assert refused.public()["server_time"] == "2025-11-18T10:00:00Z"


async def test_a_key_is_of_no_use_beside_another_subjects_token() -> None:
    """A stolen key alone cannot trade either: key and token name one subject."""
    thief = credentials(forge(sub="thief"), signed())
    assert await code(make_bench(), thief, ORDER) == "signature_invalid"


async def test_a_signature_is_used_once() -> None:
    """RFC 9421 section 7.2.2: the same bytes again are a replay."""
    bench = make_bench()
    await bench.gate.admit(trader(signed()), ORDER)
    assert await code(bench, trader(signed()), ORDER) == "signature_replayed"


async def test_a_used_signature_is_remembered_for_as_long_as_it_fits() -> None:
    """Dated one window ahead it fits for two windows: up to there it stays spent."""
    bench = make_bench(signature_window_s=30)
    await bench.gate.admit(trader(signed()), ORDER)
    bench.clock.advance(2 * 30 + NONCE_MARGIN_S - 0.01)
    assert await code(bench, trader(signed()), ORDER) == "signature_replayed"


async def test_another_keys_equal_nonce_is_another_nonce() -> None:
    """Nonces are counted for each key, and no spelling of a key id joins two."""
    kv = open_kv(None, ManualClock())
    await make_bench(kv=kv).gate.admit(trader(signed()), ORDER)
    other = credentials(forge(sub=OTHER_ID), signed(key_id=OTHER_ID))
    admission = await make_bench(kv=kv, subject=OTHER_ID).gate.admit(other, ORDER)
    assert admission.key_id == OTHER_ID


@pytest.mark.parametrize(
    "shown", [credentials(forge(scope="market:read"), signed()),
              credentials(forge(sub="thief"), signed())]
)  # fmt: skip
async def test_a_refused_call_leaves_the_nonce_unspent(shown: Credentials) -> None:
    """Nobody else can burn an agent's nonce before its order arrives."""
    bench = make_bench()
    await refusal(bench, shown, ORDER)
    assert (await bench.gate.admit(trader(signed()), ORDER)).key_id == KEY_ID


async def test_a_signed_read_spends_no_nonce() -> None:
    """A client may sign every POST: what needs no signature does not use it up."""
    bench = make_bench()
    for _ in range(2):
        await bench.gate.admit(trader(signed()), READ)
    await bench.gate.admit(trader(signed()), ORDER)


async def test_a_read_passes_whatever_its_signature_is() -> None:
    """A broken signature on a read is no fault of the read."""
    admission = await make_bench().gate.admit(trader(Unsigned("signature_invalid")), READ)
    assert admission.key_id is None


async def test_unsigned_and_replayed_calls_leave_the_quota_alone() -> None:
    """A stolen token without its key must not use up the agent's orders."""
    bench = make_bench(rate_limit_per_minute=2)
    await bench.gate.admit(trader(signed()), ORDER)
    for _ in range(20):
        await refusal(bench, trader(), ORDER)
        await refusal(bench, trader(signed()), ORDER)
        await refusal(bench, credentials(forge(scope="market:read")), ORDER)
    assert (await bench.gate.admit(trader(signed(1)), ORDER)).reserve is None


async def test_the_quota_refusal_tells_when_to_come_again() -> None:
    """The agent waits as long as it must and no longer."""
    bench = make_bench(rate_limit_per_minute=1)
    await bench.gate.admit(trader(), READ)
    refused = await refusal(bench, trader(), READ)
    assert refused.retry_after_s == pytest.approx(60)
    bench.clock.advance(60)
    await bench.gate.admit(trader(), READ)


async def test_exits_have_a_quota_of_their_own() -> None:
    """Who has used up its orders can still get out, so often, and nothing else."""
    bench = make_bench(rate_limit_per_minute=2)
    admitted = [await bench.gate.admit(trader(signed(number)), ORDER) for number in range(3)]
    assert [one.reserve is None for one in admitted] == [True, True, False]
    reserve = admitted[2].reserve
    assert reserve is not None
    assert (reserve.refusal.code, reserve.refusal.detail) == (
        "quota_exceeded", {"quota": "create_order"},
    )  # fmt: skip
    assert reserve.refusal.retry_after_s == pytest.approx(30)
    await reserve.spend()
    await reserve.spend()
    with pytest.raises(QuotaExceeded) as last:
        await reserve.spend()
    assert last.value.detail == {"quota": "exits"}


async def test_entries_beyond_the_quota_take_nothing_from_the_exits() -> None:
    """An agent that buys in a loop can still sell: the gate keeps the reserve for what sells."""
    bench = make_bench(rate_limit_per_minute=2)
    for number in range(50):
        admission = await bench.gate.admit(trader(signed(number)), ORDER)
    assert (await bench.gate.calls_left(admission.principal))["exits"] == 2
    assert admission.reserve is not None
    await admission.reserve.spend()


async def test_cancels_have_a_quota_of_their_own() -> None:
    """Neither spent orders nor a flooded server keep an order resting."""
    bench = make_bench(rate_limit_per_minute=1)
    for number in range(2):
        await bench.gate.admit(trader(signed(number)), ORDER)
    await bench.gate.admit(trader(signed(3)), CANCEL)
    flooded = make_bench(server_rate_limit_per_minute=1)
    await flooded.gate.admit(credentials(forge(sub="flood", scope="market:read")), READ)
    await flooded.gate.admit(trader(signed()), CANCEL)


async def test_a_flooded_server_does_not_keep_anyone_in_a_position() -> None:
    """The reserve is the caller's own: what others have used up of the server's is not asked."""
    bench = make_bench(server_rate_limit_per_minute=1)
    await bench.gate.admit(credentials(forge(sub="flood", scope="market:read")), READ)
    admission = await bench.gate.admit(trader(signed()), ORDER)
    assert admission.reserve is not None
    assert admission.reserve.refusal.detail == {"quota": "server"}
    await admission.reserve.spend()
    assert await code(bench, trader(), READ) == "quota_exceeded"


async def test_a_caller_is_told_what_is_left_and_asking_spends_nothing() -> None:
    """By quota, of what its scopes open; the reserve too."""
    bench = make_bench(rate_limit_per_minute=3)
    admission = await bench.gate.admit(trader(signed()), ORDER)
    for _ in range(3):
        left = await bench.gate.calls_left(admission.principal)
    assert left == {
        "get_candles": 3, "all_calls": 14, "create_order": 2, "exits": 3, "get_order": 3,
        "cancel_order": 3,
    }  # fmt: skip


async def test_the_plain_form_counts_on_rest_only_and_only_when_switched_on() -> None:
    """The predecessor's form can be replayed: off by default, never over MCP."""
    on, off = make_bench(legacy_signature=True), make_bench()
    assert (await on.gate.admit(trader(PLAIN, "rest"), ORDER)).key_id == KEY_ID
    assert await code(on, trader(PLAIN, "http"), ORDER) == "signature_missing"
    assert await code(off, trader(PLAIN, "rest"), ORDER) == "signature_missing"
    thief = credentials(forge(sub="thief"), PLAIN, "rest")
    assert await code(on, thief, ORDER) == "signature_invalid"


async def test_stdio_without_a_token_is_the_local_caller() -> None:
    """Whoever starts the process holds its keys: no signature, but scopes and limits hold."""
    bench = make_bench(scopes="orders:create", subject=None, hmac_secret=None)
    admission = await bench.gate.admit(credentials(channel="stdio"), ORDER)
    assert (admission.principal.issuer, admission.principal.subject) == ("local", "local")
    assert await code(bench, credentials(channel="stdio"), READ) == "scope_missing"
    for _ in range(3):
        await bench.gate.admit(credentials(channel="stdio"), CANCEL)
    assert await code(bench, credentials(channel="stdio"), CANCEL) == "quota_exceeded"


async def test_the_local_caller_reads_and_previews_unless_told_otherwise() -> None:
    """Nothing dangerous is a default."""
    bench = make_bench()
    principal = await bench.gate.authenticate(credentials(channel="stdio"))
    assert principal.subject == KEY_ID
    assert principal.scopes == frozenset(DEFAULT_LOCAL_SCOPES)
    assert await code(bench, credentials(channel="stdio"), ORDER) == "scope_missing"


async def test_the_token_of_stdio_is_checked_on_every_call() -> None:
    """A process that runs for days does not outlive its token."""
    bench = make_bench(token=forge(exp=NOW + 60), scopes="ops:halt")
    shown = credentials(channel="stdio")
    admission = await bench.gate.admit(shown, READ)
    assert admission.principal.issuer == "mcp-gateway"
    bench.clock.advance(66)
    assert await code(bench, shown, READ) == "token_expired"


async def test_a_token_that_cannot_be_checked_is_no_way_to_the_local_caller() -> None:
    """A token without JWT_SECRET is refused, not ignored."""
    bench = make_bench(jwt_secret=None, token=forge())
    assert await code(bench, credentials(channel="stdio"), READ) == "token_missing"


async def test_a_refusal_of_a_known_caller_is_noted() -> None:
    """Every refusal of a known caller is an audit row, with its code and no secret."""
    bench = make_bench()
    await refusal(bench, trader(), ORDER)
    (row,) = bench.noted()
    assert (row.event, row.code, row.operation) == (
        "call.refused", "signature_missing", "create_order",
    )  # fmt: skip
    assert (row.issuer, row.subject, row.channel, row.call_id, row.at) == (
        "mcp-gateway", "signal-agent", "http", "call-1", bench.clock.now(),
    )  # fmt: skip


async def test_a_refusal_after_the_gate_is_noted_with_its_call() -> None:
    """What refuses later tells the gate, which knows how rows are written and how many."""
    bench = make_bench()
    shown = trader()
    admission = await bench.gate.admit(shown, READ)
    await bench.gate.note_refusal(admission.principal, shown, NotFound("No."), READ)
    await bench.gate.note_refusal(admission.principal, shown, NotFound("No."))
    await bench.gate.note_refusal(None, shown, NotFound("No."))
    assert [(row.event, row.operation, row.code) for row in bench.noted()] == [
        ("call.refused", "get_candles", "not_found"), ("call.refused", None, "not_found"),
    ]  # fmt: skip


async def test_strangers_are_counted_and_not_written_down() -> None:
    """Whoever has no token must not be able to fill the audit log."""
    bench = make_bench()
    labels = {"operation": "get_candles", "channel": "rest", "code": "token_invalid"}
    before = metrics.REGISTRY.get_sample_value("mcp_gateway_calls_total", labels) or 0
    await refusal(bench, credentials("nonsense", channel="rest"), READ)
    assert bench.noted() == ()
    assert metrics.REGISTRY.get_sample_value("mcp_gateway_calls_total", labels) == before + 1


@pytest.mark.parametrize(("audit_reads", "rows"), [(False, []), (True, ["call.read"])])
async def test_admitted_reads_are_noted_where_asked(audit_reads: bool, rows: Sequence[str]) -> None:
    """MCP_GATEWAY_AUDIT_READS; orders have their rows from the ledger."""
    bench = make_bench(audit_reads=audit_reads)
    await bench.gate.admit(trader(), READ)
    await bench.gate.admit(trader(signed()), ORDER)
    assert [row.event for row in bench.noted()] == rows


def closed_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_without_the_nonce_store_orders_are_refused_and_reads_go_on() -> None:
    """A replay that cannot be noticed must not pass: writes fail closed."""
    kv = open_kv(f"redis://127.0.0.1:{closed_port()}/0", ManualClock())
    bench = make_bench(kv=kv, legacy_signature=True)
    try:
        await bench.gate.admit(trader(), READ)
        assert await code(bench, trader(signed()), ORDER) == "redis_unavailable"
        assert await code(bench, trader(PLAIN, "rest"), ORDER) == "redis_unavailable"
    finally:
        await kv.close()
    assert [row.code for row in bench.noted()] == ["redis_unavailable"] * 2


async def test_no_secret_is_shown_or_noted(capfd: pytest.CaptureFixture[str]) -> None:
    """A canary in every secret: not in repr, refusals, audit rows or logs."""
    bench = make_bench()
    shown = [repr(bench.gate.keyring), repr(bench.gate.verifier), repr(vars(bench.gate))]
    token = forge(secret=b"x" * 40)
    callers = (credentials(token), trader(), trader(signed(key_id="nobody")))
    shown += [str((await refusal(bench, each, ORDER)).public()) for each in callers]
    shown += [repr(bench.noted()), *capfd.readouterr()]
    told = "\n".join(shown)
    assert not any(secret in told for secret in (SECRET.decode(), KEY, token, forge()))


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"issuer": "local"}, "MCP_GATEWAY_ISSUER"),
        ({"subject": "a\nb"}, "MCP_GATEWAY_SUBJECT"),
        ({"subject": "x" * 129}, "MCP_GATEWAY_SUBJECT"),
        ({"subject": "عامل", "hmac_secret": KEY}, "MCP_GATEWAY_SUBJECT"),
    ],
)
def test_a_gate_that_could_confuse_callers_does_not_start(
    settings: dict[str, str], variable: str
) -> None:
    """A token of the local issuer, or a key id no header can carry, is a fault at start."""
    clock = ManualClock()
    with pytest.raises(ConfigurationError) as refused:
        build_gate(Settings.apart(**settings), open_kv(None, clock), Trail(), clock)
    assert refused.value.faults[0].startswith(variable)


def test_the_one_box_keyring_has_the_key_of_the_one_subject() -> None:
    """HMAC_SECRET belongs to MCP_GATEWAY_SUBJECT; its UTF-8 bytes are the key."""
    keyring = Keyring.from_settings(Settings.apart(hmac_secret="ключ" * 8, subject="signal-agent"))
    key = keyring.find("signal-agent")
    assert key is not None
    assert (key.subject, key.secret) == ("signal-agent", ("ключ" * 8).encode())
    assert keyring.find("other") is None
    assert keyring.jwt_secret is None


def test_the_operator_has_a_key_of_its_own() -> None:
    """Who approves signs with another key than who trades, and for another subject."""
    keys = {"hmac_secret": "a" * 32, "subject": "signal-agent"}
    people = {"operator_hmac_secret": "b" * 32, "operator": "desk"}
    keyring = Keyring.from_settings(Settings.apart(**keys, **people))
    told = {key.key_id: (key.subject, key.secret) for key in keyring.signing_keys()}
    assert told == {"signal-agent": ("signal-agent", b"a" * 32), "desk": ("desk", b"b" * 32)}
    assert Keyring.from_settings(Settings.apart(operator="desk")).signing_keys() == ()
