"""The files that others start the gateway from: image, compose file, desktop app's configuration."""

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mcp_gateway.cli.main import cli
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.doubts import doubts
from mcp_gateway.risk.policy import BUILT_IN, Policy, as_json
from mcp_gateway.risk.sections import LimitsSection, MarketSection, TotalSection
from mcp_gateway.settings import Settings, known_names
from tests.house.repository import ROOT, page

pytestmark = pytest.mark.unit

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GIVEN = "0123456789abcdef" * 4  # what an operator puts in for each secret, made to differ below


def image_environment() -> dict[str, str]:
    """Return what the image's last stage sets."""
    last = DOCKERFILE.split("\nFROM ")[-1]
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)", last, re.MULTILINE)
    return dict(re.findall(r"(\w+)=(\S+)", block))


def compose() -> dict[str, Any]:
    """Return the compose file as YAML has it, anchors resolved."""
    told: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return told


def filled(values: dict[str, str]) -> dict[str, str]:
    """Fill in a service's environment as compose does, with a value for everything required."""

    def value(match: re.Match[str]) -> str:
        name, form, rest = match.groups()
        if form == ":-":
            return str(rest)
        return "http://bot:8080" if name.endswith("_URL") else f"{name.lower()}-{GIVEN}"[:64]

    return {
        name: re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, text) for name, text in values.items()
    }


def test_the_dockerfile_passes_its_linter() -> None:
    """Hadolint finds nothing, not even of style."""
    hadolint = Path(sys.executable).parent / "hadolint"
    told = subprocess.run(
        [hadolint, "--failure-threshold", "style", ROOT / "Dockerfile"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout


def test_the_image_runs_without_root_and_checks_its_health() -> None:
    """A user of its own, the agreed port, and a health check in Python that compiles."""
    last = DOCKERFILE.split("\nFROM ")[-1]
    health = re.search(r"HEALTHCHECK [^[]*CMD (\[.*\])", last)

    assert health is not None
    python, flag, code = json.loads(health[1])
    assert (python, flag) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert "/health/live" in code
    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    assert re.search(r"^EXPOSE 8000$", last, re.MULTILINE)
    assert re.search(r"^VOLUME /data$", last, re.MULTILINE)
    assert image_environment()["MCP_GATEWAY_DATA_DIR"] == "/data"


def test_the_image_installs_pinned_bytes_only() -> None:
    """Whatever an index serves is held against a hash of ours."""
    for command in re.findall(r"(?:pip|uv) (?:pip )?(?:install|sync|build)[^&\n]*", DOCKERFILE):
        assert "--require-hashes" in command or "--no-deps" in command, command


def test_the_image_alone_refuses_to_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens beyond loopback, so nothing that makes this safe may come with it."""
    monkeypatch.chdir(tmp_path)  # no .env of whoever runs the tests
    for name, value in image_environment().items():
        if name in known_names():
            monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError) as refused:
        Settings.load("serve")

    named = {fault.split(":")[0] for fault in refused.value.faults}
    assert named == {"JWT_SECRET", "MCP_GATEWAY_ALLOWED_HOSTS", "MCP_GATEWAY_ALLOWED_ORIGINS"}


def test_the_builder_sees_what_the_image_is_made_of_and_nothing_else() -> None:
    """`.env` and `.git` stay outside; every source of a COPY is let in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = set()
    for words in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        copied |= set(words.split()[:-1])

    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_compose_runs_the_gateway_with_redis_and_postgresql() -> None:
    """The services' names, a health check for each that serves, and one port on loopback."""
    services = compose()["services"]

    assert set(services) == {"mcp-gateway", "migrate", "redis", "postgres"}
    assert {"redis", "migrate"} <= set(services["mcp-gateway"]["depends_on"])
    assert "postgres" in services["migrate"]["depends_on"]
    for name in ("redis", "postgres"):
        assert services[name]["healthcheck"]["test"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:8000:8000"]


def test_compose_gives_no_secret_a_default() -> None:
    """A secret that everybody can read in the file is none: compose must stop without it."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    secret = re.compile(r"\$\{(\w*(?:SECRET|PASSWORD)\w*)([^}]*)\}")
    told = secret.findall(text)

    assert {"JWT_SECRET", "HMAC_SECRET", "REDIS_PASSWORD", "POSTGRES_PASSWORD"} <= {
        name for name, _ in told
    }
    assert all(form.startswith(":?") for _, form in told)
    for service in compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD", name):
                assert value.startswith("${"), name


def test_what_compose_passes_is_a_safe_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is a setting, and with the secrets filled in the gateway would serve."""
    gateway = compose()["services"]["mcp-gateway"]["environment"]
    assert set(gateway) <= set(known_names())
    for name, value in (image_environment() | filled(gateway)).items():
        if name in known_names():
            monkeypatch.setenv(name, value)

    settings = Settings.load("serve")

    assert settings.host == "0.0.0.0"
    assert settings.redis_url is not None
    assert not settings.embedded_store


def test_compose_lays_the_policy_where_it_tells_the_gateway_to_look() -> None:
    """The operator's own file, read-only, with no numbers of ours in its place."""
    gateway = compose()["services"]["mcp-gateway"]
    [mount] = [volume for volume in gateway["volumes"] if isinstance(volume, dict)]
    assert mount["target"] == gateway["environment"]["MCP_GATEWAY_POLICY"]
    assert mount["source"].startswith("${MCP_GATEWAY_POLICY:?")
    assert mount["read_only"] is True


def knows_both_numbers(policy: Policy, pair: str) -> bool:
    return policy.market(pair).smallest_safe_stake(Decimal(1)) is not None


def test_the_example_of_a_policy_loads_and_tells_all_of_its_pairs() -> None:
    """A copy of it must start the gateway, and let a first order in these pairs through."""
    policy = load_policy(ROOT / "policy.example.toml")
    assert set(policy.markets) == {"BTC/USDT", "ETH/USDT", "*/USDT"}
    assert knows_both_numbers(policy, "BTC/USDT")
    assert knows_both_numbers(policy, "ETH/USDT")
    assert not knows_both_numbers(policy, "SOL/USDT")


def test_the_example_of_a_policy_says_what_holds_without_it() -> None:
    """Whoever copies it has changed nothing but the markets, and may begin from there."""
    policy = load_policy(ROOT / "policy.example.toml")
    assert policy.defaults == BUILT_IN.defaults
    assert policy.totals == BUILT_IN.totals
    assert doubts(policy) == ()


def test_the_example_of_a_policy_has_every_key_in_a_form_that_loads(tmp_path: Path) -> None:
    """A reader of it needs to look nowhere else; a line that is commented in is a sound one."""
    text = (ROOT / "policy.example.toml").read_text(encoding="utf-8")
    keys = set(re.findall(r"^#?(\w+) = ", text, re.MULTILINE))
    sections = (LimitsSection, TotalSection, MarketSection)
    assert keys == {name for section in sections for name in section.model_fields}
    known = re.sub(r'^(pairs = "all"|hours = "always").*$', "", text, flags=re.MULTILINE)
    commented_in = re.sub(r"^#(\w+ = |\[)", r"\1", known, flags=re.MULTILINE)
    (tmp_path / "policy.toml").write_text(commented_in)
    policy = load_policy(tmp_path / "policy.toml")
    assert None not in as_json(policy.defaults).values()
    assert None not in as_json(policy.totals).values()
    assert policy.agents.keys() == {"night-agent"}
    assert policy.largest_amount("ETH/USDT") is not None


@pytest.mark.parametrize("heading", ["The policy", "Markets"])
def test_the_policies_that_the_configuration_page_shows_load(heading: str, tmp_path: Path) -> None:
    """docs/configuration.md: a reader may paste them."""
    section = page("docs/configuration.md").text.split(f"## {heading}\n")[1].split("\n## ")[0]
    [shown] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "policy.toml").write_text(shown)
    assert load_policy(tmp_path / "policy.toml").written


def test_the_policy_that_the_configuration_page_shows_loads(tmp_path: Path) -> None:
    """docs/configuration.md, Markets."""
    section = page("docs/configuration.md").text.split("## Markets")[1].split("\n## ")[0]
    [shown] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "policy.toml").write_text(shown)
    policy = load_policy(tmp_path / "policy.toml")
    assert set(policy.markets) == {"BTC/USDT", "*/USDT"}
    assert knows_both_numbers(policy, "BTC/USDT")


def test_the_desktop_apps_configuration_starts_commands_that_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each server: the command, its options, and settings that it would start with."""
    told = json.loads((ROOT / "claude_desktop_config.example.json").read_text(encoding="utf-8"))
    servers = told["mcpServers"]
    assert [server["args"] for server in servers.values()] == [
        ["stdio"],
        ["bridge", "--url", "https://gateway.example"],
        ["sandbox", "--stdio"],
    ]
    for server in servers.values():
        name, *arguments = server["args"]
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, arguments)
        assert Path(server["command"]).name == "mcp-gateway"
        for setting, value in server.get("env", {}).items():
            assert setting in known_names()
            monkeypatch.setenv(setting, value)

    assert "orders:create" not in Settings.load("stdio").scopes
