"""Races over real HTTP, on both engines: CI's share of the rounds.

The whole size is ``python -m tests.proofs.race --rounds 1000``.
"""

import pytest

from tests.proofs.race.races import CALLERS, FIRST, OTHERS
from tests.proofs.race.run import races
from tests.proofs.stage import ENGINES, Engine
from tests.support.servers import Server

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ROUNDS = 50


@pytest.mark.parametrize("engine", ENGINES)
async def test_whoever_comes_at_once_one_request_has_one_effect(
    engine: Engine, postgres_server: Server
) -> None:
    """One POST, one row and one answer, and no limit is overstepped."""
    found = await races(engine, ROUNDS // len(ENGINES), postgres_server.url)
    assert [one for each in found for one in each.violations] == []
    assert {one.race for one in found} == {FIRST[0], *OTHERS}
    # All of them were open while the one order waited at the bot: this was a race.
    assert {one.at_once for one in found if one.race == FIRST[0]} == {CALLERS}
