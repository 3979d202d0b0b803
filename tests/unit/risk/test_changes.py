"""What a new policy loosens and tightens, and the policy that lets through what both do."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.risk import hours
from mcp_gateway.risk.bounds import OF_ALL, OF_AN_AGENT
from mcp_gateway.risk.changes import Changes, compare, stricter
from mcp_gateway.risk.policy import Hours, Limits, Totals, allows_pair
from tests.support.policies import KNOWN, OPEN, PAIR, policy

pytestmark = pytest.mark.unit

MONDAY = frozenset({Hours(0, 480, 1020)})
LOOSER: list[tuple[str, Any, Any]] = [
    ("enabled", False, True),
    ("pairs", frozenset({PAIR}), frozenset({PAIR, "ETH/USDT"})),
    ("pairs", frozenset({PAIR}), frozenset({"*/USDT"})),
    ("pairs", frozenset({"*/USDT"}), None),
    ("sides", frozenset({"sell"}), frozenset({"buy", "sell"})),
    ("order_types", frozenset({"limit"}), frozenset({"limit", "market"})),
    ("price_collar", Decimal("0.01"), Decimal("0.02")),
    ("price_tolerance", Decimal("0.01"), Decimal("0.02")),
    ("price_age_s", 60, 61),
    ("price_age_s", 60, None),
    ("duplicate_window_s", 60, 59),
    ("duplicate_window_s", 60, None),
    ("hours", MONDAY, MONDAY | {Hours(1, 480, 1020)}),
    ("hours", MONDAY, frozenset({Hours(0, 479, 1020)})),
    ("hours", MONDAY, None),
    ("preview_required", True, False),
    ("closes", "own", "gateway"),
    ("closes", "gateway", "all"),
    ("asks_client", False, True),
    *((name, Decimal(5), Decimal("5.01")) for name in OF_AN_AGENT if name.endswith("notional")),
    *((name, Decimal(5), None) for name in OF_AN_AGENT if name.endswith("notional")),
    *((name, 5, 6) for name in OF_AN_AGENT if name.startswith("orders_")),
    *((name, 5, None) for name in OF_AN_AGENT if name.startswith("orders_")),
    ("agent_positions", 1, 2),
    ("repeats", 1, 2),
    ("wallet_share", Decimal("0.1"), Decimal("0.2")),
    ("daily_loss", Decimal(1), Decimal(2)),
    ("approval_above", Decimal(1), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "tight", "loose"), LOOSER, ids=[f"{n}-{one[0]}" for n, one in enumerate(LOOSER)]
)
def test_each_field_has_a_stricter_side(name: str, tight: Any, loose: Any) -> None:
    """Told as loosened one way and tightened the other; the stricter one is kept, from both."""
    one, other = policy(**{name: tight}), policy(**{name: loose})
    assert [place(line) for line in compare(one, other).loosened] == [f"defaults.{name}"]
    assert compare(one, other).tightened == ()
    assert [place(line) for line in compare(other, one).tightened] == [f"defaults.{name}"]
    assert compare(other, one).loosened == ()
    assert stricter(one, other) == stricter(other, one) == one


def place(line: str) -> str:
    return line.partition(": ")[0]


def test_every_field_has_its_side() -> None:
    """A field without one would be loosened in silence."""
    assert set(OF_AN_AGENT) == {field.name for field in fields(Limits)}
    assert set(OF_ALL) == {field.name for field in fields(Totals)}
    told = {name for name, _, _ in LOOSER}
    assert told == set(OF_AN_AGENT) - {"repeat_window_s"}  # which has a test of its own


def test_totals_are_told_and_kept_like_limits() -> None:
    """All six are upper limits."""
    for name in OF_ALL:
        five: dict[str, Any] = {name: 5}
        tight, loose = policy(totals=Totals(**five)), policy()
        assert compare(tight, loose) == Changes((f"total.{name}: no limit instead of 5",), ())
        assert compare(loose, tight) == Changes((), (f"total.{name}: 5 instead of no limit",))
        assert stricter(tight, loose) == stricter(loose, tight) == tight


def test_a_window_of_repeats_counts_where_repeats_do() -> None:
    """A longer one is stricter; beside no limit it says nothing."""
    short = policy(repeats=3, repeat_window_s=60)
    long = policy(repeats=3, repeat_window_s=90)
    idle = policy(repeats=None, repeat_window_s=5)
    assert compare(short, long).tightened == ("defaults.repeat_window_s: 90 instead of 60",)
    assert stricter(short, long) == stricter(long, short) == long
    assert compare(short, idle) == Changes(("defaults.repeats: no limit instead of 3",), ())
    assert stricter(short, idle) == stricter(idle, short) == short


def test_what_moves_is_told_as_both() -> None:
    """Pairs that come and pairs that go; hours that are moved."""
    old = policy(pairs=frozenset({PAIR, "ETH/USDT"}), hours=frozenset({Hours(0, 480, 1020)}))
    new = policy(pairs=frozenset({PAIR, "SOL/USDT"}), hours=frozenset({Hours(0, 540, 1080)}))
    assert compare(old, new) == Changes(
        ("defaults.pairs: adds SOL/USDT", "defaults.hours: adds mon 17:00-18:00"),
        ("defaults.pairs: without ETH/USDT", "defaults.hours: without mon 08:00-09:00"),
    )
    both = stricter(old, new)
    assert both.defaults.pairs == frozenset({PAIR})
    assert both.defaults.hours == frozenset({Hours(0, 540, 1020)})


def test_nothing_in_common_allows_nothing() -> None:
    """Not everything, which is what no limit means."""
    old = policy(pairs=frozenset({PAIR}), hours=frozenset({Hours(0, 0, 60)}))
    new = policy(pairs=frozenset({"*/EUR"}), hours=frozenset({Hours(0, 60, 120)}))
    both = stricter(old, new)
    assert both.defaults.pairs == frozenset()
    assert both.defaults.hours == frozenset()
    assert not allows_pair(both.defaults.pairs, PAIR)


def test_an_agent_is_told_where_its_defaults_do_not_tell_it_already() -> None:
    """A section taken out gives the agent what all have; that may be more."""
    own = {"bold": replace(OPEN, order_notional=Decimal(50))}
    old = policy(agents=own, order_notional=Decimal(100))
    new = policy(order_notional=Decimal(200))
    assert compare(old, new).loosened == (
        "defaults.order_notional: 200 instead of 100",
        'agents."bold".order_notional: 200 instead of 50',
    )
    both = stricter(old, new)
    assert both.limits("bold").order_notional == Decimal(50)
    assert both.limits("other").order_notional == Decimal(100)
    # Of a section that is new, and of one that says no more than its defaults, nothing is told.
    assert compare(new, policy(agents={"bold": new.defaults}, order_notional=Decimal(200))) == (
        Changes()
    )


@pytest.mark.parametrize(
    ("old", "new", "loosened", "tightened"),
    [
        (None, KNOWN, ["lot_step", "minimum_stake"], []),
        (KNOWN, None, [], ["lot_step", "minimum_stake"]),
        (KNOWN, MarketRules(Decimal("0.2"), Decimal(5)), ["lot_step"], []),
        (KNOWN, MarketRules(Decimal("0.1"), Decimal(4)), ["minimum_stake"], []),
        (KNOWN, MarketRules(Decimal("0.1"), Decimal(6)), [], ["minimum_stake"]),
        (KNOWN, MarketRules(Decimal("0.1"), Decimal(5), Decimal(1)), [], ["minimum_amount"]),
    ],
)
def test_markets_are_told_by_what_they_let_through(
    old: MarketRules | None, new: MarketRules | None, loosened: list[str], tightened: list[str]
) -> None:
    """Another lot step, or a market that was not known, is news that a person agrees to."""
    told = compare(*(policy({} if one is None else {PAIR: one}) for one in (old, new)))
    assert [place(line) for line in told.loosened] == [f'markets."{PAIR}".{n}' for n in loosened]
    assert [place(line) for line in told.tightened] == [f'markets."{PAIR}".{n}' for n in tightened]


def test_a_market_is_usable_where_both_know_the_same_of_it() -> None:
    """The larger minimum; entries wait where step or minimum can't be added up."""
    both = stricter(
        policy({PAIR: KNOWN}, {PAIR: Decimal(3)}),
        policy({PAIR: MarketRules(Decimal("0.1"), Decimal(7), None)}, {PAIR: Decimal(4)}),
    )
    assert both.market(PAIR) == MarketRules(Decimal("0.1"), Decimal(7))
    assert both.largest_amount(PAIR) == Decimal(3)
    assert not both.waits(PAIR)
    for other in (MarketRules(Decimal("0.2"), Decimal(5)), MarketRules(Decimal("0.1")), None):
        markets = {} if other is None else {PAIR: other}
        assert stricter(policy({PAIR: KNOWN}), policy(markets)).waits(PAIR)
        assert stricter(policy(markets), policy({PAIR: KNOWN})).waits(PAIR)


def test_a_pair_s_own_numbers_stand_above_those_of_its_quote() -> None:
    """Whatever waits of ``*/USDT``: a pair that both tell the same of goes on, and no other."""
    fine, coarse = MarketRules(Decimal(1), Decimal(5)), MarketRules(Decimal(2), Decimal(5))
    both = stricter(policy({PAIR: KNOWN, "*/USDT": fine}), policy({PAIR: KNOWN, "*/USDT": coarse}))
    assert not both.waits(PAIR)
    assert both.market(PAIR) == KNOWN
    assert both.waits("ETH/USDT")
    assert not both.waits("ETH/EUR")


def test_what_waited_is_told_when_it_waits_no_more() -> None:
    """Also where the file went back to what it said before."""
    old = policy({PAIR: KNOWN})
    held = stricter(old, policy({PAIR: MarketRules(Decimal("0.2"), Decimal(5))}))
    told = compare(held, old).loosened
    assert f'markets."{PAIR}": its entries wait no more' in told
    assert compare(held, held) == Changes()


def test_a_narrower_collar_leaves_no_more_of_a_largest_amount() -> None:
    """The collar widens what an order may buy at most, which is what the amount binds."""
    old = policy(amounts={PAIR: Decimal(3)}, price_collar=Decimal("0.1"))
    new = policy(amounts={PAIR: Decimal(3)}, price_collar=Decimal("0.2"), repeats=1)
    assert stricter(old, new).largest_amount(PAIR) == Decimal("2.66666666666")
    assert stricter(new, old) == stricter(old, new)
    same = policy(amounts={PAIR: Decimal(4)}, price_collar=Decimal("0.1"))
    assert stricter(old, same).largest_amount(PAIR) == Decimal(3)


def test_a_written_policy_stays_one_only_beside_another() -> None:
    """Real money needs what a person wrote, of both."""
    assert stricter(policy(), replace(policy(), written=False)).written is False


def in_hours(spans: frozenset[Hours]) -> set[tuple[int, int]]:
    return {(one.day, minute) for one in spans for minute in range(one.begins, one.ends)}


@st.composite
def some_hours(draw: st.DrawFn) -> frozenset[Hours]:
    """Draw spans of two days, in quarters of an hour around noon and at both ends."""
    ends = st.sampled_from([0, 1, 700, 715, 730, 1439, 1440])
    found = draw(st.sets(st.tuples(st.integers(5, 6), ends, ends), max_size=5))
    return frozenset(Hours(*one) for one in found if one[1] < one[2])


@settings(max_examples=100, deadline=None)
@given(some_hours(), some_hours())
@example(frozenset(), frozenset({Hours(6, 0, 1440)}))
def test_hours_are_sets_of_minutes(one: frozenset[Hours], other: frozenset[Hours]) -> None:
    """Merged, intersected, taken away and written: minute by minute what sets would say."""
    assert in_hours(hours.merged(one)) == in_hours(one)
    assert in_hours(hours.common(one, other)) == in_hours(one) & in_hours(other)
    assert in_hours(hours.without(one, other)) == in_hours(one) - in_hours(other)
    read_again = {span for text in hours.written(one) for span in hours.read(text)}
    assert frozenset(read_again) == hours.merged(one)
