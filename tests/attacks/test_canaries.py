"""Secrets planted everywhere, and looked for wherever somebody can read.

A process is given a secret of every kind. It succeeds and fails in every way that a caller can
bring about, with its stores there and gone. Then everything it has said is searched: logs of
the most talkative level, metrics, health, answers, what its commands print, its books on disk,
its command line. A secret must not be there, nor a spelling of it.
"""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from mcp_gateway.access.clients import hash_password
from mcp_gateway.client import GatewayAuth
from tests.support.commands import BOT_PASSWORD, bot_served, trading_bot
from tests.support.gateway import HMAC_SECRET, JWT_SECRET, ORDER, TRADER
from tests.support.processes import Serving, environment, run, serving, token

pytestmark = pytest.mark.integration

OPERATOR, OPERATOR_KEY = "the-operator", "operator-canary-" + "c" * 32
LOGIN = "login-canary-0123456789"
WS_TOKEN = "ws-canary-0123456789"
REDIS_PASSWORD = "redis-canary-0123456789"
DATABASE_PASSWORD = "database-canary-0123456789"
WRONG = "wrong-canary-0123456789"
GUESS = "guess-canary-0123456789"
COMMANDS = (
    ("doctor",), ("doctor", "--json"), ("policy", "show"), ("orders", "list", "--json"),
    ("orders", "reconcile", "--json"), ("approvals", "list", "--json"), ("halt", "list", "--json"),
    ("audit", "tail", "--json"), ("keys", "list", "--json"), ("db", "check"),
)  # fmt: skip
CALLS = (
    "/api/v1/candles?pair=BTC/USDT&timeframe=5m", "/api/v1/candles?pair=NO/PAIR&timeframe=5m",
    "/api/v1/positions/open", "/health", "/health/ready", "/metrics", "/openapi.json",
    "/.well-known/oauth-protected-resource/mcp", "/nowhere",
)  # fmt: skip


@dataclass
class Read:
    """Everything that somebody could read, and every secret that must not be in it."""

    texts: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def found(self) -> list[str]:
        """Return the secrets that stand somewhere, in whatever spelling."""
        everything = "\n".join(self.texts)
        small = everything.lower()
        return [
            secret
            for secret in sorted(self.secrets)
            if any(one in everything for one in spellings(secret)) or secret.encode().hex() in small
        ]


def spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, percent-encoded, as JSON, and in base64 wherever it begins."""
    yield secret
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
        middle = coded[4:-2]  # what stands before and behind it changes its ends
        yield middle
        yield middle.replace("+", "-").replace("/", "_")


def planted(folder: Path) -> dict[str, str]:
    """Return settings with a secret of every kind that a healthy gateway takes."""
    clients = folder / "clients.toml"
    clients.touch(mode=0o600)
    fields = f'password = "{hash_password(LOGIN)}"\nscopes = ["market:read"]\n'
    clients.write_text(f"[clients.{TRADER}]\n{fields}")
    return {
        "LOG_LEVEL": "DEBUG",
        "FREQTRADE_WS_TOKEN": WS_TOKEN,
        "MCP_GATEWAY_OPERATOR": OPERATOR,
        "OPERATOR_HMAC_SECRET": OPERATOR_KEY,
        "MCP_GATEWAY_CLIENTS_FILE": str(clients),
        "MCP_GATEWAY_LEGACY_SIGNATURE": "true",
    }


def provoke(served: Serving, read: Read) -> list[int]:
    """Make calls that are taken and calls that fail in every way; return their statuses."""
    good = token("market:read", "positions:read", "orders:preview", "orders:create")
    read.secrets |= {good, good.rpartition(".")[2]}
    auth = GatewayAuth(good, key=HMAC_SECRET, key_id=TRADER)
    thief = GatewayAuth(good, key=WRONG + "d" * 32, key_id=TRADER)
    forged = {"authorization": f"Bearer {good}{GUESS}"}
    with httpx2.Client(base_url=served.url, timeout=60, trust_env=False) as http:
        answers = [http.get(path, auth=auth) for path in CALLS]
        answers += [
            http.get(CALLS[0], headers=forged),
            http.post("/api/v1/orders", json=ORDER, auth=auth),
            http.post("/api/v1/orders", json=ORDER, auth=thief),
            http.post("/api/v1/orders", json=ORDER | {"amount": GUESS}, auth=auth),
            http.post("/api/v1/orders", content=b'{"amount":' + GUESS.encode(), auth=auth,
                      headers={"content-type": "application/json"}),
            http.post("/api/v1/orders/dry-run", json=ORDER, auth=auth),
            http.post("/auth/token", json={"username": TRADER, "password": LOGIN}),
            http.post("/auth/token", json={"username": TRADER, "password": GUESS}),
            http.post("/auth/token", data={"grant_type": "client_credentials", "client_id": GUESS,
                                           "client_secret": GUESS}),
            http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": GUESS}, headers=forged),
        ]  # fmt: skip
    issued = next(one.json()["access_token"] for one in answers if one.url.path == "/auth/token")
    read.secrets |= {issued, issued.rpartition(".")[2]}
    for one in answers:
        body = one.text.replace(issued, "") if one.status_code == 200 else one.text
        read.texts += [body, str(one.headers)]
    return [one.status_code for one in answers]


def looked_around(served: Serving, env: dict[str, str], folder: Path, read: Read) -> None:
    """Read what the commands print, the books on disk, and the process's command line."""
    made = run("keys", "new", "--subject", "another", "--json", folder=folder, env=env)
    read.secrets.add(json.loads(made.stdout)["secret"])
    for words in COMMANDS:
        told = run(*words, folder=folder, env=env)
        read.texts += [told.stdout, told.stderr]
    read.texts.append(Path(f"/proc/{served.process.pid}/cmdline").read_text("utf-8"))
    for path in served.data_dir.glob("gateway.sqlite"):
        with sqlite3.connect(path) as books:
            read.texts += list(books.iterdump())
        books.close()


@contextmanager
def searched() -> Iterator[Read]:
    """Yield what is to be filled, and find no secret in it afterwards."""
    read = Read()
    read.secrets |= {
        JWT_SECRET, HMAC_SECRET, OPERATOR_KEY, LOGIN, WS_TOKEN, BOT_PASSWORD, REDIS_PASSWORD,
        DATABASE_PASSWORD, WRONG, GUESS,
    }  # fmt: skip
    yield read
    assert len(read.texts) > len(COMMANDS)
    assert read.found() == []


def test_a_gateway_that_works_tells_no_secret(tmp_path: Path) -> None:
    """Orders are placed and refused, tokens given, keys made; all is logged, nothing is told."""
    with searched() as read, bot_served(trading_bot()) as bot:
        env = environment(tmp_path, **planted(tmp_path), **bot)
        with serving(tmp_path, **planted(tmp_path), **bot) as served:
            statuses = provoke(served, read)
            looked_around(served, env, tmp_path, read)
        read.texts += served.log
    assert {200, 401, 403, 404, 422} <= set(statuses)
    assert not [status for status in statuses if status == 500]


def test_a_gateway_whose_servers_are_gone_tells_no_secret(tmp_path: Path) -> None:
    """Bot, Redis and PostgreSQL can't be reached: their passwords stand in no complaint."""
    gone = {
        "REDIS_URL": f"redis://user:{REDIS_PASSWORD}@127.0.0.1:9/0",
        "DATABASE_URL": f"postgresql://user:{DATABASE_PASSWORD}@127.0.0.1:9/books",
        "FREQTRADE_USERNAME": "bot",
        "FREQTRADE_PASSWORD": BOT_PASSWORD,
    }
    with searched() as read:
        env = environment(tmp_path, **planted(tmp_path), **gone)
        with serving(tmp_path, **planted(tmp_path), **gone) as served:
            statuses = provoke(served, read)
            for words in COMMANDS:
                told = run(*words, folder=tmp_path, env=env)
                read.texts += [told.stdout, told.stderr]
        read.texts += served.log
    assert 503 in statuses
    assert 500 not in statuses


@pytest.mark.parametrize("secret", [LOGIN, HMAC_SECRET])
def test_the_search_finds_every_spelling(secret: str) -> None:
    """A search that could not find would prove nothing."""
    raw = secret.encode()
    for text in (
        f"password={secret}", quote(f"a/{secret}"), raw.hex().upper(),
        base64.b64encode(b"user:" + raw).decode(), base64.urlsafe_b64encode(b"x" + raw).decode(),
        base64.b64encode(raw).decode(),
    ):  # fmt: skip
        assert Read([text], {secret}).found() == [secret]
    assert Read([secret[:-1]], {secret}).found() == []
