"""A proof that finds nothing wrong where something is wrong is worth nothing."""

import pytest

from tests.proofs.contract_bugs import CONTRACT_BUGS
from tests.proofs.limits_bugs import LIMIT_BUGS
from tests.proofs.model_bugs import MODEL_BUGS
from tests.proofs.planted import SIMULATION_BUGS, VARIANTS, hunt
from tests.proofs.variants import Change, Variant

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_planted_bug_is_found(variant: Variant) -> None:
    """Each wrong variant of the real code is found by its proof."""
    hunted = hunt(variant)
    assert hunted.found, hunted.told


@pytest.mark.parametrize(
    ("planted", "line"),
    [
        (SIMULATION_BUGS[0], "from mcp_gateway.orders import nobody"),
        (SIMULATION_BUGS[0], "if"),
        (SIMULATION_BUGS[0], "raise RuntimeError('a crash')"),
        (MODEL_BUGS[0], "from mcp_gateway.orders import nobody"),
        (CONTRACT_BUGS[0], "from mcp_gateway.orders import nobody"),
        (LIMIT_BUGS[0], "from mcp_gateway.orders import nobody"),
    ],
    ids=["import", "syntax", "exception", "import, model", "import, pytest", "import, limits"],
)
def test_a_proof_that_crashes_has_found_nothing(planted: Variant, line: str) -> None:
    """Python's exit code of a crash is the one by which a proof says that it found a bug."""
    first = '"""The ledger\'s statements,'
    broken = Change("mcp_gateway/orders/book/rows.py", first, f"{line}\n{first}")
    hunted = hunt(Variant("a crash", (broken,), planted.proof))
    assert not hunted.found, hunted.told


def test_the_variants_are_many_and_differ() -> None:
    """Thirty ways to be wrong, each of its own."""
    assert len({variant.changes for variant in VARIANTS}) == len(VARIANTS) >= 30
