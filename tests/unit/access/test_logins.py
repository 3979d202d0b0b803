"""Logins within bounds: guessing ends soon, and locks out nobody but the guesser."""

import anyio
import anyio.lowlevel
import pytest

from mcp_gateway.access import logins as module
from mcp_gateway.access.clients import Client, Clients, hash_password
from mcp_gateway.access.logins import (
    AT_ONCE_OF_ADDRESS,
    FAILURE_DELAY_S,
    Logins,
    network,
)
from mcp_gateway.errors import GatewayError
from tests.support.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PASSWORD = "correct-horse"
OF_ADDRESS, OF_NAME = 2, 3
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    path = tmp_path_factory.mktemp("clients") / "clients.toml"
    hashed = hash_password(PASSWORD)
    path.write_text(
        "".join(
            f'[clients.{n}]\npassword = "{hashed}"\nscopes = []\n' for n in ("admin", "another")
        )
    )
    path.chmod(0o600)
    return Clients.load(path, 86_400)


class HastyClock(ManualClock):
    """Stands still, and lets nobody wait while it is ``hasty``."""

    hasty = False

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0 if self.hasty else seconds)


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def logins(clients: Clients, clock: HastyClock, monkeypatch: pytest.MonkeyPatch) -> Logins:
    """Logins with low bounds: every password costs the real work."""
    monkeypatch.setattr(module, "FAILURES_OF_ADDRESS", OF_ADDRESS)
    monkeypatch.setattr(module, "FAILURES_OF_NAME", OF_NAME)
    return Logins(clients, clock)


async def outcome(logins: Logins, name: str, password: str, peer: str) -> str:
    try:
        await logins.check(name, password, peer)
    except GatewayError as refusal:
        return refusal.code
    return "let in"


async def guess(logins: Logins, clock: HastyClock, times: int, name: str, peer: str) -> set[str]:
    """Guess wrongly so often, without the delays; return how it went."""
    clock.hasty = True
    told = {await outcome(logins, name, "wrong-horse", peer) for _ in range(times)}
    clock.hasty = False
    return told


@pytest.mark.parametrize("name", ["admin", "nobody"])
async def test_an_address_that_guesses_is_turned_away_for_a_known_name_and_an_unknown_one(
    logins: Logins, clock: HastyClock, name: str
) -> None:
    """Nothing is hashed any more, whatever the password; a minute later it may try again."""
    assert await guess(logins, clock, OF_ADDRESS, name, HOME) == {"client_invalid"}
    assert await guess(logins, clock, 1, name, HOME) == {"logins_failed"}
    assert await outcome(logins, "admin", PASSWORD, HOME) == "logins_failed"
    assert await outcome(logins, "admin", PASSWORD, ELSEWHERE) == "let in"
    clock.advance(60)
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"


def test_the_bounds_that_there_are_leave_room_for_slips_and_none_for_guessing() -> None:
    """The tests have lower ones. One address alone never shuts a name."""
    assert 5 <= module.FAILURES_OF_ADDRESS < module.FAILURES_OF_NAME <= 60


@pytest.mark.parametrize("name", ["admin", "nobody"])
async def test_a_name_that_many_addresses_guess_at_is_shut_to_strangers(
    logins: Logins, clock: HastyClock, name: str
) -> None:
    """A thousand addresses guess no faster than three; the answer is the same for any name."""
    for number in range(OF_NAME):
        assert await guess(logins, clock, 1, name, f"203.0.113.{number}") == {"client_invalid"}
    assert await guess(logins, clock, 1, name, "203.0.113.99") == {"logins_failed"}


async def test_nobody_is_locked_out_by_others_where_he_logged_in_before(
    logins: Logins, clock: HastyClock
) -> None:
    """Whoever knows a name could else keep its agent from its tokens."""
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"
    for number in range(OF_NAME):
        await guess(logins, clock, 1, "admin", f"203.0.113.{number}")
    assert await outcome(logins, "admin", PASSWORD, ELSEWHERE) == "logins_failed"
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"


async def test_guesses_at_other_names_shut_out_nobody_who_is_known_at_the_address(
    logins: Logins, clock: HastyClock
) -> None:
    """Agents share an address behind one proxy: one that guesses must not stop its neighbours."""
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"
    assert await guess(logins, clock, OF_ADDRESS, "nobody", HOME) == {"client_invalid"}
    assert await outcome(logins, "another", PASSWORD, HOME) == "logins_failed"
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"


async def test_where_a_name_is_known_it_is_guessed_at_no_faster(
    logins: Logins, clock: HastyClock
) -> None:
    """Each name at an address has as many failures as an address, and others' stay theirs."""
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"
    assert await guess(logins, clock, OF_ADDRESS, "admin", HOME) == {"client_invalid"}
    assert await guess(logins, clock, 1, "admin", HOME) == {"logins_failed"}
    assert await outcome(logins, "nobody", PASSWORD, HOME) == "logins_failed"


async def test_a_client_gets_so_many_tokens_a_minute_and_takes_none_from_others(
    logins: Logins, clock: HastyClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good password is no key to all hashing that there is, from however many addresses."""
    monkeypatch.setattr(module, "LOGINS_OF_CLIENT", 2)
    for number in range(2):
        assert await outcome(logins, "admin", PASSWORD, f"192.0.2.{number}") == "let in"
    assert await outcome(logins, "admin", PASSWORD, "192.0.2.0") == "quota_exceeded"
    assert await outcome(logins, "admin", PASSWORD, "192.0.2.9") == "quota_exceeded"
    assert await outcome(logins, "another", PASSWORD, "192.0.2.9") == "let in"
    clock.advance(30)
    assert await outcome(logins, "admin", PASSWORD, "192.0.2.0") == "let in"


class HeldClients(Clients):
    """Takes every password for right, once ``free``; says how many are being checked."""

    def __init__(self) -> None:
        super().__init__({})
        self.free = anyio.Event()
        self.checking = 0

    async def check(self, username: str, password: str, *, is_known: bool = False) -> Client | None:  # noqa: ARG002 (the signature of what it stands for)
        self.checking += 1
        await self.free.wait()
        return Client(username, frozenset(), 60)


async def test_a_name_waits_at_two_places_of_all_its_addresses(clock: HastyClock) -> None:
    """Who logs in from many addresses at once must not fill the places of others."""
    held = HeldClients()
    held.free.set()
    logins = Logins(held, clock)
    for number in range(4):
        await logins.check("admin", PASSWORD, f"192.0.2.{number}")
    held.free, held.checking = anyio.Event(), 0
    told: list[str] = []

    async def login(name: str, peer: str) -> None:
        told.append(await outcome(logins, name, PASSWORD, peer))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(login, "admin", f"192.0.2.{number}")
        group.start_soon(login, "another", "192.0.2.0")
        await anyio.wait_all_tasks_blocked()
        assert told == ["quota_exceeded"] * 2
        assert held.checking == 3
        held.free.set()
    assert told[2:] == ["let in"] * 3
    assert logins._under_way == {}


async def test_neighbours_that_fail_take_no_place_of_who_is_known(
    logins: Logins, clock: HastyClock
) -> None:
    """The delays of their failures fill the address; a known name has places of its own there."""
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"
    logins._under_way[network(HOME)] = AT_ONCE_OF_ADDRESS
    assert await outcome(logins, "another", PASSWORD, HOME) == "quota_exceeded"
    assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"


async def test_the_delay_is_no_lever(clients: Clients, clock: HastyClock) -> None:
    """Failures wait, but few of one address, and who waits takes no place from anybody else."""
    logins = Logins(clients, clock)
    told: list[str] = []
    async with anyio.create_task_group() as group:

        async def attack() -> None:
            told.append(await outcome(logins, "admin", "wrong-horse", ELSEWHERE))

        for _ in range(AT_ONCE_OF_ADDRESS + 6):
            group.start_soon(attack)
        await clock.sleeping(AT_ONCE_OF_ADDRESS)
        assert told == ["quota_exceeded"] * 6
        assert await outcome(logins, "admin", PASSWORD, HOME) == "let in"
        clock.advance(FAILURE_DELAY_S)
    assert told[6:] == ["client_invalid"] * AT_ONCE_OF_ADDRESS
    assert logins._under_way == {}


async def test_addresses_that_logged_in_are_remembered_within_bounds(
    logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(module, "KEPT", 2)
    for number in range(3):
        await logins.check("admin", PASSWORD, f"192.0.2.{number}")
    assert list(logins._known) == [("admin", "192.0.2.1"), ("admin", "192.0.2.2")]


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("@gateway", "@gateway"),
    ],
)
def test_an_address_stands_for_what_its_owner_has(peer: str, told: str) -> None:
    """Of IPv6 everybody has more addresses than could ever be counted."""
    assert network(peer) == told
