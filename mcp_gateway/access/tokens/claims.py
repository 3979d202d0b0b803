"""What may stand in a token of ours: names, scopes, lifetimes."""

from collections.abc import Collection
from typing import Final

from mcp_gateway.domain.operations import SCOPES
from mcp_gateway.domain.text import one_line

LOCAL: Final = "local"  # issuer, and default subject, of whoever starts the process
LONGEST_SUBJECT: Final = 128
LONGEST_LIST: Final = 64


def acceptable_subject(name: object) -> bool:
    """Tell whether ``name`` can name a caller: a visible line of 1 to 128 characters.

    What nobody sees in it could make two callers look like one.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_SUBJECT:
        return False
    return name.isprintable() and one_line(name, LONGEST_SUBJECT) == name


def unfit(
    subject: str, scopes: Collection[str], ttl_s: int, act_for: Collection[str], longest_s: int
) -> str | None:
    """Return why no token could be issued like this, None where one could."""
    if not acceptable_subject(subject) or not all(map(acceptable_subject, act_for)):
        return f"a subject is printable text of 1 to {LONGEST_SUBJECT} characters"
    if len(act_for) > LONGEST_LIST:
        return f"a token acts for at most {LONGEST_LIST} others"
    if unknown := sorted(set(scopes) - set(SCOPES)):
        return f"unknown scope {' '.join(unknown)}; known: {' '.join(SCOPES)}"
    if not 0 < ttl_s <= longest_s:
        return f"a token lives 1 to {longest_s} seconds"
    return None
