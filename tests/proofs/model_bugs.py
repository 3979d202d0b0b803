"""Bugs that the model has to find."""

from tests.proofs.variants import Variant

MODEL_BUGS: tuple[Variant, ...] = ()
