"""How the engines are set up."""

import pytest

from mcp_gateway.storage.engines import journal_mode

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 44, 5), "TRUNCATE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((3, 50, 6), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 0), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_wal_is_used_where_sqlite_can_not_corrupt_it(version: tuple[int, ...], mode: str) -> None:
    """The WAL-Reset Bug was corrected in 3.51.3, 3.50.7 and 3.44.6 (sqlite.org/wal.html)."""
    assert journal_mode(version) == mode
