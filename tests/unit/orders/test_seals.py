"""The preview_id: it says what was seen, to nobody but whom and what it was made for."""

import base64
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.domain.orders import LARGEST_NUMBER, OrderRecord, PreviewId
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import PreviewRefused
from mcp_gateway.orders.sending.intake import new_record
from mcp_gateway.orders.sending.seals import LASTS_S, LONGEST_CHARS, PREVIEWS, Opened, Seals
from mcp_gateway.risk.facts import Previewed
from mcp_gateway.risk.policy import BUILT_IN
from tests.support.clock import START, ManualClock
from tests.support.desk import order

pytestmark = pytest.mark.unit

KEY = b"k" * 32
SEEN = Previewed(Decimal("64250.5"), BUILT_IN.hash)


def record(subject: str = "agent-a", agent: str = "agent-a", **changes: Any) -> OrderRecord:
    """Return an order that was just received."""
    caller = Principal("tests", subject, frozenset())
    return new_record(
        order(**changes), agent, caller, carrier="c", bot="freqtrade", mode="dry-run", now=START
    )


def seals(key: bytes = KEY, clock: ManualClock | None = None) -> Seals:
    return Seals(key, clock or ManualClock())


def code(made: Seals, text: str, wanted: OrderRecord) -> str:
    with pytest.raises(PreviewRefused) as refused:
        made.open(text, wanted)
    return refused.value.code


def test_a_seal_tells_what_was_seen() -> None:
    """Price and policy come back as they were, with an id of 96 bits that no other seal has."""
    made, wanted = seals(), record()
    first, second = (made.open(made.seal(wanted, SEEN).text, wanted) for _ in range(2))
    assert (first.previewed, second.previewed) == (SEEN, SEEN)
    assert len(first.preview_id) == len(second.preview_id) == 24
    assert first.preview_id != second.preview_id


@given(
    st.decimals(Decimal("1e-18"), LARGEST_NUMBER, places=18),
    st.text("0123456789abcdef", min_size=12, max_size=12),
)
def test_every_price_and_policy_fits(price: Decimal, policy: str) -> None:
    """To the last digit: the price is compared with a later one."""
    made, wanted = seals(), record()
    sealed = made.seal(wanted, Previewed(price, policy))
    assert made.open(sealed.text, wanted).previewed == Previewed(price, policy)
    assert len(sealed.text) < LONGEST_CHARS


def test_a_seal_is_short_and_fits_into_a_url() -> None:
    """A model copies it, and pays for each of its characters."""
    text = seals().seal(record(), SEEN).text
    assert len(text) <= 90
    assert text.replace("-", "").replace("_", "").isalnum()


def test_another_order_with_the_same_content_fits() -> None:
    """The request_id is no part of an order's content: a dry run uses none up."""
    made = seals()
    assert made.open(made.seal(record(), SEEN).text, record()).previewed == SEEN


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": "1.1"}, {"pair": "ETH/USDT"}, {"side": "sell"},
        {"order_type": "limit", "price": "100"}, {"subject": "agent-b"}, {"agent": "agent-b"},
    ],
    ids=["amount", "pair", "side", "type", "caller", "agent"],
)  # fmt: skip
def test_a_seal_fits_its_caller_and_its_order_alone(changed: dict[str, Any]) -> None:
    """Whatever differs of the order, and whoever shows it."""
    made = seals()
    text = made.seal(record(), SEEN).text
    assert code(made, text, record(**changed)) == "preview_mismatch"


@pytest.mark.parametrize(
    "changed", [{"issuer": "other"}, {"bot": "other"}, {"mode": "live"}], ids=str
)
def test_a_seal_fits_its_bot_and_its_mode_alone(changed: dict[str, Any]) -> None:
    """Two gateways may share a key; what was seen at a dry run says nothing of real money."""
    made = seals()
    text = made.seal(record(), SEEN).text
    assert code(made, text, replace(record(), **changed)) == "preview_mismatch"


def test_a_seal_ends_by_the_second() -> None:
    """Its end is told with it, and holds."""
    clock = ManualClock()
    made, wanted = seals(clock=clock), record()
    sealed = made.seal(wanted, SEEN)
    assert sealed.expires_at == START + timedelta(seconds=LASTS_S)
    clock.advance(LASTS_S - 0.001)
    assert isinstance(made.open(sealed.text, wanted), Opened)
    clock.advance(0.001)
    assert code(made, sealed.text, wanted) == "preview_expired"


def test_another_gateways_seal_is_none() -> None:
    """Its key is not ours."""
    wanted = record()
    text = seals(b"other" * 8).seal(wanted, SEEN).text
    assert code(seals(), text, wanted) == "preview_invalid"


def test_every_altered_character_breaks_it() -> None:
    """Each of them is sealed: id, caller, order, end, policy and price."""
    made, wanted = seals(), record()
    text = made.seal(wanted, SEEN).text
    for place, char in enumerate(text):
        altered = text[:place] + ("B" if char == "A" else "A") + text[place + 1 :]
        assert code(made, altered, wanted) == "preview_invalid", place


@given(st.text(max_size=200))
def test_no_text_of_a_strangers_is_a_seal(text: str) -> None:
    """Whatever is sent is refused in the same words, and nothing crashes."""
    assert code(seals(), text, record()) == "preview_invalid"


@pytest.mark.parametrize("strange", ["{}=", "{}==", " {}", "{}\n", "{}.", "é{}", "{}A", "{}AAAA"])
def test_a_seal_has_one_spelling(strange: str) -> None:
    """What merely decodes to the same bytes is another text."""
    made, wanted = seals(), record()
    text = made.seal(wanted, SEEN).text
    assert code(made, strange.format(text), wanted) == "preview_invalid"


def test_the_policy_and_the_price_cannot_be_lifted_from_a_seal_of_ones_own() -> None:
    """Two genuine ones do not mix: the tag is over all of it."""
    made, wanted = seals(), record()
    raw = [
        base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        for text in (made.seal(wanted, SEEN).text for _ in range(2))
    ]
    mixed = base64.urlsafe_b64encode(raw[0][:16] + raw[1][16:]).rstrip(b"=").decode()
    assert code(made, mixed, wanted) == "preview_invalid"


def test_the_bound_of_the_argument_holds_every_seal() -> None:
    """What the schema lets in is what may be a seal."""
    read = TypeAdapter[str](PreviewId)
    assert read.validate_python("x" * LONGEST_CHARS)
    with pytest.raises(ValidationError):
        read.validate_python("x" * (LONGEST_CHARS + 1))


def test_replicas_share_the_key_and_strangers_do_not() -> None:
    """One JWT_SECRET makes one key for each purpose; it is none of the secret's other uses."""
    secret = b"s" * 32
    ours, theirs = Keyring(jwt_secret=secret), Keyring(jwt_secret=secret)
    assert ours.derived(PREVIEWS) == theirs.derived(PREVIEWS)
    assert len(ours.derived(PREVIEWS)) == 32
    others = {
        secret, ours.derived("else"), Keyring(jwt_secret=b"t" * 32).derived(PREVIEWS),
        Keyring().derived(PREVIEWS), Keyring().derived(PREVIEWS),
    }  # fmt: skip
    assert len(others) == 5
    assert ours.derived(PREVIEWS) not in others


def test_without_a_secret_a_seal_ends_with_its_process() -> None:
    """Nobody else could have made it, and nobody else can open it."""
    ring = Keyring()
    assert ring.derived(PREVIEWS) == ring.derived(PREVIEWS)


def test_the_derived_key_is_that_of_rfc_5869() -> None:
    """HKDF-SHA256 with the salt mcp-gateway, worked out by an independent library."""
    secret = b"s" * 32
    expected = HKDF(SHA256(), 32, b"mcp-gateway", b"previews").derive(secret)
    assert Keyring(jwt_secret=secret).derived("previews") == expected
