"""An issuer's keys exchanged under load: CI's share of the calls.

The whole size is ``python -m tests.proofs.access.token_rotation --size 100000``.
"""

from pathlib import Path

import pytest

from tests.proofs.access.token_rotation import LEAST_ROTATIONS, prove, report

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

CALLS = 1_000


async def test_no_call_fails_while_an_issuer_exchanges_its_keys(tmp_path: Path) -> None:
    """The next key works at once, the last one goes on, the withdrawn one is over."""
    found = await prove(tmp_path, CALLS)
    assert (found.failures, found.believed) == ([], 0)
    assert found.calls >= CALLS
    assert found.rotations >= LEAST_ROTATIONS
    assert found.withdrawn > 0
    assert report(found) == 0


async def test_an_issuer_that_signs_before_it_publishes_is_found(tmp_path: Path) -> None:
    """The proof can fail: tokens of a key that nobody was told of are refused."""
    found = await prove(tmp_path, 100, rotations=1, every_s=0.5, careless=True)
    assert "401 token_invalid" in found.words
    assert report(found) == 1
