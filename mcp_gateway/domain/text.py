"""Texts that others wrote, made fit for a reader: a model, a person's terminal, a log.

What a bot, a strategy or an agent wrote is data. It may try to look like something else: hide
words, turn the reading direction, move a cursor, or be endless. Here is the one place that
takes that away; nothing here can tell a lie from the truth, so such a text never stands in a
sentence of ours without a field that names its source.

Source: Unicode Technical Report 36 (security), Unicode Standard Annex 15 (NFC).
"""

import unicodedata
from typing import Final

LONGEST_LINE: Final = 200  # characters of a name, a tag, a state
CUT: Final = "…"
# Marks on a letter: what carries more of them than any script needs, covers its neighbours.
MOST_MARKS: Final = 3
# Control, format (bidi, zero-width, tags), surrogates, private and unassigned; separators of
# lines and paragraphs.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS: Final = frozenset({"Mn", "Me"})
_SELECTORS: Final = (
    range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0), range(0x180B, 0x1810), range(0x34F, 0x350),
)  # fmt: skip
# Letters by category that show as nothing at all.
_BLANKS: Final = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """Return a text on one line, in NFC, without what is unseen, and cut with a mark.

    Args:
        longest: characters, the mark of the cut included.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(_seen(unicodedata.normalize("NFC", text[: 4 * longest + 4])))
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - len(CUT)] + CUT


def _seen(text: str) -> list[str]:
    """Keep what shows; what does not, divides words as a space would."""
    kept: list[str] = []
    marks = 0
    for one in text:
        category = unicodedata.category(one)
        marks = marks + 1 if category in _MARKS else 0
        if category in _MARKS and (marks > MOST_MARKS or _selects(one)):
            continue
        kept.append(" " if category in _UNSEEN or one in _BLANKS else one)
    return kept


def _selects(one: str) -> bool:
    return any(ord(one) in block for block in _SELECTORS)
