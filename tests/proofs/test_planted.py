"""A proof that finds nothing wrong where something is wrong is worth nothing."""

import pytest

from tests.proofs.planted import VARIANTS, hunt
from tests.proofs.variants import Variant

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_planted_bug_is_found(variant: Variant) -> None:
    """Each wrong variant of the real code is found by its proof."""
    hunted = hunt(variant)
    assert hunted.found, hunted.told


def test_the_variants_are_many_and_differ() -> None:
    """Sixteen ways to be wrong, each of its own."""
    assert len({variant.new for variant in VARIANTS}) == len(VARIANTS) >= 16
