"""One quota over several processes whose clocks disagree: CI's share of the calls.

The whole size is ``python -m tests.proofs.access.quotas --size 200000``.
"""

from pathlib import Path

import pytest

from tests.proofs.access import neighbours
from tests.proofs.access.quotas import PROCESSES, Passed, _most_over, prove, report

pytestmark = pytest.mark.integration

CALLS = 4_000


def test_processes_that_disagree_on_the_time_share_one_quota(tmp_path: Path) -> None:
    """The store's clock decides: 4 processes 90 s apart let through what one may."""
    found = prove(tmp_path, CALLS)
    assert found.violations() == []
    assert report(found) == 0
    assert found.calls >= CALLS * 0.9


def test_processes_that_count_alone_are_found(tmp_path: Path) -> None:
    """The proof can fail: without the shared store there is a quota for each process."""
    found = prove(tmp_path, CALLS // 2, processes=2, shared=False)
    assert found.violations() != []
    assert report(found) == 1


def test_an_agent_beside_a_flood_is_served(tmp_path: Path) -> None:
    """Each of its reads, while the other is sent away; how quickly, the whole size measures."""
    [measured] = neighbours.prove(tmp_path, 1, stretch_s=1.0, floods=["calls"])
    assert measured.failed.total() == 0
    assert len(measured.flooded_s) > 1


def test_a_stretch_is_judged_to_the_call() -> None:
    """A burst and one more may pass at once; two more may not, wherever they stand."""
    quiet = [Passed(at, at) for at in (0.0, 100.0)]
    full = [Passed(200.0, 200.0)] * (PROCESSES + 1)
    assert _most_over("agent", [*quiet, *full], PROCESSES) is None
    assert _most_over("agent", [*quiet, *full, Passed(200.0, 200.0)], PROCESSES) is not None
