"""No set of orders that were let in passes a limit, whoever sends what through which process: CI's share."""

from collections.abc import Iterator

import pytest
import structlog

from tests.proofs.limits.explore import wander
from tests.proofs.limits.world import LIMITS
from tests.proofs.simulation.explore import silence

pytestmark = pytest.mark.integration

SEEDS, SHARES = 12_000, 6
LEAST_EFFECTS = SEEDS // SHARES  # worlds in which nothing is ever bought prove nothing
LEAST_BOUND = 20  # neither does a limit that nobody comes near to


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Worlds in trouble log a lot; other tests read what is logged."""
    before = structlog.get_config()
    silence()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("share", range(SHARES))
def test_no_random_world_passes_a_limit(share: int) -> None:
    """Two to six callers, one to three gateways, crashes, lost answers, a store that fails."""
    first = share * SEEDS // SHARES
    found = wander(range(first, first + SEEDS // SHARES))
    assert found.broken == []
    assert found.crashes
    assert found.effects > LEAST_EFFECTS
    assert set(found.bound) == LIMITS
    assert min(found.bound.values()) > LEAST_BOUND
