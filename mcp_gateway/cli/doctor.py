"""``mcp-gateway doctor``: says what is wrong before the first order does."""

import json
import os
import textwrap
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final, Literal

import click

from mcp_gateway.access.tokens.faults import client_faults, issuer_faults
from mcp_gateway.cli.open_files import open_env_file
from mcp_gateway.clock import Clock, iso
from mcp_gateway.domain.market import TIMEFRAMES
from mcp_gateway.domain.positions import BotState
from mcp_gateway.errors import ConfigurationError, GatewayError
from mcp_gateway.risk.document import load_policy, policy_faults
from mcp_gateway.risk.policy import Policy
from mcp_gateway.settings import Purpose, Settings

SLOW_BOT_S: Final = 0.5
IDLE_LOOP_S: Final = 60.0
SOON: Final = timedelta(days=7)
POSTGRES_HINT: Final = (
    "Is it running? Check POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD, "
    "POSTGRES_DB (or DATABASE_URL)."
)
BOT_HINTS: Final = {
    "bot_unreachable": "Is it running, its api_server enabled? Try: curl {url}/api/v1/ping",
    "bot_timeout": "It listens and does not answer: look at its own log.",
    "bot_credentials": "Check FREQTRADE_USERNAME and FREQTRADE_PASSWORD against its api_server.",
    "bot_nonsense": "Something else answers there: check FREQTRADE_URL.",
}
_MARKS: Final = {"ok": "✓", "warning": "!", "fault": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and what to do where it is not well."""

    part: str
    level: Literal["ok", "warning", "fault"]
    message: str
    hint: str = ""


@click.command()
@click.option(
    "--for", "purpose", type=click.Choice(["serve", "stdio"]), default="serve", show_default=True,
    help="What the gateway is to be started for.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def doctor(purpose: Purpose, as_json: bool) -> int:
    """Look at configuration, bot, markets, Redis, database and keys.

    Exit code 1 on any fault, 2 where the configuration itself has some: nothing else is
    looked at then.

    Example: mcp-gateway doctor --for stdio
    """
    import anyio

    from mcp_gateway.telemetry import logs

    logs.configure("CRITICAL", "console")  # the findings tell it in a sentence
    try:
        checks = [policy_faults, issuer_faults, *([client_faults] if purpose == "serve" else [])]
        settings = Settings.load(purpose, *checks)
    except ConfigurationError as error:
        findings = [Finding("configuration", "fault", fault) for fault in error.faults]
    else:
        findings = anyio.run(_examine, settings, purpose)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings]))
    else:
        for one in findings:
            click.echo(f"{_MARKS[one.level]} {one.part}: {one.message}")
            if one.hint:
                click.echo(textwrap.indent(one.hint, "    "))
    faulty = {one.part for one in findings if one.level == "fault"}
    return 2 if "configuration" in faulty else 1 if faulty else 0


async def _examine(settings: Settings, purpose: Purpose) -> list[Finding]:
    findings = [Finding("configuration", "ok", "every setting is valid and safe")]
    if (told := open_env_file()) is not None:
        findings.append(Finding("configuration", "warning", told, "chmod 600 .env"))
    if purpose == "serve" and settings.clients_file is not None:  # its faults are told by now
        told = f"{settings.clients_file} is valid: POST /auth/token serves its clients"
        findings.append(Finding("clients", "ok", told))
    findings += _keys(settings)
    findings.append(_folder(settings))
    findings += [one async for one in _redis(settings)]
    findings += [one async for one in _database(settings)]
    findings += [one async for one in _issuers(settings)]
    findings += [one async for one in _bot(settings)]
    return findings


def _keys(settings: Settings) -> list[Finding]:
    found = _kept_keys(settings)
    if settings.hmac_secret is not None:
        told = f"HMAC_SECRET signs the orders of {settings.subject}"
        found.insert(0, Finding("keys", "ok", told))
    if not found:
        told = "there is no key that signs orders: over HTTP none will be accepted"
        hint = "Make one: mcp-gateway keys new --subject NAME; stdio needs no signature."
        return [Finding("keys", "warning", told, hint)]
    if settings.legacy_signature:
        told = "MCP_GATEWAY_LEGACY_SIGNATURE accepts signatures that can be replayed"
        hint = "Switch it off when no caller needs X-Signature any more."
        found.append(Finding("keys", "warning", told, hint))
    return found


def _kept_keys(settings: Settings) -> list[Finding]:
    """Look at the keys file: its faults, how many keys serve, and which end soon."""
    from mcp_gateway.access.keyring import Keyring
    from mcp_gateway.access.keys import file

    now = Clock().now()
    try:
        kept = file.read(settings.keys_file)
        Keyring.from_settings(settings).hold(kept.keys(), now)
    except ConfigurationError as error:
        hint = "A running gateway keeps the keys that it read before; mend the file."
        return [Finding("keys", "fault", fault, hint) for fault in error.faults]
    if not kept.records:
        return []
    live = [one for one in kept.records if one.state(now) in {"waiting", "active", "retiring"}]
    found = [Finding("keys", "ok", f"{len(live)} live keys in {settings.keys_file}")]
    for one in live:
        if one.state(now) == "active" and one.not_after and one.not_after - now < SOON:
            told = f"{one.key_id} ends at {iso(one.not_after)} and nothing takes its place"
            found.append(Finding("keys", "warning", told, f"mcp-gateway keys rotate {one.key_id}"))
    return found


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        told = f"{folder} cannot be written"
        return Finding(
            "data folder", "fault", told, "Set MCP_GATEWAY_DATA_DIR to a folder of yours."
        )
    return Finding("data folder", "ok", str(folder))


async def _redis(settings: Settings) -> AsyncIterator[Finding]:
    from mcp_gateway.storage.kv import open_kv

    if settings.redis_url is None:
        if settings.embedded_store or not settings.single_process:
            yield Finding("redis", "ok", "not configured: cache, nonces and quotas are in memory")
            return
        told = "MCP_GATEWAY_SINGLE_PROCESS: at a second gateway orders could be replayed"
        yield Finding("redis", "warning", told, "Set REDIS_URL before a second one serves.")
        return
    kv = open_kv(settings.redis_url, Clock())
    try:
        await kv.ping()
        yield Finding("redis", "ok", "answers")
        if (policy := await kv.eviction()) is not None:
            told = (
                f"its maxmemory-policy is {policy}: a forgotten nonce lets an order be sent again"
            )
            yield Finding("redis", "warning", told, "Set it to noeviction.")
    except GatewayError as error:
        hint = "Check REDIS_HOST, REDIS_PORT, REDIS_PASSWORD (redis-cli -h HOST -p PORT ping)."
        yield Finding("redis", "fault", error.message, hint)
    finally:
        await kv.close()


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    from mcp_gateway.storage.sql import check

    name = "SQLite (embedded)" if settings.embedded_store else "PostgreSQL"
    try:
        found = await check(settings.database_url)
    except GatewayError as error:
        hint = POSTGRES_HINT if error.code == "database_unavailable" else error.hint
        yield Finding("database", "fault", error.message, hint)
        return
    if found.ready:
        yield Finding("database", "ok", f"{name} is at revision {found.current}")
    elif settings.embedded_store:
        yield Finding("database", "ok", f"{name} will be set up at the first start")
    else:
        yield Finding("database", "fault", f"{name} is not set up", "Run `mcp-gateway db upgrade`.")


async def _issuers(settings: Settings) -> AsyncIterator[Finding]:
    if settings.issuers_file is None:
        return
    from mcp_gateway.access.tokens.inspection import look_at_issuers

    for one in await look_at_issuers(settings, Clock()):
        if one.trouble is None:
            yield Finding("issuers", "ok", f"{one.name}: {one.keys} key(s) of {one.issuer}")
        else:
            hint = "Its tokens are refused until its jwks_url tells a key of its algorithm: try it with curl."
            yield Finding("issuers", "fault", f"{one.name}: {one.trouble}", hint)


async def _bot(settings: Settings) -> AsyncIterator[Finding]:
    from mcp_gateway.freqtrade.client import bot_from

    clock = Clock()
    bot = bot_from(settings, clock)
    async with bot:
        try:
            started = clock.monotonic()
            state = await bot.bot_state()
            elapsed_s = clock.monotonic() - started
            health = await bot.health()
            pairs = await bot.pairs() if state.spot else ()
        except GatewayError as error:
            hint = BOT_HINTS.get(error.code, error.hint).format(url=settings.freqtrade_url)
            yield Finding("freqtrade", "fault", f"{error.message} ({settings.freqtrade_url})", hint)
            return
    yield Finding("freqtrade", "ok", f"{state.name} {state.version} answers, {state.mode}")
    for finding in _bot_state(state, settings):
        yield finding
    if elapsed_s > SLOW_BOT_S:
        told = f"took {elapsed_s:.1f} s for a small answer"
        hint = "Check the way to it; raise FREQTRADE_POOL_SIZE and REDIS_TTL for many readers."
        yield Finding("freqtrade", "warning", told, hint)
    if pairs:
        yield _markets(load_policy(settings.policy), pairs)
    last = health.last_process_at
    if state.state == "running" and last is not None:
        idle_s = (clock.now() - last).total_seconds()
        if idle_s > IDLE_LOOP_S:
            told = f"its loop last ran {idle_s:.0f} s ago"
            yield Finding("freqtrade", "warning", told, "Look at the bot's own log.")


def _bot_state(state: BotState, settings: Settings) -> list[Finding]:
    found = []
    if state.mode != settings.mode:
        told = f"the bot is {state.mode}, MCP_GATEWAY_MODE is {settings.mode}: orders are denied"
        dry_run = "true" if settings.mode == "dry-run" else "false"
        hint = f"Start the bot with dry_run: {dry_run}, or set MCP_GATEWAY_MODE={state.mode}."
        found.append(Finding("freqtrade", "warning", told, hint))
    elif state.mode == "live":
        told = "live: orders of callers with the scope orders:live trade real money"
        found.append(Finding("freqtrade", "warning", told))
    if state.state != "running":
        told = f"the bot is {state.state}"
        found.append(Finding("freqtrade", "warning", told, "Start it: its /start command."))
    if not state.entries_enabled:
        told = "force_entry_enable is off: every buy will be denied"
        found.append(Finding("freqtrade", "warning", told, "Set it in the bot's configuration."))
    if not state.spot:
        found.append(Finding("freqtrade", "warning", "a futures bot is served reads only"))
    if state.timeframe not in TIMEFRAMES:
        found.append(Finding("freqtrade", "warning", f"timeframe {state.timeframe} is not served"))
    return found


def _markets(policy: Policy, pairs: Sequence[str]) -> Finding:
    """Tell of which pairs the policy lacks something, with the lines to add."""
    lacking = {pair: lines for pair in pairs if (lines := _lines_to_add(pair, policy))}
    if not lacking:
        told = f"lot step and minimum of every pair are known ({len(pairs)})"
        return Finding("markets", "ok", told)
    told = (
        f"{len(lacking)} of {len(pairs)} pairs lack their lot step or minimum: "
        "an agent that buys one is told market_unknown"
    )
    hint = "Fill in from the exchange's page and add to the file of MCP_GATEWAY_POLICY:"
    return Finding("markets", "warning", told, "\n".join([hint, *lacking.values()]))


def _lines_to_add(pair: str, policy: Policy) -> str:
    known = policy.market(pair)
    lines = []
    if known.lot_step is None:
        lines.append('lot_step = ""  # base')
    if known.minimum_stake is None:
        lines.append('minimum_stake = ""  # quote')
    return "\n".join([f'[markets."{pair}"]', *lines]) if lines else ""
