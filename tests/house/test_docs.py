"""What README and docs/ say is there: links, commands, targets, tools, routes, metrics."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from mcp_gateway.cli.main import cli
from mcp_gateway.domain.operations import OPERATIONS, SCOPES, TOOLS
from mcp_gateway.risk.rules import RULES
from mcp_gateway.telemetry import metrics
from tests.house import risk_table
from tests.house.repository import PACKAGE, ROOT, Page, modules, page, pages, rows
from tests.support.gateway import Face, settings_for

pytestmark = pytest.mark.unit

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)+/?")
SCRIPT = "mcp-gateway"
ENDS = {"<", ">", "|", "&&", "#"}


def of_pages() -> pytest.MarkDecorator:
    """Run a test once for each page."""
    return pytest.mark.parametrize("told", pages(), ids=lambda one: one.name)


@of_pages()
def test_every_relative_link_leads_somewhere(told: Page) -> None:
    """A link names a file of the repository, after # a heading of it, and reads as it leads."""
    for text, target in LINK.findall(told.prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        assert not text.endswith(".md") or path.endswith(text), f"{told.name}: {text}"
        linked = (told.path.parent / path).resolve() if path else told.path
        assert linked.exists(), f"{told.name}: {target}"
        assert linked.is_relative_to(ROOT)
        if anchor:
            assert anchor in Page(linked).anchors(), f"{told.name}: {target}"


def paths_in(text: str) -> set[str]:
    """Return the words that name a file or a folder of the repository, or of the package."""
    words = {word.split("::")[0] for code in CODE.findall(text) for word in code.split()}
    return {
        word
        for word in words
        if PATH.fullmatch(word)
        if word.endswith((".py", ".md", ".toml", ".json", ".yml", "/"))
        or any((home / word.split("/")[0]).is_dir() for home in (ROOT, PACKAGE))
    }


@of_pages()
def test_every_path_that_the_prose_names_exists(told: Page) -> None:
    """`tests/…` of the repository or `room/module.py` of the package; a moved file moves its name."""
    gone = {one for one in paths_in(told.prose) if not any([*ROOT.glob(one), *PACKAGE.glob(one)])}
    assert gone == set()


def test_the_architecture_page_names_paths() -> None:
    """Nothing that is found in no page could be missing."""
    found = paths_in(page("docs/architecture.md").prose)
    assert {"cli/control/verbs.py", "tests/house/", "risk/judge.py"} <= found
    assert paths_in("`BTC/USDT` `tools/list` `tests/gone` `orders/gone.py`") == {
        "tests/gone", "orders/gone.py",
    }  # fmt: skip


def shell_lines(told: Page) -> Iterator[str]:
    """Yield the command lines of a page's shell blocks, continued lines joined."""
    for block in told.blocks("bash"):
        yield from block.replace("\\\n", " ").splitlines()


def words_after_script(line: str) -> list[str] | None:
    """Return the words that the script is given in a command line; None where it is not run."""
    words = shlex.split(line, comments=True)
    if words[:2] == ["docker", "compose"] and "exec" not in words:
        return None
    places = [n for n, word in enumerate(words) if Path(word).name == SCRIPT]
    if not places:
        return None
    given = words[places[-1] + 1 :]
    if words[0] == "npx":  # what follows is the Inspector's own
        given = given[: given.index("--method")]
    ends = [n for n, word in enumerate(given) if word in ENDS]
    return given[: ends[0]] if ends else given


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """Follow command names down from the top; return the command and the words left over."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"no such command: {' '.join(words)}"
        command, words = found, words[1:]
    return command, words


@of_pages()
def test_every_command_line_in_a_block_is_one_that_the_script_takes(told: Page) -> None:
    """A reader may paste it: the command exists and takes these arguments."""
    for line in shell_lines(told):
        if (words := words_after_script(line)) is not None:
            command, rest = resolve(words)
            command.make_context(SCRIPT, list(rest))


@of_pages()
def test_every_command_that_the_prose_names_exists_with_its_options(told: Page) -> None:
    """`mcp-gateway …` in running text names no command and no option that is not there."""
    for code in CODE.findall(told.prose):
        if not code.startswith(f"{SCRIPT} "):
            continue
        command, rest = resolve(shlex.split(code)[1:])
        known = {name for parameter in command.params for name in parameter.opts}
        for word in rest:
            if word.startswith("--"):
                assert word in known | {"--help"}, f"{told.name}: {code}"


@of_pages()
def test_every_make_target_that_is_named_exists(told: Page) -> None:
    """`make X` in text and blocks."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [code for code in CODE.findall(told.prose) if code.startswith("make")]
    named += [line for line in shell_lines(told) if line.startswith("make")]
    for command in named:
        words = [word for word in shlex.split(command, comments=True)[1:] if "=" not in word]
        assert words, f"{told.name}: plain make runs whatever stands first"
        assert set(words) <= targets, f"{told.name}: {command}"


@of_pages()
def test_every_block_is_valid_in_its_language(told: Page) -> None:
    """Python compiles, JSON and TOML parse."""
    for block in told.blocks("python"):
        compile(block, told.name, "exec")
    for block in told.blocks("json"):
        json.loads(block)
    for block in told.blocks("toml"):
        tomllib.loads(block)


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and everything below it."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(found, f"{name} {below}")


@pytest.mark.parametrize(
    ("name", "command"),
    [pytest.param(name, command, id=name) for name, command in commands(cli, SCRIPT)],
)
def test_every_command_has_help_with_an_example_that_it_takes(
    name: str, command: click.Command
) -> None:
    """Every command has --help with an example."""
    text = command.get_help(click.Context(command, info_name=name))
    example = re.search(r"Example: (.*(?:\n +\S.*)*?)(?:\n\n|\Z)", text)
    assert example is not None
    words = words_after_script(" ".join(example[1].split()))
    assert words is not None
    found, rest = resolve(words)
    found.make_context(SCRIPT, list(rest))


def test_the_readme_tells_every_tool_with_its_scopes() -> None:
    """README's table is the table of operations, tool by tool."""
    told = {row[0].strip("`"): row[-1] for row in rows(page("README.md").text)}
    for tool in TOOLS:
        scopes = sorted(OPERATIONS[tool].scopes)
        assert sorted(re.findall(r"`([a-z:]+)`", told[tool])) == scopes


def test_the_tokens_page_tells_every_scope() -> None:
    """docs/tokens.md has each scope, and says of which nothing asks for it yet."""
    told = {row[0].strip("`"): row[1] for row in rows(page("docs/tokens.md").text)}
    asking = [one for one in OPERATIONS.values() if one.scopes != set(SCOPES)]  # any will do
    used = {scope for one in asking for scope in {*one.scopes, one.live_scope}}
    for scope in SCOPES:
        assert ("nothing asks for it" in told[scope]) == (scope not in used)


def test_the_readme_names_every_resource() -> None:
    """Each resource and template that the MCP face registers stands in README."""
    source = (PACKAGE / "transports/mcp/resources.py").read_text()
    uris = re.findall(r'@server\.resource\("([^"]+)"', source)
    assert uris
    for uri in uris:
        assert f"`{uri}`" in page("README.md").text


def test_the_rest_page_names_the_routes_that_there_are(tmp_path: Path) -> None:
    """docs/rest.md and the one table of routes agree, both ways."""
    head = page("docs/rest.md").text.split("## Tokens")[0]
    told = set()
    for row in rows(head):
        if (first := re.match(r"`(GET|POST|DELETE) ", row[0])) is not None:
            told |= {(first[1], path) for path in re.findall(r"(/[^`]+)`", row[0])}
    there = {(route.method, route.path) for route in Face(settings_for(tmp_path)).routes}
    said_apart = {("GET", "/openapi.json"), ("GET", "/.well-known/oauth-protected-resource")}

    assert told == there - said_apart
    assert "`/openapi.json`" in head


def test_the_metrics_page_names_every_metric_and_no_other() -> None:
    """docs/metrics.md: the registry's names."""
    section = page("docs/metrics.md").text
    told = {name for row in rows(section)[1:] for name in re.findall(r"`(\w+)`", row[0])}
    there = set()
    for family in metrics.REGISTRY.collect():
        there.add(f"{family.name}_total" if family.type == "counter" else family.name)

    assert told == there


def test_the_operations_page_names_codes_that_the_gateway_tells() -> None:
    """Whoever searches the page for a code at night must find one that exists."""
    section = page("docs/operations.md").text.split("## At three in the morning")[1]
    source = "\n".join(path.read_text(encoding="utf-8") for path in modules())
    codes = [
        code
        for row in rows(section.split("\n## ")[0])[1:]
        for code in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row[0])
        if not code.startswith("mcp_gateway_")
    ]
    assert codes
    for code in codes:
        assert f'"{code}"' in source, code


def test_the_risk_page_tells_every_rule_as_the_code_does() -> None:
    """docs/risk.md, the table: `python -m tests.house.risk_table` writes it; people the examples."""
    text = page(risk_table.PAGE).text
    assert risk_table.told(text) == risk_table.table(text)
    for row in rows(risk_table.told(text))[1:]:
        assert row[4].strip(" |"), f"no example: {row[0]}"


def test_the_risk_page_maps_every_rule_to_a_requirement_or_says_that_there_is_none() -> None:
    """A reader with the regulation in hand looks for each of ours; none is forgotten."""
    section = page(risk_table.PAGE).text.split("## What the regulators ask for")[1]
    named = set(re.findall(r"`(\w+)`", section))
    assert {rule.code for rule in RULES} <= named


def test_the_pages_stay_short() -> None:
    """A page longer than two hundred lines is two pages; README has some room beyond."""
    for told in pages():
        longest = 240 if told.name == "README.md" else 200
        assert len(told.text.splitlines()) <= longest, told.name
