"""Log lines: the predecessor's keys in each, and no secret in any."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from mcp_gateway.access.clients import hash_password
from mcp_gateway.client import GatewayAuth
from tests.support.gateway import HMAC_SECRET, JWT_SECRET, ORDER, TRADER
from tests.support.processes import Serving, serving, token

pytestmark = pytest.mark.integration

PASSWORD = "password-canary-0123456789"
BOT_PASSWORD = "bot-canary-0123456789"
WS_TOKEN = "ws-canary-0123456789"
SPEAKING = """
import logging
from mcp_gateway.telemetry import logs
logs.configure("INFO", "json")
logs.get("mcp_gateway.market").info("Candles requested", pair="BTC/USDT", timeframe="15m")
logging.getLogger("somebody.else").warning("from a library")
logs.get("mcp_gateway.market").debug("not at this level")
"""


def test_every_line_has_the_keys_that_the_predecessor_had() -> None:
    """As the predecessor logged: timestamp, level, name, message; ours and a library's alike."""
    told = subprocess.run(
        [sys.executable, "-c", SPEAKING], capture_output=True, text=True, check=True
    )
    ours, theirs = map(json.loads, told.stderr.splitlines())

    assert told.stdout == ""
    assert ours | {"timestamp": ""} == {
        "timestamp": "", "level": "INFO", "name": "mcp_gateway.market",
        "message": "Candles requested", "pair": "BTC/USDT", "timeframe": "15m",
    }  # fmt: skip
    assert (theirs["name"], theirs["level"]) == ("somebody.else", "WARNING")
    for line in (ours, theirs):
        assert datetime.fromisoformat(line["timestamp"]).tzinfo == UTC


def clients_file(folder: Path) -> Path:
    """Write a clients file with one client in it."""
    path = folder / "clients.toml"
    path.touch(mode=0o600)
    scopes = 'scopes = ["market:read"]'
    path.write_text(f'[clients.{TRADER}]\npassword = "{hash_password(PASSWORD)}"\n{scopes}\n')
    return path


def calls(served: Serving, bearer: str) -> list[httpx2.Response]:
    """Make calls with every kind of secret in them, taken and refused."""
    auth = GatewayAuth(bearer, key=HMAC_SECRET, key_id=TRADER)
    wrong = GatewayAuth(bearer + "x", key=HMAC_SECRET, key_id=TRADER)
    login = {"username": TRADER, "password": PASSWORD}
    with httpx2.Client(base_url=served.url, timeout=30, trust_env=False) as http:
        return [
            http.post("/api/v1/orders", json=ORDER, auth=auth),
            http.post("/api/v1/orders", json=ORDER, auth=wrong),
            http.post("/api/v1/orders", json=ORDER | {"price": "x"}, auth=auth),
            http.get("/api/v1/candles?pair=BTC/USDT&timeframe=15m", auth=auth),
            http.post("/auth/token", json=login),
            http.post("/auth/token", json=login | {"password": PASSWORD + "x"}),
        ]


def test_no_secret_reaches_a_log_at_any_level(tmp_path: Path) -> None:
    """Keys, tokens, signatures and passwords stay out of the log, the most talkative one too."""
    bearer = token()
    settings = {
        "LOG_LEVEL": "DEBUG",
        "FREQTRADE_USERNAME": "bot",
        "FREQTRADE_PASSWORD": BOT_PASSWORD,
        "FREQTRADE_WS_TOKEN": WS_TOKEN,
        "MCP_GATEWAY_CLIENTS_FILE": str(clients_file(tmp_path)),
    }
    with serving(tmp_path, **settings) as served:
        answers = calls(served, bearer)
    log = "\n".join(served.log)

    assert [one.status_code for one in answers] == [422, 401, 422, 503, 200, 401]
    sent = [one.request.headers.get("signature", "") for one in answers]
    signatures = [found for one in sent for found in re.findall(r":(.+):", one)]
    issued = answers[4].json()["access_token"]
    keys = (JWT_SECRET, HMAC_SECRET, PASSWORD, BOT_PASSWORD, WS_TOKEN)
    secrets = (*keys, bearer, issued, *signatures)
    assert len(signatures) == 3
    assert not [secret for secret in secrets if secret in log or secret.rsplit(".")[-1] in log]
    lines = [json.loads(line) for line in served.log]
    requests = [line for line in lines if line["message"] == "Request answered"]
    assert len(requests) == len(answers)
    assert {"method", "path", "status", "user", "duration_ms", "call_id"} <= requests[3].keys()
    assert (requests[3]["pair"], requests[3]["timeframe"]) == ("BTC/USDT", "15m")
