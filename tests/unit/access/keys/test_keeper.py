"""Keys are followed without a restart; a broken file changes nothing and is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mcp_gateway.access.keyring import Key, Keyring
from mcp_gateway.access.keys import file
from mcp_gateway.access.keys.keeper import LOOK_EVERY_S, KeyKeeper
from mcp_gateway.access.keys.records import KeySet
from mcp_gateway.errors import ConfigurationError, StoreUnavailable
from mcp_gateway.telemetry import metrics
from tests.support.clock import START, ManualClock
from tests.support.keys import SUBJECT, days, record, written
from tests.support.tokens import ISSUER

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Bench:
    """A keeper on a clock that a test moves, over a file of its own."""

    def __init__(self, path: Path, own: tuple[Key, ...] = ()) -> None:
        self.path = path
        self.clock = ManualClock()
        self.ring = Keyring(keys=own)
        self.keeper = KeyKeeper(path, self.ring, self.clock)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with self.keeper.watched():
            await self.clock.sleeping()
            yield

    async def a_look_later(self) -> None:
        """Let the time of one look pass, until the keeper sleeps again."""
        self.clock.advance(LOOK_EVERY_S)
        await self.keeper.look()
        await self.clock.sleeping()

    def serves(self, key_id: str) -> bool:
        return self.ring.serving(key_id, self.clock.now()) is not None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "keys.json")


async def test_a_revoked_key_is_refused_within_a_second(bench: Bench) -> None:
    """The promise of the documentation; the keeper looks twice as often."""
    one = record()
    written(bench.path, one)
    assert LOOK_EVERY_S <= 0.5
    async with bench.watched():
        assert bench.serves(one.key_id)
        file.change(bench.path, lambda keys: keys.revoked(one.key_id, START, "x"), lambda: None)
        await bench.a_look_later()
        assert not bench.serves(one.key_id)
        found = bench.ring.find(one.key_id)
        assert found is not None
        assert found.secret == b""


async def test_a_rotation_needs_no_restart(bench: Bench) -> None:
    """Old and new serve side by side, then the new alone, by the clock and without a look."""
    old, new = record(), record()
    written(bench.path, old)
    async with bench.watched():
        assert not bench.serves(new.key_id)
        file.change(
            bench.path, lambda keys: keys.rotated(old.key_id, new, START, days(1)), lambda: None
        )
        await bench.a_look_later()
        assert (bench.serves(old.key_id), bench.serves(new.key_id)) == (True, True)
        bench.clock.set_wall(START + days(1))
        assert (bench.serves(old.key_id), bench.serves(new.key_id)) == (False, True)


async def test_an_unknown_key_is_looked_for_at_once(bench: Bench) -> None:
    """A new key serves from its first order on."""
    one = record()
    async with bench.watched():
        assert not await bench.keeper.seek()
        written(bench.path, one)
        assert await bench.keeper.seek()
        assert bench.serves(one.key_id)
        assert not await bench.keeper.seek()


async def test_a_flood_of_made_up_ids_reads_the_file_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers decide how often is asked; reading thousands of keys for each would stop all else."""
    reads: list[Path] = []
    read = file.read

    def counted(path: Path) -> KeySet:
        reads.append(path)
        return read(path)

    written(bench.path, record())
    async with bench.watched():
        written(bench.path, record())
        monkeypatch.setattr(file, "read", counted)
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(bench.keeper.seek)
    assert reads == [bench.path]


@pytest.mark.parametrize("fault", ["text", "mode", "gone", "crowd", "clash"])
async def test_a_broken_file_changes_nothing_and_is_told(tmp_path: Path, fault: str) -> None:
    """The last good set stays; log, metric and health say so until the file is mended."""
    bench = Bench(tmp_path / "keys.json", (Key("own", ISSUER, "operator", b"k" * 32),))
    one = record()
    good = written(bench.path, one).read_bytes()
    async with bench.watched():
        if fault == "text":
            bench.path.write_bytes(good[:-20])
        elif fault == "mode":
            bench.path.chmod(0o644)
        elif fault == "gone":
            bench.path.unlink()
        elif fault == "crowd":
            written(bench.path, one, record(), record())
        else:
            written(bench.path, one, record("operator", key_id="own"))
        await bench.a_look_later()
        assert bench.serves(one.key_id)
        assert bench.keeper.faults
        assert metrics.REGISTRY.get_sample_value("mcp_gateway_keys_faulty") == 1
        with pytest.raises(StoreUnavailable) as told:
            await bench.keeper.ping()
        assert told.value.code == "keys_faulty"
        bench.path.unlink(missing_ok=True)
        written(bench.path, one)
        await bench.a_look_later()
        assert bench.keeper.faults == ()
        assert metrics.REGISTRY.get_sample_value("mcp_gateway_keys_faulty") == 0
        await bench.keeper.ping()


async def test_a_fault_is_logged_once_and_not_at_each_look(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two lines a second would bury the log."""
    written(bench.path, record())
    async with bench.watched():
        bench.path.write_text("{")
        for _ in range(3):
            await bench.a_look_later()
            bench.path.write_text("{")
    assert capsys.readouterr().out.count("has faults") == 1


async def test_a_gateway_does_not_start_with_a_broken_file(bench: Bench) -> None:
    """At the start no good set is known; serving without keys would be a surprise."""
    bench.path.write_text("{}")
    bench.path.chmod(0o600)
    with pytest.raises(ConfigurationError):
        async with bench.keeper.watched():
            pass


async def test_no_file_is_no_key_and_the_first_one_is_found(bench: Bench) -> None:
    """Before the first `keys new`; then the gateway follows."""
    async with bench.watched():
        assert bench.ring.signing_keys() == ()
        written(bench.path, one := record())
        await bench.a_look_later()
        assert bench.serves(one.key_id)


async def test_the_environments_keys_stay_beside_those_of_the_file(tmp_path: Path) -> None:
    """HMAC_SECRET goes on while the agents move to keys of the file."""
    bench = Bench(tmp_path / "keys.json", (Key(SUBJECT, ISSUER, SUBJECT, b"k" * 32),))
    written(bench.path, one := record())
    async with bench.watched():
        assert bench.serves(SUBJECT)
        assert bench.serves(one.key_id)
        found = bench.ring.keys_of(ISSUER, SUBJECT, START)
        assert {key.key_id for key in found} == {SUBJECT, one.key_id}
        assert bench.ring.keys_of("https://elsewhere.example", SUBJECT, START) == ()
