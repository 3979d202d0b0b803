"""What a planted bug is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A change to one file of the package; ``old`` stands exactly once in it."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Variant:
    """Changes that make the package wrong, and the proof that must find it.

    Args:
        proof: arguments of the interpreter; exit code 1 means that a violation was found.
    """

    name: str
    changes: tuple[Change, ...]
    proof: tuple[str, ...]
