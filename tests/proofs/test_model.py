"""The order service beside a small model: CI's share of the worlds.

The whole size is ``python -m tests.proofs.model --examples 200000``.
"""

from collections.abc import Iterator

import pytest
import structlog

from tests.proofs.model.__main__ import main, prove
from tests.proofs.model.machine import silence

pytestmark = pytest.mark.integration

EXAMPLES, SHARES = 2000, 8


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Worlds in trouble log a lot; other tests read what is logged."""
    before = structlog.get_config()
    silence()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("share", range(SHARES))
def test_no_world_breaks_a_promise(share: int) -> None:
    """What docs/orders.md numbers holds behind each step, whatever happens."""
    prove(EXAMPLES // SHARES, share)


def test_the_command_tells_what_it_proved(capsys: pytest.CaptureFixture[str]) -> None:
    """Examples, violations and examples per second; 0 where nothing was broken."""
    assert main(["--examples", "5", "--first", "99"]) == 0
    assert capsys.readouterr().out.startswith("5 examples, 0 violations, ")
