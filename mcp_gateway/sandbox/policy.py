"""The policy of a gateway before the sandbox: what its exchange publishes of each pair."""

from pathlib import Path
from typing import Final

from mcp_gateway.sandbox.market import LISTINGS, Listing

FILE: Final = "policy.toml"
HEAD: Final = (
    "# What the simulated exchange publishes; written anew at each start of the sandbox.\n"
)


def write_policy(folder: Path) -> Path:
    """Write the policy file into a folder and return where it lies."""
    path = folder / FILE
    path.write_text(HEAD + "".join(map(_table, LISTINGS.values())), encoding="utf-8")
    return path


def _table(listing: Listing) -> str:
    return (
        f'\n[markets."{listing.pair}"]\n'
        f'lot_step = "{listing.lot:f}"\n'
        f'minimum_stake = "{listing.min_notional:f}"\n'
    )
