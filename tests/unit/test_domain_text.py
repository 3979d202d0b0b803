"""Texts of others: on one line, visible, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.domain.text import CUT, LONGEST_LINE, MOST_MARKS, one_line
from tests.support.hostile import HOSTILE, SURROGATES, shows_raw

pytestmark = pytest.mark.unit


def test_there_are_two_hundred_hostile_texts() -> None:
    """Each another one."""
    assert len(set(HOSTILE)) >= 200


@pytest.mark.parametrize("text", [*HOSTILE, *SURROGATES], ids=lambda text: ascii(text)[:40])
def test_a_hostile_text_becomes_a_short_visible_line(text: str) -> None:
    """Nothing unseen, no line break, no more than its length; cleaning it again changes nothing."""
    line = one_line(text)
    assert not shows_raw(line)
    assert len(line) <= LONGEST_LINE
    assert line == line.strip()
    assert one_line(line) == line


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(1, 80))
def test_any_text_becomes_a_short_visible_line(text: str, longest: int) -> None:
    """Whatever Unicode has."""
    line = one_line(text, longest)
    assert not shows_raw(line)
    assert len(line) <= longest


@pytest.mark.parametrize(
    "plain",
    ["BTC/USDT", "mg-0f3a", "café", "数字貨幣", "צבע", "नमस्ते", "a b", "👍"],
    ids=["pair", "tag", "latin", "han", "hebrew", "devanagari", "words", "emoji"],
)
def test_honest_text_stays_as_it_is(plain: str) -> None:
    """Scripts with marks and other directions are honest."""
    assert one_line(plain) == plain


def test_what_hides_a_word_divides_it() -> None:
    """So that two words are not made one that nobody wrote."""
    assert one_line("sell\u202eyub") == "sell yub"
    assert one_line("a\u200bb\x1b[31mc") == "a b [31mc"


def test_a_cut_is_told() -> None:
    """A reader must know that there was more."""
    assert one_line("x" * 500, 10) == "x" * 9 + CUT


def test_marks_do_not_pile_up() -> None:
    """What covers its neighbours is taken away, accents are not."""
    assert one_line("x" + "\u0336" * 50) == "x" + "\u0336" * MOST_MARKS
