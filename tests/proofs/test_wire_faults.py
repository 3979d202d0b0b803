"""Each fault on the wire once, for an entry, an exit and a cancel; the whole size is a command."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.domain.answers import Answer, Refused, Unanswered
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit
from tests.proofs.wire.__main__ import main
from tests.proofs.wire.cases import READ_ATTEMPTS, Case, every_fault, random_cases
from tests.proofs.wire.floor import bot_server
from tests.proofs.wire.verdict import prove
from tests.support.standin import StandIn

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

Server = tuple[StandIn, int]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A real HTTP server in front of whichever bot stands there."""
    async with bot_server() as serving:
        yield serving


async def violations(case: Case, server: Server, folder: Path) -> list[str]:
    return (await prove(case, *server, folder)).violations


@pytest.mark.parametrize("case", list(every_fault()), ids=lambda case: f"{case.fault}-{case.kind}")
async def test_the_truth_is_told_whatever_happens_on_the_wire(
    case: Case, server: Server, tmp_path: Path
) -> None:
    """One effect at most, sent once, and every unknown ends in what the bot's books say."""
    assert await violations(case, server, tmp_path) == []


@pytest.mark.parametrize("kind", ["market entry", "partial exit"])
async def test_an_order_is_found_though_reads_fail_too(
    kind: str, server: Server, tmp_path: Path
) -> None:
    """Nothing is concluded from a read that failed."""
    case = Case(kind, "half_open", broken_reads=READ_ATTEMPTS)
    assert await violations(case, server, tmp_path) == []


@pytest.mark.parametrize("kind", ["limit entry", "full exit"])
@pytest.mark.parametrize("late_by", [2, 4])
async def test_an_order_that_arrives_late_is_still_found(
    kind: str, late_by: int, server: Server, tmp_path: Path
) -> None:
    """Its absence does not count before the bot's own time-outs have passed (quiet time)."""
    assert await violations(Case(kind, "held", late_by=late_by), server, tmp_path) == []


async def test_a_client_that_sends_again_is_caught(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof would see it: an exit that is repeated after a lost answer sells twice."""
    once = FreqtradeClient.exit

    async def again(self: FreqtradeClient, order: Exit) -> Answer:
        answer = await once(self, order)
        return await once(self, order) if isinstance(answer, Unanswered) else answer

    monkeypatch.setattr(FreqtradeClient, "exit", again)
    told = await violations(Case("partial exit", "truncated"), server, tmp_path)
    assert {"sent 2 times", "2 effects"} <= set(told)


async def test_a_client_that_guesses_is_caught(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof would see it: a lost answer that is told as a refusal was an order."""
    once = FreqtradeClient.enter

    async def guess(self: FreqtradeClient, order: Entry, **how: Any) -> Answer:
        answer = await once(self, order, **how)
        return Refused("entry_refused") if isinstance(answer, Unanswered) else answer

    monkeypatch.setattr(FreqtradeClient, "enter", guess)
    told = await violations(Case("market entry", "reset_after_headers"), server, tmp_path)
    assert "books say placed, told rejected in the end" in told


def test_a_seed_repeats_its_cases() -> None:
    """A violation of the whole size can be looked at again."""
    assert list(random_cases(20, 7)) == list(random_cases(20, 7))
    assert list(random_cases(20, 7)) != list(random_cases(20, 8))


def test_the_command_tells_what_it_proved(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs, outcomes by word, violations and seconds; 0 where nothing was broken."""
    assert main(["--runs", "3", "--seed", "5"]) == 0
    said = capsys.readouterr().out
    for word in ("seed        5", "runs        3", "violations  0", "seconds"):
        assert word in said
