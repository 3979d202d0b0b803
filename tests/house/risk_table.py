"""The table of rules in docs/risk.md, made from the rules themselves; its examples are kept.

    python -m tests.house.risk_table

writes it anew. A rule that is new there gets an empty example, for a person to fill in.
"""

from typing import Final

from mcp_gateway.risk.rules import RULES, Rule
from tests.house.repository import page, rows

PAGE: Final = "docs/risk.md"
HEADING: Final = "## Every rule"
HEAD: Final = "| rule | binds | what must hold | setting | for example |"


def told(text: str) -> str:
    """Return the table that stands in a page."""
    _, _, below = text.partition(f"\n{HEADING}\n")
    section, _, _ = below.partition("\n## ")
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def table(text: str) -> str:
    """Return the table as it has to stand there, with the examples that the page has."""
    examples = {row[0].strip("`"): row[4] for row in rows(told(text))[1:]}
    lines = [_line(rule, examples.get(rule.code, "")) for rule in RULES]
    return "\n".join([HEAD, "| --- | --- | --- | --- | --- |", *lines])


def _line(rule: Rule, example: str) -> str:
    setting = f"`{rule.setting}`" if rule.setting else "–"
    return f"| `{rule.code}` | {rule.binds} | {rule.says} | {setting} | {example} |"


def write() -> None:
    """Write the table into the page."""
    found = page(PAGE)
    text = found.text
    found.path.write_text(text.replace(told(text), table(text)), encoding="utf-8")


if __name__ == "__main__":
    write()
