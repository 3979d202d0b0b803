"""Which names a token may carry."""

import pytest

from mcp_gateway.access.tokens.claims import LONGEST_SUBJECT, acceptable_subject

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "name",
    ["", " a", "a ", "a\nb", "a" * (LONGEST_SUBJECT + 1), "a\u200bb", "a\u202eb", "desk\ufe0f",
     "desk\u3164", "desk\u2800", "desk\U000e0101", "desk\u034f", "a" + "\u0336" * 9, 7, None],
    ids=lambda name: ascii(name)[:20],
)  # fmt: skip
def test_a_name_with_something_unseen_in_it_is_none(name: object) -> None:
    """Two callers that look like one would be taken for one."""
    assert not acceptable_subject(name)


@pytest.mark.parametrize(
    "name", ["signal-agent", "desk 7", "a@b.example", "café", "数字", "a" * LONGEST_SUBJECT],
    ids=["plain", "space", "mail", "accent", "han", "long"],
)  # fmt: skip
def test_an_honest_name_is_taken(name: str) -> None:
    """Whatever script it is in."""
    assert acceptable_subject(name)
