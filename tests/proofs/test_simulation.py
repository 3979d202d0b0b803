"""The order's way through worlds that crash, lose, delay and repeat: CI's share of them."""

from collections.abc import Iterator

import pytest
import structlog

from tests.proofs.simulation.explore import SCENARIOS, exhaust, silence, wander
from tests.proofs.simulation.tape import Tape
from tests.proofs.simulation.world import Wish, World

pytestmark = pytest.mark.integration

SEEDS, SHARES = 100_000, 10
DEVIATIONS, PARTS = 3, 4
LEAST_EFFECTS = SEEDS // SHARES // 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Worlds in trouble log a lot; other tests read what is logged."""
    before = structlog.get_config()
    silence()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("share", range(PARTS))
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_world_near_the_ordinary_course_breaks_a_promise(name: str, share: int) -> None:
    """Every world with up to three crashes, faults or switches keeps what docs/orders.md numbers."""
    found = exhaust(SCENARIOS[name], DEVIATIONS, share=share, of=PARTS)
    assert found.broken == []
    assert found.crashes
    assert found.effects


@pytest.mark.parametrize("share", range(SHARES))
def test_no_random_world_breaks_a_promise(share: int) -> None:
    """Two agents, up to three orders each, one or two gateways, anything may happen."""
    first = share * SEEDS // SHARES
    found = wander(range(first, first + SEEDS // SHARES))
    assert found.broken == []
    assert found.effects > LEAST_EFFECTS  # worlds in which nothing is ever bought prove nothing


def test_a_world_is_run_again_from_its_choices() -> None:
    """What a seed found can be looked at choice by choice."""
    wishes = (Wish("a", 1, "BTC/USDT", "buy", "1", twins=2), Wish("b", 2, "BTC/USDT", "buy", "1"))
    drawn = Tape(seed=7, rate=0.2)
    first = World(drawn, wishes)
    first.run()
    again = World(Tape(drawn.choices), wishes)
    again.run()
    assert [step.record for step in again.ledger.steps] == [s.record for s in first.ledger.steps]
    assert len(first.ledger.steps) > len(wishes)
