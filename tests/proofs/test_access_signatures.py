"""Replays and rotation over real processes: CI's share of the calls.

The whole sizes are ``python -m tests.proofs.access.replay --size 1000000`` and
``python -m tests.proofs.access.key_rotation --size 100000``.
"""

from pathlib import Path

import pytest

from tests.proofs.access import key_rotation, replay
from tests.proofs.access.replay import ALTERATIONS

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

REPLAYS = 2_400
SIGNED_CALLS = 800


async def test_no_recorded_order_is_taken_twice(tmp_path: Path) -> None:
    """Two processes and one store, which is stopped and flushed in between."""
    found = await replay.prove(tmp_path, REPLAYS)
    assert (found.taken, found.wrong) == ([], [])
    assert replay.report(found) == 0
    assert found.replays >= REPLAYS
    assert found.accidents == ["store stopped", "store flushed"]
    assert found.reads_without_store > 0
    # Each kind was tried, and most replays met their own nonce and no other fault.
    assert len(found.kinds) >= len(ALTERATIONS)
    assert found.words["signature_replayed"] > found.replays / 4


async def test_processes_that_do_not_share_their_nonces_are_found(tmp_path: Path) -> None:
    """The proof can fail: with nonces of its own, the other process takes what this one took."""
    found = await replay.prove(tmp_path, 400, shared=False)
    assert found.taken != []
    assert replay.report(found) == 1


async def test_no_signed_call_fails_while_keys_rotate(tmp_path: Path) -> None:
    """New key, overlap, old one revoked; a revoked one is refused within a second."""
    found = await key_rotation.prove(tmp_path, SIGNED_CALLS)
    assert (found.failures, found.believed) == ([], [])
    assert key_rotation.report(found) == 0
    assert found.revoked > 0


async def test_a_key_that_is_revoked_too_early_is_found(tmp_path: Path) -> None:
    """The proof can fail: an operator who revokes before the agent has changed over."""
    found = await key_rotation.prove(tmp_path, SIGNED_CALLS, careless=True)
    assert found.failures != []
    assert key_rotation.report(found) == 1
