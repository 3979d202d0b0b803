"""Settings: read once, every fault told at once and by name, no secret told at all."""

import re
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway import settings as room
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Purpose, Settings, child_environment, known_names

pytestmark = pytest.mark.unit
KEY = "canary-key-" + "k" * 32
OTHER = "canary-other-" + "o" * 32


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No .env but the one that a test writes."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set variables for one test."""

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


def faults(purpose: Purpose = "command", **overrides: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(purpose, **overrides)
    assert refused.value.code == "configuration_invalid"
    return refused.value.faults


def named(told: tuple[str, ...]) -> list[str]:
    return [fault.partition(":")[0] for fault in told]


def test_without_any_setting_everything_is_embedded_and_on_loopback() -> None:
    """The defaults are safe: dry-run, memory, SQLite, no network but this machine's."""
    got = Settings.load("stdio")
    assert (got.mode, got.host, got.on_loopback) == ("dry-run", "127.0.0.1", True)
    assert (got.redis_url, got.embedded_store) == (None, True)
    assert got.scopes == DEFAULT_LOCAL_SCOPES
    assert got.legacy_signature is False


def test_every_fault_is_told_at_once_and_begins_with_its_name(environment: Any) -> None:
    """Wrong values, unsafe sets and misspelt names in one list: one start, one repair."""
    environment(
        FREQTRADE_POOL_SIZE="many", MCP_GATEWAY_PORT="70000", LOG_LEVEL="LOUD",
        MCP_GATEWAY_MODE="paper", FREQTRADE_URL="ftp://bot", MCP_GATEWAY_SCOPES="market:read all",
        JWT_SECRET="short", HMAC_SECRET=KEY, FREQTRADE_USERNAME="user",
        POSTGRES_HOST="db", MCP_GATEWAY_HOST="0.0.0.0", MCP_GATEWAY_PORTT="1",
    )  # fmt: skip
    assert sorted(named(faults("serve"))) == sorted([
        "FREQTRADE_POOL_SIZE", "MCP_GATEWAY_PORT", "LOG_LEVEL", "MCP_GATEWAY_MODE",
        "FREQTRADE_URL", "MCP_GATEWAY_SCOPES", "JWT_SECRET", "MCP_GATEWAY_SUBJECT",
        "FREQTRADE_PASSWORD", "POSTGRES_PASSWORD", "REDIS_URL", "MCP_GATEWAY_ALLOWED_HOSTS",
        "MCP_GATEWAY_ALLOWED_ORIGINS", "MCP_GATEWAY_PORTT",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("purpose", "values", "expected"),
    [
        ("serve", {}, ["JWT_SECRET"]),
        ("serve", {"JWT_SECRET": "x" * 31}, ["JWT_SECRET"]),
        ("serve", {"JWT_SECRET": "ü" * 15}, ["JWT_SECRET"]),
        ("command", {"HMAC_SECRET": "x" * 31, "MCP_GATEWAY_SUBJECT": "a"}, ["HMAC_SECRET"]),
        ("command", {"HMAC_SECRET": KEY}, ["MCP_GATEWAY_SUBJECT"]),
        ("command", {"JWT_SECRET": KEY, "HMAC_SECRET": KEY, "MCP_GATEWAY_SUBJECT": "a"}, ["HMAC_SECRET"]),
        ("command", {"OPERATOR_HMAC_SECRET": "x" * 31, "MCP_GATEWAY_OPERATOR": "o"}, ["OPERATOR_HMAC_SECRET"]),
        ("command", {"OPERATOR_HMAC_SECRET": KEY}, ["MCP_GATEWAY_OPERATOR"]),
        ("command", {"OPERATOR_HMAC_SECRET": KEY, "MCP_GATEWAY_OPERATOR": "o", "JWT_SECRET": KEY}, ["OPERATOR_HMAC_SECRET"]),
        ("command", {"OPERATOR_HMAC_SECRET": KEY, "MCP_GATEWAY_OPERATOR": "o", "HMAC_SECRET": KEY, "MCP_GATEWAY_SUBJECT": "a"}, ["OPERATOR_HMAC_SECRET"]),
        ("command", {"OPERATOR_HMAC_SECRET": KEY, "MCP_GATEWAY_OPERATOR": "a", "HMAC_SECRET": OTHER, "MCP_GATEWAY_SUBJECT": "a"}, ["MCP_GATEWAY_OPERATOR"]),
        ("command", {"MCP_GATEWAY_APPROVAL_WAIT_S": "9"}, ["MCP_GATEWAY_APPROVAL_WAIT_S"]),
        ("command", {"FREQTRADE_PASSWORD": "canary"}, ["FREQTRADE_PASSWORD"]),
        ("command", {"FREQTRADE_USERNAME": "user"}, ["FREQTRADE_PASSWORD"]),
        ("command", {"POSTGRES_HOST": "db"}, ["POSTGRES_PASSWORD"]),
        ("stdio", {"MCP_GATEWAY_TOKEN": "canary"}, ["JWT_SECRET"]),
        ("serve", {"MCP_GATEWAY_ISSUERS_FILE": "i.toml", "MCP_GATEWAY_CLIENTS_FILE": "c.toml"}, ["JWT_SECRET"]),
        ("stdio", {"MCP_GATEWAY_MODE": "live"}, ["MCP_GATEWAY_POLICY"]),
        ("serve", {"MCP_GATEWAY_MODE": "live", "JWT_SECRET": KEY}, ["MCP_GATEWAY_POLICY"]),
        ("serve", {"JWT_SECRET": KEY, "MCP_GATEWAY_HOST": "::"}, ["MCP_GATEWAY_ALLOWED_HOSTS", "MCP_GATEWAY_ALLOWED_ORIGINS"]),
        ("serve", {"JWT_SECRET": KEY, "MCP_GATEWAY_HOST": "gateway.example"}, ["MCP_GATEWAY_ALLOWED_HOSTS", "MCP_GATEWAY_ALLOWED_ORIGINS"]),
        ("serve", {"JWT_SECRET": KEY, "MCP_GATEWAY_HOST": "10.0.0.1", "MCP_GATEWAY_ALLOWED_HOSTS": "a.example"}, ["MCP_GATEWAY_ALLOWED_ORIGINS"]),
        ("serve", {"JWT_SECRET": KEY, "POSTGRES_HOST": "db", "POSTGRES_PASSWORD": "canary"}, ["REDIS_URL"]),
        ("serve", {"JWT_SECRET": KEY, "DATABASE_URL": "postgresql://u:canary@d/x"}, ["REDIS_URL"]),
        ("command", {"FREQTRADE_URL": "http://user:canary@bot:8080"}, ["FREQTRADE_URL"]),
        ("command", {"FREQTRADE_URL": "http://"}, ["FREQTRADE_URL"]),
        ("command", {"MCP_GATEWAY_READ_TIMEOUT_S": "0"}, ["MCP_GATEWAY_READ_TIMEOUT_S"]),
        ("command", {"MCP_GATEWAY_READ_TIMEOUT_S": "nan"}, ["MCP_GATEWAY_READ_TIMEOUT_S"]),
        ("command", {"MCP_GATEWAY_SIGNATURE_WINDOW_S": "301"}, ["MCP_GATEWAY_SIGNATURE_WINDOW_S"]),
    ],
)  # fmt: skip
def test_an_unsafe_or_impossible_set_is_refused(
    purpose: Purpose, values: dict[str, str], expected: list[str], environment: Any
) -> None:
    """Before anything starts, with the variable to mend; no value is repeated."""
    environment(**values)
    told = faults(purpose)
    assert named(told) == expected
    assert "canary" not in "".join(told)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_a_secret_is_enough_to_serve(host: str, environment: Any) -> None:
    """Nobody else can connect."""
    environment(JWT_SECRET=KEY, MCP_GATEWAY_HOST=host)
    assert Settings.load("serve").on_loopback


@pytest.mark.parametrize(
    ("purpose", "beside"),
    [
        ("serve", {"REDIS_URL": "redis://h/0"}),
        ("serve", {"REDIS_HOST": "h"}),
        ("serve", {"MCP_GATEWAY_SINGLE_PROCESS": "true"}),
        ("stdio", {}),
        ("command", {}),
    ],
)
def test_postgresql_is_enough_where_no_nonce_is_kept_by_one_of_several(
    purpose: Purpose, beside: dict[str, str], environment: Any
) -> None:
    """Redis keeps them for all, a single process needs nobody, and nothing else takes signatures."""
    environment(JWT_SECRET=KEY, DATABASE_URL="postgresql://u:p@d/x", **beside)
    assert not Settings.load(purpose).embedded_store


@pytest.mark.parametrize("purpose", ["serve", "stdio"])
def test_other_issuers_are_enough_to_take_tokens(purpose: Purpose, environment: Any) -> None:
    """Who has a login service of their own needs no secret that could forge its tokens."""
    environment(MCP_GATEWAY_ISSUERS_FILE="issuers.toml", MCP_GATEWAY_TOKEN="canary")
    assert Settings.load(purpose).jwt_secret is None


def test_beyond_loopback_hosts_and_origins_are_enough(environment: Any) -> None:
    """Lists by comma or space."""
    environment(
        JWT_SECRET=KEY, MCP_GATEWAY_HOST="0.0.0.0", MCP_GATEWAY_ALLOWED_HOSTS="a.example, b.example",
        MCP_GATEWAY_ALLOWED_ORIGINS="https://a.example",
    )  # fmt: skip
    got = Settings.load("serve")
    assert got.allowed_hosts == ("a.example", "b.example")
    assert got.on_loopback is False


def test_what_else_is_checked_is_told_beside_all_other_faults(
    tmp_path: Path, environment: Any
) -> None:
    """A check is given what could be read, so that a wrong file is told at the same start."""
    seen = []

    def check(given: Settings) -> list[str]:
        seen.append(given.policy)
        return ["MCP_GATEWAY_POLICY: line 1"]

    environment(MCP_GATEWAY_POLICY=str(tmp_path / "p.toml"), REDIS_PORT="no")
    with pytest.raises(ConfigurationError) as refused:
        Settings.load("serve", check)
    assert sorted(named(refused.value.faults)) == ["JWT_SECRET", "MCP_GATEWAY_POLICY", "REDIS_PORT"]
    assert seen == [tmp_path / "p.toml"]


def test_a_misspelt_name_is_refused_with_the_one_that_was_meant(environment: Any) -> None:
    """A setting that nothing reads would be silent; other programs' variables are theirs."""
    environment(MCP_GATEWAY_SIGNATURE_WINDOWS_S="60", HOMEBREW_THING="1")
    [fault] = faults()
    assert "did you mean MCP_GATEWAY_SIGNATURE_WINDOW_S?" in fault


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path, environment: Any) -> None:
    """`.env` in the working folder."""
    (tmp_path / ".env").write_text("REDIS_PORT=1111\nPOSTGRES_PORT=2222\nOTHER=1\n")
    environment(REDIS_PORT="3333")
    got = Settings.load()
    assert (got.redis_port, got.postgres_port) == (3333, 2222)


def test_the_file_is_held_to_the_same_rules(tmp_path: Path) -> None:
    """A typing error in it is no less silent."""
    (tmp_path / ".env").write_text("MCP_GATEWAY_PROT=1\nREDIS_PORT=no\n")
    assert sorted(named(faults())) == ["MCP_GATEWAY_PROT", "REDIS_PORT"]


@pytest.mark.parametrize("field", ["port", "jwt_secret", "scopes", "mode", "data_dir"])
def test_a_field_is_filled_by_its_variable_alone(
    field: str, tmp_path: Path, environment: Any
) -> None:
    """A foreign ``port`` in the environment or in .env, of any value, sets nothing."""
    untouched = Settings.load()
    (tmp_path / ".env").write_text(f"{field}=9999\n")
    assert Settings.load() == untouched
    environment(**{field: "9999"})
    assert Settings.load() == untouched


@pytest.mark.parametrize("quiet_s", ["0", "0.9", "-1", "nan", "3601"])
def test_absence_is_never_believed_at_once(quiet_s: str, environment: Any) -> None:
    """With no quiet time a bot that is still at work on an order would be told as idle."""
    environment(MCP_GATEWAY_QUIET_S=quiet_s)
    with pytest.raises(ConfigurationError) as refused:
        Settings.load()
    assert [fault.split(":")[0] for fault in refused.value.faults] == ["MCP_GATEWAY_QUIET_S"]


def test_a_field_that_does_not_exist_is_a_bug(tmp_path: Path) -> None:
    """An override that nobody reads would be silent."""
    with pytest.raises(KeyError):
        Settings.load(portt=1)
    with pytest.raises(KeyError):
        Settings.apart(MCP_GATEWAY_PORT=1)


def test_an_empty_value_is_no_value(tmp_path: Path, environment: Any) -> None:
    """Compose files pass what is unset as empty."""
    (tmp_path / ".env").write_text("REDIS_HOST=\nMCP_GATEWAY_TOKEN=\n")
    environment(JWT_SECRET="", REDIS_PORT="", MCP_GATEWAY_SCOPES="", FREQTRADE_URL="")
    got = Settings.load("stdio")
    assert (got.jwt_secret, got.redis_url, got.token) == (None, None, None)
    assert got.scopes == DEFAULT_LOCAL_SCOPES
    assert got.freqtrade_url == "http://127.0.0.1:8080"


def test_the_command_line_wins_over_the_environment(environment: Any) -> None:
    """--port over MCP_GATEWAY_PORT."""
    environment(MCP_GATEWAY_PORT="9000")
    assert Settings.load(port=9001).port == 9001
    assert named(faults(port=70000)) == ["MCP_GATEWAY_PORT"]


def test_settings_made_apart_know_no_environment(tmp_path: Path, environment: Any) -> None:
    """The sandbox must never reach a real bot or a real store."""
    (tmp_path / ".env").write_text("REDIS_HOST=real\n")
    environment(FREQTRADE_URL="http://real:1", POSTGRES_HOST="real", JWT_SECRET=KEY)
    got = Settings.apart(data_dir=tmp_path)
    assert "real" not in f"{got.freqtrade_url}{got.database_url}{got.redis_url}"
    assert got.jwt_secret is None
    with pytest.raises(ConfigurationError) as refused:
        Settings.apart(port=-1, freqtrade_url="canary")
    assert sorted(named(refused.value.faults)) == ["FREQTRADE_URL", "MCP_GATEWAY_PORT"]
    assert "canary" not in refused.value.message


def test_no_secret_is_shown_in_a_representation(environment: Any) -> None:
    """A log line or a traceback with the settings in it gives nothing away."""
    environment(
        JWT_SECRET=KEY, HMAC_SECRET=OTHER, MCP_GATEWAY_SUBJECT="a", FREQTRADE_USERNAME="u",
        FREQTRADE_PASSWORD="canary", FREQTRADE_WS_TOKEN="canary",
        REDIS_PASSWORD="canary", POSTGRES_PASSWORD="canary",
        REDIS_URL="redis://:canary@h/0", DATABASE_URL="postgresql://u:canary@h/d",
        MCP_GATEWAY_TOKEN="canary",
    )  # fmt: skip
    got = Settings.load("stdio")
    assert "canary" not in repr(got) + str(got) + got.model_dump_json()


def test_settings_do_not_change() -> None:
    """They are read once."""
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().port = 1  # type: ignore[misc]  # this is what is tried


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, None),
        ({"REDIS_HOST": "r"}, "redis://r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "1", "REDIS_PASSWORD": "p@s/s"}, "redis://:p%40s%2Fs@r:1/0"),
        ({"REDIS_HOST": "r", "REDIS_URL": "rediss://x/1"}, "rediss://x/1"),
    ],
)  # fmt: skip
def test_redis_is_one_url_or_its_parts(
    values: dict[str, str], url: str | None, environment: Any
) -> None:
    """A password may hold any character."""
    environment(**values)
    assert Settings.load().redis_url == url


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"POSTGRES_HOST": "d", "POSTGRES_PASSWORD": "p@:/ s"}, "postgresql+psycopg://bot_user:p%40%3A%2F%20s@d:5432/trading_bot"),
        ({"DATABASE_URL": "postgresql://u:p@d/x"}, "postgresql+psycopg://u:p@d/x"),
        ({"DATABASE_URL": "postgres://u:p@d/x"}, "postgresql+psycopg://u:p@d/x"),
        ({"MCP_GATEWAY_DATA_DIR": "/data"}, "sqlite:////data/gateway.sqlite"),
    ],
)  # fmt: skip
def test_the_store_is_one_url_or_its_parts(
    values: dict[str, str], url: str, environment: Any
) -> None:
    """PostgreSQL where it is configured, else SQLite in the data folder."""
    environment(**values)
    got = Settings.load()
    assert (got.database_url, got.embedded_store) == (url, url.startswith("sqlite"))


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"MCP_GATEWAY_PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"MCP_GATEWAY_HOST": "::1"}, "http://[::1]:8000"),
        ({"MCP_GATEWAY_PUBLIC_URL": "https://gw.example/"}, "https://gw.example"),
    ],
)
def test_the_base_url_is_what_callers_use(
    values: dict[str, str], url: str, environment: Any
) -> None:
    """Signatures are judged by it."""
    environment(**values)
    assert Settings.load().base_url == url


def test_every_setting_has_a_name_and_a_meaning() -> None:
    """Names are the predecessor's or begin with ours; each says what it is for."""
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in known_names())
    for field, info in Settings.model_fields.items():
        assert info.description, field


def test_data_lie_where_the_desktop_says(tmp_path: Path, environment: Any) -> None:
    """XDG base directories."""
    environment(XDG_DATA_HOME=str(tmp_path / "d"), XDG_CACHE_HOME=str(tmp_path / "c"))
    assert room.default_data_dir() == tmp_path / "d" / "mcp-gateway"
    assert room.default_cache_dir() == tmp_path / "c" / "mcp-gateway"
    assert room.sandbox_file().parent == Settings.load().data_dir
    environment(XDG_DATA_HOME="", XDG_CACHE_HOME="", HOME=str(tmp_path))
    assert room.default_data_dir() == tmp_path / ".local" / "share" / "mcp-gateway"
    assert room.default_cache_dir() == tmp_path / ".cache" / "mcp-gateway"


def test_a_foreign_program_inherits_no_setting(environment: Any) -> None:
    """The real bot is such a program: it gets a PATH and no secret."""
    environment(JWT_SECRET=KEY, MCP_GATEWAY_TOKEN="canary", FREQTRADE_PASSWORD="canary")
    inherited = child_environment()
    assert "PATH" in inherited
    assert not set(inherited) & set(known_names())


@pytest.mark.parametrize("purpose", ["serve", "stdio"])
def test_real_money_is_served_by_a_written_policy_alone(
    purpose: Purpose, tmp_path: Path, environment: Any
) -> None:
    """Both variables are named; with the file the gateway starts."""
    environment(MCP_GATEWAY_MODE="live", JWT_SECRET=KEY)
    [fault] = faults(purpose)
    assert "MCP_GATEWAY_MODE" in fault
    assert "MCP_GATEWAY_POLICY" in fault
    environment(MCP_GATEWAY_POLICY=str(tmp_path / "policy.toml"))
    assert Settings.load(purpose).mode == "live"


def test_an_operators_command_works_whatever_the_mode_lacks(environment: Any) -> None:
    """A halt must not fail for a line that was taken out of .env while the gateway runs."""
    environment(MCP_GATEWAY_MODE="live")
    assert Settings.load("command").mode == "live"
