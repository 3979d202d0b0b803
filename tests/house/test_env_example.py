"""`.env.example` and docs/configuration.md say what the settings are, no more and no less."""

import re
from pathlib import Path

import pytest

from mcp_gateway.settings import Settings, environment_name, known_names
from tests.house.repository import ROOT, page, rows

pytestmark = pytest.mark.unit

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SETTING = re.compile(r"^#([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def default(field: str) -> str:
    """Return a default as one writes it into a .env file; empty where nothing is set."""
    value = Settings.model_fields[field].default
    if field == "data_dir" or value is None:  # the folder depends on who starts the gateway
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_example_names_every_setting_once_with_its_default() -> None:
    """A reader of .env.example needs to look nowhere else."""
    told = SETTING.findall(EXAMPLE)
    expected = {name: default(field) for name, field in known_names().items()}

    assert dict(told) == expected
    assert len(told) == len(expected)


def test_every_setting_of_the_example_has_its_meaning_above_it() -> None:
    """A name alone explains nothing: a comment stands above it, or above its group."""
    for group in re.split(r"\n\s*\n", EXAMPLE):
        lines = group.splitlines()
        if any(SETTING.match(line) for line in lines):
            assert re.match(r"# [A-Za-z]", lines[0]), group


def test_the_example_with_every_line_taken_in_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shows as the defaults are the defaults, in a form that is read."""
    (tmp_path / ".env").write_text(SETTING.sub(r"\1=\2", EXAMPLE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert Settings.load().model_dump() == Settings.apart().model_dump()


def test_no_line_of_the_example_is_in_force() -> None:
    """A copied file must not set anything by itself, least of all a secret."""
    lines = [line for line in EXAMPLE.splitlines() if line.strip()]
    assert all(line.startswith("#") for line in lines)


def test_the_configuration_page_tells_every_setting_as_the_code_does() -> None:
    """docs/configuration.md: name, default and meaning of each, in the code's words."""
    told = {}
    for row in rows(page("docs/configuration.md").text):
        if re.fullmatch(r"`[A-Z][A-Z0-9_]*`", row[0]):
            assert row[0] not in told
            told[row[0]] = row[1:]
    expected = {}
    for field, about in Settings.model_fields.items():
        value = "~/.local/share/mcp-gateway" if field == "data_dir" else default(field)
        shown = f"`{value}`" if value else "–"
        expected[f"`{environment_name(field)}`"] = [shown, about.description]

    assert told == expected
