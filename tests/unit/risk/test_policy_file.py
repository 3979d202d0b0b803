"""What a person may write of agents, totals and markets, and what is told of a mistake in it."""

from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_gateway.errors import ConfigurationError
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.doubts import doubts
from mcp_gateway.risk.hours import merged
from mcp_gateway.risk.policy import BUILT_IN, Hours, Limits, Policy, Totals
from mcp_gateway.risk.rendering import as_toml
from mcp_gateway.risk.rules import RULES
from mcp_gateway.risk.sections import (
    MOST_AGENTS,
    MOST_MARKETS,
    LimitsSection,
    MarketSection,
    TotalSection,
)
from tests.unit.risk.test_stricter import policies

pytestmark = pytest.mark.unit

NAME = "MCP_GATEWAY_POLICY: "


def loaded(folder: Path, text: str) -> Policy:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        loaded(folder, text)
    return [fault.removeprefix(NAME) for fault in refused.value.faults]


def test_the_sections_have_the_words_of_the_policy() -> None:
    """A limit that no file can name would be none; a key that nothing reads would be worse."""
    assert set(LimitsSection.model_fields) == {field.name for field in fields(Limits)}
    assert set(TotalSection.model_fields) == {field.name for field in fields(Totals)}
    of_markets = {"lot_step", "minimum_stake", "minimum_amount", "largest_amount"}
    assert set(MarketSection.model_fields) == of_markets


def test_every_rule_names_a_setting_that_can_be_written() -> None:
    """And every setting of an agent belongs to a rule, but for four that no rule has alone."""
    written = {name for rule in RULES if (name := rule.setting) is not None}
    of_totals = {f"total.{field.name}" for field in fields(Totals)}
    of_markets = {"markets", "markets.largest_amount"}
    of_agents = {field.name for field in fields(Limits)}
    assert written <= of_agents | of_totals | of_markets
    beside = {"wallet_share", "repeat_window_s", "approval_above", "asks_client"}
    assert (of_agents | of_totals | of_markets) - written == beside


def test_what_is_not_written_stays_as_it_is_built_in(tmp_path: Path) -> None:
    """An empty section makes a written policy with the built-in limits."""
    policy = loaded(tmp_path, '[defaults]\norder_notional = "50"\n')
    assert policy.defaults == replace(Limits(), order_notional=Decimal(50))
    assert policy.totals == Totals()
    assert policy.written
    assert not BUILT_IN.written
    assert loaded(tmp_path, "[defaults]").defaults == BUILT_IN.defaults


def test_every_key_of_an_agent_is_read(tmp_path: Path) -> None:
    """Each to the value of the same name."""
    policy = loaded(
        tmp_path,
        """
        [defaults]
        enabled = false
        pairs = ["BTC/USDT", "*/EUR"]
        sides = ["sell"]
        order_types = ["limit"]
        order_notional = "500.5"
        wallet_share = 0.1
        pair_notional = 600
        agent_notional = "700"
        agent_positions = 2
        orders_per_minute = 3
        orders_per_day = 4
        daily_notional = "800"
        daily_loss = "90"
        price_collar = "0.02"
        price_age_s = 120
        duplicate_window_s = 30
        repeats = 5
        repeat_window_s = 45
        hours = ["mon-tue 08:00-17:00", "sat 10:00-24:00"]
        approval_above = "250"
        preview_required = true
        price_tolerance = "0.005"
        closes = "gateway"
        asks_client = true
        """,
    )
    assert policy.defaults == Limits(
        enabled=False, pairs=frozenset({"BTC/USDT", "*/EUR"}), sides=frozenset({"sell"}),
        order_types=frozenset({"limit"}), order_notional=Decimal("500.5"),
        wallet_share=Decimal("0.1"), pair_notional=Decimal(600), agent_notional=Decimal(700),
        agent_positions=2, orders_per_minute=3, orders_per_day=4, daily_notional=Decimal(800),
        daily_loss=Decimal(90), price_collar=Decimal("0.02"), price_age_s=120,
        duplicate_window_s=30, repeats=5, repeat_window_s=45,
        hours=frozenset({Hours(0, 480, 1020), Hours(1, 480, 1020), Hours(5, 600, 1440)}),
        approval_above=Decimal(250), preview_required=True, price_tolerance=Decimal("0.005"),
        closes="gateway", asks_client=True,
    )  # fmt: skip


def test_totals_and_largest_amounts_are_read(tmp_path: Path) -> None:
    """The amount of a pair itself stands above that of its quote."""
    policy = loaded(
        tmp_path,
        """
        [total]
        notional = "1"
        positions = 2
        orders_per_minute = 3
        orders_per_day = 4
        daily_notional = "5"
        daily_loss = "6"
        [markets."*/USDT"]
        largest_amount = "10"
        [markets."BTC/USDT"]
        largest_amount = "0.5"
        """,
    )
    assert policy.totals == Totals(Decimal(1), 2, 3, 4, Decimal(5), Decimal(6))
    assert policy.largest_amount("BTC/USDT") == Decimal("0.5")
    assert policy.largest_amount("ETH/USDT") == Decimal(10)
    assert policy.largest_amount("ETH/EUR") is None


def test_an_agent_s_section_overrides_the_defaults_key_by_key(tmp_path: Path) -> None:
    """What it leaves out is what the file's defaults say, not what is built in."""
    policy = loaded(
        tmp_path,
        """
        [agents."bold one"]
        order_notional = "none"
        pairs = "all"
        hours = "always"
        [defaults]
        order_notional = "100"
        pairs = ["BTC/USDT"]
        hours = ["mon 08:00-09:00"]
        price_collar = "0.01"
        """,
    )
    bold = policy.limits("bold one")
    assert (bold.order_notional, bold.pairs, bold.hours) == (None, None, None)
    assert bold.price_collar == Decimal("0.01")
    assert policy.limits("another") == policy.defaults


LIFTED = ("order_notional", "wallet_share", "orders_per_minute", "orders_per_day")


@pytest.mark.parametrize("name", LIFTED)
def test_none_lifts_what_is_built_in(name: str, tmp_path: Path) -> None:
    """The one word for it; a person has to write it."""
    assert getattr(BUILT_IN.defaults, name) is not None
    policy = loaded(tmp_path, f'[defaults]\n{name} = "none"\n')
    assert getattr(policy.defaults, name) is None


def test_every_limit_that_can_be_absent_takes_none(tmp_path: Path) -> None:
    """An agent may be spared each limit of the defaults."""
    own_words = {"pairs", "hours"}
    can_be = {name for name, one in LimitsSection.model_fields.items() if one.default is None}
    for name in sorted(can_be - own_words):
        policy = loaded(tmp_path, f'[agents."a"]\n{name} = "none"\n')
        assert getattr(policy.limits("a"), name) is None
    for name in TotalSection.model_fields:
        assert loaded(tmp_path, f'[total]\n{name} = "none"\n').totals == Totals()


@pytest.mark.parametrize(
    "line",
    [
        'pairs = "none"', 'hours = "none"', 'order_notional = "all"', 'order_notional = "None"',
        "order_notional = 0", "order_notional = -1", 'wallet_share = "1"', "wallet_share = 0",
        "wallet_share = 5", 'price_collar = "none"', 'price_collar = "1"', "price_tolerance = 2",
        "orders_per_minute = 0", 'orders_per_minute = "5"', "orders_per_minute = 1.5",
        "orders_per_minute = true", "agent_positions = -1", "repeats = 0", "price_age_s = 0",
        "duplicate_window_s = 86401", "duplicate_window_s = 0", "repeat_window_s = 86401",
        'repeat_window_s = "none"', 'enabled = "yes"', "enabled = 1", "preview_required = 0",
        'closes = "others"', "sides = []", 'sides = ["long"]', 'sides = "buy"', "pairs = []",
        'order_types = ["stop"]', "hours = []", 'daily_loss = "nan"', "asks_client = 1",
        "hours = [5]", 'pairs = ["btc/usdt"]', 'pairs = ["*"]',
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    """Never read as no limit, nor as the nearest thing that it might mean."""
    key = line.partition(" = ")[0]
    [told] = faults(tmp_path, f"# mine\n[defaults]\n\n{line}\n")
    assert told.startswith(f"line 4: defaults.{key}: ")


@pytest.mark.parametrize(
    "span",
    ["mon", "mon-fri", "08:00-09:00", "mon 8:00-9:00", "monday 08:00-09:00", "mon 08:00-25:00",
     "mon 08:60-09:00", "mon 24:01-24:00", "mon,tue 08:00-09:00", "mon 08:00 - 09:00", ""],
)  # fmt: skip
def test_hours_have_one_form(span: str, tmp_path: Path) -> None:
    """Which is told to whoever writes another."""
    [told] = faults(tmp_path, f'[agents."a"]\nhours = ["sun 00:00-24:00", "{span}"]\n')
    assert told.startswith("line 2: agents.a.hours: item 2: ")


@pytest.mark.parametrize("span", ["fri 22:00-06:00", "fri 10:00-10:00", "fri 24:00-00:00"])
def test_a_span_over_midnight_is_refused_and_told_how_to_write(span: str, tmp_path: Path) -> None:
    """It would be read as nothing, or as nearly all of the week."""
    [told] = faults(tmp_path, f'[defaults]\nhours = ["{span}"]\n')
    assert '"fri 22:00-24:00" and "sat 00:00-06:00"' in told


def test_days_go_around_the_week_and_spans_that_touch_are_one(tmp_path: Path) -> None:
    """Friday to Monday are four days; what is written twice is there once."""
    policy = loaded(
        tmp_path,
        '[defaults]\nhours = ["FRI-mon 08:00-09:00", "sat 09:00-10:00", "sun 08:30-08:45"]\n',
    )
    assert policy.defaults.hours == frozenset(
        {Hours(4, 480, 540), Hours(5, 480, 600), Hours(6, 480, 540), Hours(0, 480, 540)}
    )


def test_the_line_of_a_list_over_several_lines_is_its_first(tmp_path: Path) -> None:
    """There the key stands; which item it is, is told beside it."""
    text = '[defaults]\nenabled = true\npairs = [\n  "BTC/USDT",\n  "eth",\n]\nsides = []\n'
    first, second = faults(tmp_path, text)
    assert first.startswith("line 3: defaults.pairs: item 2: ")
    assert second.startswith("line 7: defaults.sides: ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[default]\n", "line 1: default"),
        ("[defaults]\norder_notionl = 5\n", "line 2: defaults.order_notionl"),
        ('[agents."a.b"]\nlimit = 5\n', 'line 2: agents."a.b".limit'),
        ("[total]\nagent_positions = 5\n", "line 2: total.agent_positions"),
        ('[agents.""]\nenabled = true\n', 'line 1: agents.""'),
        (f'[agents."{"a" * 129}"]\n', f"line 1: agents.{'a' * 129}"),
        ("agents = 5\n", "line 1: agents"),
        ("[markets]\nwaiting = 5\n", "line 2: markets.waiting"),
    ],
)
def test_a_name_that_is_not_known_is_refused(text: str, place: str, tmp_path: Path) -> None:
    """A rule that is misspelt is a rule that is missing."""
    told = faults(tmp_path, text)
    assert place in {one.rpartition(": ")[0] for one in told}


def test_the_hash_changes_with_any_rule_and_with_nothing_else(tmp_path: Path) -> None:
    """Comments, order and the form of a number are no rules."""
    one = loaded(tmp_path, '[defaults]\norder_notional = "50"\nhours = ["mon-tue 08:00-09:00"]\n')
    same = loaded(
        tmp_path,
        '# again\n[defaults]\nhours = ["tue 08:00-09:00", "mon 08:00-08:30", "mon 08:30-09:00"]\n'
        "order_notional = 50.00\n",
    )
    other = loaded(tmp_path, '[defaults]\norder_notional = "50.01"\n')
    assert one.hash == same.hash
    assert one == same
    assert len({one.hash, other.hash, BUILT_IN.hash, loaded(tmp_path, "[defaults]").hash}) == 4


@settings(max_examples=100, deadline=None)
@given(policy=policies(), name=st.text(min_size=1, max_size=9))
def test_a_policy_is_shown_as_a_file_that_tells_the_same(
    policy: Policy, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever an agent is called: what is shown can be read back, rule by rule."""
    agents = {one.encode(errors="replace").decode(): two for one, two in policy.agents.items()}
    agents[name.encode(errors="replace").decode()] = replace(policy.defaults, enabled=False)
    policy = replace(policy, agents=MappingProxyType(agents), written=True)
    again = loaded(tmp_path_factory.getbasetemp(), as_toml(policy))
    for agent in (*agents, "another"):
        ours, theirs = again.limits(agent), policy.limits(agent)
        assert in_minutes(ours) == in_minutes(theirs)
    assert (again.totals, again.amounts) == (policy.totals, policy.amounts)
    for pair in ("BTC/USDT", "ETH/USDT", "ETH/EUR"):
        assert again.market(pair) == policy.market(pair)


def in_minutes(limits: Limits) -> Limits:
    """Return limits with their hours as they would be merged."""
    return limits if limits.hours is None else replace(limits, hours=merged(limits.hours))


def test_no_doubt_is_told_of_what_is_built_in(tmp_path: Path) -> None:
    """Warnings that are always there are not read."""
    assert doubts(BUILT_IN) == ()
    assert doubts(loaded(tmp_path, "[defaults]")) == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('order_notional = "100"\napproval_above = "100"', "nobody is ever asked"),
        ('order_notional = "100"\npair_notional = "99"', "pair_notional"),
        ('order_notional = "100"\ndaily_notional = "99"', "daily_notional"),
        ("asks_client = true", "nothing to ask"),
        ('asks_client = true\napproval_above = "5"', "itself"),
        ('sides = ["buy"]', "never held back"),
        ('pairs = ["SOL/USDT", "*/USDT"]\n[markets."BTC/USDT"]\nlot_step = 1', "SOL/USDT"),
        ("orders_per_day = 50\n[total]\norders_per_day = 49", "[total]"),
    ],
)
def test_what_may_not_be_meant_is_told(text: str, word: str, tmp_path: Path) -> None:
    """The file holds all the same."""
    [told] = doubts(loaded(tmp_path, f"[defaults]\n{text}\n"))
    assert told.startswith("defaults: ")
    assert word in told


def test_doubts_are_told_of_agents_that_differ(tmp_path: Path) -> None:
    """Once for the defaults, and once for each agent of its own."""
    text = '[defaults]\nsides = ["buy"]\n[agents.a]\n[agents.b]\nenabled = false\n'
    assert [one.partition(": ")[0] for one in doubts(loaded(tmp_path, text))] == [
        "defaults", 'agents."b"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("most", "section"),
    [(MOST_AGENTS, '[agents."a{}"]\nenabled = false\n'), (MOST_MARKETS, '[markets."A{}/B"]\nlot_step = "1"\n')],
    ids=["agents", "markets"],
)  # fmt: skip
def test_a_file_of_more_sections_than_anybody_reads_is_refused(
    most: int, section: str, tmp_path: Path
) -> None:
    """Each of them is held against the old policy at every change."""
    path = tmp_path / "policy.toml"
    path.write_text("".join(section.format(number) for number in range(most)))
    load_policy(path)
    with path.open("a") as file:
        file.write(section.format(most))
    with pytest.raises(ConfigurationError) as refused:
        load_policy(path)
    assert [f"more than {most} of them" in fault for fault in refused.value.faults] == [True]
