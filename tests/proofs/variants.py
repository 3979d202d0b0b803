"""What a planted bug is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variant:
    """A change to one file of the package that makes it wrong, and the proof that must find it.

    Args:
        old: stands exactly once in the file.
        proof: arguments of the interpreter; exit code 1 means that a violation was found.
    """

    name: str
    file: str
    old: str
    new: str
    proof: tuple[str, ...]
