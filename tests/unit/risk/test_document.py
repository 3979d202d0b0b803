"""The policy file: read whole or refused whole, each fault with its line."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.risk import document as policy
from mcp_gateway.risk.document import (
    LARGEST_BYTES,
    MOST_FAULTS,
    MOST_SEARCHED,
    load_policy,
    policy_faults,
)
from mcp_gateway.risk.policy import Policy
from mcp_gateway.sandbox.market import LISTINGS
from mcp_gateway.sandbox.policy import write_policy
from mcp_gateway.settings import Settings
from tests.support.clock import ManualClock
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.unit

NAME = "MCP_GATEWAY_POLICY: "
TABLE = '[markets."BTC/USDT"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_bytes(text.encode())
    return path


def loaded(folder: Path, text: str) -> Policy:
    return load_policy(written(folder, text))


def faults(folder: Path, text: str) -> list[str]:
    """Return what is told of a file that is refused, without the setting's name before it."""
    with pytest.raises(ConfigurationError) as refused:
        loaded(folder, text)
    assert refused.value.code == "configuration_invalid"
    assert all(fault.startswith(NAME) for fault in refused.value.faults)
    return [fault.removeprefix(NAME) for fault in refused.value.faults]


def places(folder: Path, text: str) -> list[str]:
    """Return where the faults of a refused file are, as it tells them."""
    return [": ".join(fault.split(": ")[:-1]) for fault in faults(folder, text)]


def test_without_a_file_nothing_is_known() -> None:
    """No default stands in for what only the operator can tell."""
    assert load_policy(None) == Policy()
    assert load_policy(None).market("BTC/USDT") == MarketRules()


def test_an_empty_section_says_nothing(tmp_path: Path) -> None:
    """Everything in it is optional; but a person wrote it, and says that it may be."""
    assert loaded(tmp_path, "[defaults]  # later\n") == Policy(written=True)


@pytest.mark.parametrize("number", ['"0.1"', "0.1", "1e-1", '"1e-1"', "0.100"])
def test_a_number_is_exactly_what_was_written(number: str, tmp_path: Path) -> None:
    """No float comes in between: 0.1 is a tenth."""
    policy = loaded(tmp_path, f"{TABLE}lot_step = {number}\n")
    assert policy.market("BTC/USDT") == MarketRules(lot_step=Decimal("0.1"))


def test_whole_numbers_and_every_key_are_read(tmp_path: Path) -> None:
    """Three keys, none of them required."""
    text = f"{TABLE}lot_step = 1\nminimum_stake = 5\nminimum_amount = 2\n"
    expected = MarketRules(Decimal(1), Decimal(5), Decimal(2))
    assert loaded(tmp_path, text).market("BTC/USDT") == expected


def test_the_exact_pair_wins_over_the_pattern_field_by_field(tmp_path: Path) -> None:
    """Wherever they stand in the file; a pattern speaks for its quote alone."""
    policy = loaded(
        tmp_path,
        """
        [markets."*/USDT"]
        lot_step = "1"
        minimum_stake = "10"
        [markets."BTC/USDT"]
        lot_step = "0.00001"
    """,
    )
    assert policy.market("BTC/USDT") == MarketRules(Decimal("0.00001"), Decimal(10))
    assert policy.market("ETH/USDT") == MarketRules(Decimal(1), Decimal(10))
    assert policy.market("BTC/USDT:USDT") == MarketRules(Decimal(1), Decimal(10))
    assert policy.market("BTC/EUR") == MarketRules()
    assert policy.market("USDT/EUR") == MarketRules()


@pytest.mark.parametrize(
    "value",
    ['"0"', "0", "-1", '"-0.1"', "inf", "-inf", "nan", '"Infinity"', "1e999", "1e16", '"1e-19"',
     '""', '"five"', '"1_000"', "true", "[5]", "{a = 5}", "2025-01-01"],
)  # fmt: skip
def test_a_number_is_finite_positive_and_bounded(value: str, tmp_path: Path) -> None:
    """Anything else would let every order through, or none."""
    for key in ("lot_step", "minimum_stake", "minimum_amount"):
        told = places(tmp_path, f"{TABLE}{key} = {value}\n")
        assert told == [f'line 2: markets."BTC/USDT".{key}']


@pytest.mark.parametrize(
    "name",
    ["btc/usdt", "BTC", "BTC/*", "*/*", "*", "*/usdt", "BTC/USDT ", "", "*/USDT:USDT", "/USDT"],
)
def test_a_market_is_a_pair_or_all_pairs_of_a_quote(name: str, tmp_path: Path) -> None:
    """A name that nothing matches would leave its rules out in silence."""
    [told] = faults(tmp_path, f'\n[markets."{name}"]\nlot_step = 1\n')
    assert told.startswith("line 2: markets.")
    assert "BTC/USDT" in told
    assert "*/USDT" in told


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("lot_step = 1\n", "line 1: lot_step"),
        ("[market]\n", "line 1: market"),
        (f"{TABLE}lot_size = 1\n", 'line 2: markets."BTC/USDT".lot_size'),
        ("markets = 5\n", "line 1: markets"),
        ('[markets]\n"BTC/USDT" = 5\n', 'line 2: markets."BTC/USDT"'),
    ],
)
def test_a_key_that_is_not_known_is_refused(text: str, place: str, tmp_path: Path) -> None:
    """A misspelt rule would not be there, and nobody would know."""
    assert places(tmp_path, text) == [place]


@pytest.mark.parametrize(
    "text",
    [
        '[markets]\n\n"BTC/USDT".lot_step = 0\n',
        'markets."ETH/USDT".lot_step = 1\n\nmarkets."BTC/USDT".lot_step = 0\n',
        '[markets]\n\n"BTC/USDT" = {minimum_stake = 1, lot_step = 0}\n',
        "[markets.'BTC/USDT'] # [markets]\n# lot_step = 1\n  lot_step=0",
        '\n[ markets . "BTC/USDT" ]\r\nlot_step = """0"""\r\n',
        '[markets."ETH/USDT"]\n[markets."BTC/USDT"]\n"lot_step" = 0\n',
    ],
    ids=["dotted", "bare", "inline", "commented", "windows", "quoted"],
)
def test_the_line_is_found_however_it_is_written(text: str, tmp_path: Path) -> None:
    """TOML has many forms for the same; the fault stands on the third line of each."""
    assert places(tmp_path, text) == ['line 3: markets."BTC/USDT".lot_step']


def test_what_has_no_line_is_told_without_one(tmp_path: Path) -> None:
    """Beside a value over several lines, one of which looks like a table's head."""
    text = f'{TABLE}minimum_stake = """\n[\n"""\nlot_step = 0\n'
    assert sorted(places(tmp_path, text)) == [
        'markets."BTC/USDT".lot_step', 'markets."BTC/USDT".minimum_stake',
    ]  # fmt: skip


def test_every_fault_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """One start, one repair."""
    text = f"""{TABLE}lot_step = 0
step = 1
minimum_stake = -1
[markets."ETH"]
lot_step = "0.1"



[other]
"""
    told = [place.partition(":")[0] for place in places(tmp_path, text)]
    assert told == ["line 2", "line 3", "line 4", "line 5", "line 10"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"{TABLE}lot_step = 1\nlot_step = 2\n", "line 3"),
        (f"{TABLE}{TABLE}", "line 2"),
        (f"{TABLE}lot_step =\n", "line 2"),
        (f"{TABLE}lot_step = 1e99999999999999999999\n", "bounds"),
        (f"{TABLE}lot_step = {'9' * 5000}\n", "TOML"),
    ],
    ids=["key twice", "table twice", "no value", "exponent", "digits"],
)
def test_what_is_not_toml_is_refused_with_the_parsers_line(
    text: str, word: str, tmp_path: Path
) -> None:
    """A market told twice has no truth."""
    [told] = faults(tmp_path, text)
    assert told.startswith("not TOML")
    assert word in told


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"a = {'[' * 5000}", "brackets"),
        (f"a = {'{b = ' * 5000}", "brackets"),
        (f"a = {'[' * 5000}{']' * 5000}", "brackets"),
        (f"{TABLE}lot_step = 1 #{'x' * LARGEST_BYTES}", "larger than 1000000 bytes"),
    ],
    ids=["arrays", "tables", "closed", "size"],
)
def test_a_file_beyond_all_bounds_is_a_fault(text: str, word: str, tmp_path: Path) -> None:
    """Told in a sentence like any other, and soon."""
    [told] = faults(tmp_path, text)
    assert word in told


def test_a_key_of_a_thousand_dots_is_a_fault(tmp_path: Path) -> None:
    """The parser takes it; looking for its line must not fail by its depth."""
    [told] = faults(tmp_path, f"{'a.' * 5000}a = 1")
    assert "there is no such key" in told


def test_of_many_faults_the_first_are_told_and_how_many_follow(tmp_path: Path) -> None:
    """Their lines are looked for as long as that takes no time: three thousand took 15 s."""
    count = 3000
    told = faults(tmp_path, TABLE + "".join(f"key_{n} = 1\n" for n in range(count)))
    assert len(told) == MOST_FAULTS + 1
    assert all(place.startswith(f"line {n}: ") for n, place in enumerate(told[:-1], 2))
    assert told[-1] == f"and {count - MOST_FAULTS} more faults"


def test_a_long_table_costs_lines_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line of a table parses the ones before it again: that work is bounded."""
    parsed = []
    parse = policy._parsed

    def counted(text: str) -> dict[str, Any]:
        parsed.append(len(text))
        return parse(text)

    monkeypatch.setattr(policy, "_parsed", counted)
    text = TABLE + "# a line that says nothing\n" * 5000 + "lot_step = 0\n"
    assert places(tmp_path, text) == ['markets."BTC/USDT".lot_step']
    assert sum(parsed) <= len(text) + MOST_SEARCHED


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """Missing, a folder, or not text: the gateway must not start as if there were none."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    for path in (tmp_path / "missing.toml", tmp_path, latin):
        with pytest.raises(ConfigurationError) as refused:
            load_policy(path)
        [told] = refused.value.faults
        assert told.startswith(NAME)


def test_the_faults_of_the_named_file_can_be_told_beside_others(tmp_path: Path) -> None:
    """Settings.load tells them with its own."""
    assert policy_faults(Settings.apart()) == []
    good = written(tmp_path, f"{TABLE}lot_step = 1\n")
    assert policy_faults(Settings.apart(policy=good)) == []
    missing = tmp_path / "missing.toml"
    [told] = policy_faults(Settings.apart(policy=missing))
    assert told.startswith(f"{NAME}{missing}")


def test_the_sandbox_tells_what_its_exchange_publishes(tmp_path: Path) -> None:
    """Every pair, with the numbers of the simulated exchange itself."""
    policy = load_policy(write_policy(tmp_path))
    assert set(policy.markets) == {listing.pair for listing in LISTINGS.values()}
    for listing in LISTINGS.values():
        assert policy.market(listing.pair) == MarketRules(listing.lot, listing.min_notional)


def test_the_stand_ins_policy_knows_the_stand_ins_pairs() -> None:
    """Tests that place orders there need both numbers of each."""
    assert set(POLICY.markets) == set(TradingBot(ManualClock()).pairs)
    for rules in POLICY.markets.values():
        assert rules.smallest_safe_stake(Decimal(100)) is not None
