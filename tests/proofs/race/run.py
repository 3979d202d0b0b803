"""Rounds of races on both engines, and what the ledger must hold behind all of them."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.proofs.books import Books
from tests.proofs.race.races import FIRST, OTHERS, Round
from tests.proofs.race.stage import Stage, stage
from tests.proofs.stage import ENGINES, Engine, Stores
from tests.support.servers import Postgres, own


async def races(engine: Engine, rounds: int, postgres_url: str) -> list[Round]:
    """Run that many rounds: in each the race for one request_id, and one of the others."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        stores = Stores(folder, postgres_url)
        await stores.prepare()
        try:
            async with stage(engine, stores, folder) as ready:
                found = [await _one(ready, number) for number in range(rounds)]
                books = Books.read(ready.url)
                found[-1][0].violations += _of_the_books(books, ready)
        finally:
            stores.remove()
    return list(itertools.chain.from_iterable(found))


async def races_on_own_server(rounds: int) -> dict[Engine, list[Round]]:
    """Run half of the rounds on each engine, with a PostgreSQL of their own."""
    halves = {"sqlite": rounds - rounds // 2, "postgresql": rounds // 2}
    with own(Postgres) as server:
        return {
            engine: await races(engine, halves[engine], server.url)
            for engine in ENGINES
            if halves[engine]
        }


async def _one(ready: Stage, number: int) -> tuple[Round, Round]:
    name, race = list(OTHERS.items())[number % len(OTHERS)]
    rounds = Round(FIRST[0]), Round(name)
    await FIRST[1](ready, rounds[0])
    await race(ready, rounds[1])
    return rounds


def _of_the_books(books: Books, ready: Stage) -> Iterator[str]:
    """Yield where the ledger does not have one row and one audited history for each request."""
    written = [row["request_id"] for row in books.orders]
    if sorted(written) != sorted(ready.request_ids):
        yield f"{len(written)} rows for {len(ready.request_ids)} requests"
    for row in books.orders:
        history = books.history.get(row["order_id"], [])
        if history.count("sent") > 1 or history[:1] != ["received"]:
            yield f"a history {history}"
        if books.audit.get(row["order_id"]) != history:
            yield f"audited {books.audit.get(row['order_id'])} beside {history}"
