"""When not finding an order counts: pure, in seconds that are handed in."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mcp_gateway.orders.absence import Look, Patience, Watch, missed

pytestmark = pytest.mark.unit

PATIENCE = Patience(quiet_s=300.0, cycle_s=6.0)


@dataclass(frozen=True, slots=True)
class Glance:
    """One look: how long after the one before, whether it was clean, what the bot said."""

    after_s: float
    clean: bool
    restarted: bool


def at(now: float) -> Look:
    """A look that takes no time."""
    return Look(now, now)


looks = some.lists(
    some.builds(
        Glance,
        after_s=some.sampled_from([0.0, 0.5, 2.0, 5.9, 6.0, 150.0, 299.0, 300.0]),
        clean=some.booleans(),
        restarted=some.booleans(),
    ),
    max_size=12,
)


def counted(taken: list[Glance], patience: Patience) -> tuple[list[tuple[float, Glance]], bool]:
    """Take looks until one counts; return them with their times, and whether one did."""
    watch, now = Watch(0.0), 0.0
    passed: list[tuple[float, Glance]] = []
    for look in taken:
        now += look.after_s
        passed.append((now, look))
        if not look.clean:
            continue  # whoever looked was told nothing: there is nothing to note
        watch, counts = missed(watch, at(now), restarted=look.restarted, patience=patience)
        if counts:
            return passed, True
    return passed, False


@given(looks)
def test_absence_never_counts_before_the_bot_is_at_rest_and_was_asked_twice(
    taken: list[Glance],
) -> None:
    """Two clean looks a cycle apart, at rest both, and nothing in between that says otherwise."""
    passed, counts = counted(taken, PATIENCE)
    clean = [(at, look) for at, look in passed if look.clean]
    at_rest = [(at, look.restarted or at >= PATIENCE.quiet_s) for at, look in clean]
    if not counts:
        return
    last = at_rest[-1][0]
    behind = [at for at, rests in at_rest if rests and last - at >= PATIENCE.cycle_s]
    assert at_rest[-1][1]
    assert behind
    assert all(rests for at, rests in at_rest if at >= min(behind) and at > _last_unrest(at_rest))


def _last_unrest(looks: list[tuple[float, bool]]) -> float:
    return max((at for at, rests in looks if not rests), default=-1.0)


@given(looks, some.booleans())
def test_absence_counts_in_the_end(taken: list[Glance], restarted: bool) -> None:
    """Whatever came before, two quiet looks behind the time-outs settle it (invariant 4)."""
    behind = [Glance(PATIENCE.quiet_s, True, restarted), Glance(PATIENCE.cycle_s, True, restarted)]
    assert counted([*taken, *behind], PATIENCE)[1]


@pytest.mark.parametrize(
    ("second_at", "counts"), [(300.0, False), (305.9, False), (306.0, True), (400.0, True)]
)
def test_two_looks_lie_a_cycle_apart(second_at: float, counts: bool) -> None:
    """Between two books of one loop an order may appear: they are one look."""
    watch, early = missed(Watch(0.0), at(300.0), restarted=False, patience=PATIENCE)
    assert (watch.missed_since, early) == (300.0, False)
    assert missed(watch, at(second_at), restarted=False, patience=PATIENCE)[1] is counts


def test_a_look_before_rest_is_not_the_first_of_the_two() -> None:
    """What was missing while the bot could still act proves nothing later."""
    watch, _ = missed(Watch(0.0), at(299.9), restarted=False, patience=PATIENCE)
    assert watch == Watch(0.0)
    assert missed(watch, at(306.0), restarted=False, patience=PATIENCE) == (
        Watch(0.0, 306.0),
        False,
    )


def test_a_restart_that_the_bot_takes_back_starts_the_wait_anew() -> None:
    """A word of the bot's that does not hold is no word: it has to come to rest by itself."""
    watch, _ = missed(Watch(0.0), at(10.0), restarted=True, patience=PATIENCE)
    watch, counts = missed(watch, at(20.0), restarted=False, patience=PATIENCE)
    assert (watch, counts) == (Watch(0.0), False)
    assert missed(watch, at(30.0), restarted=True, patience=PATIENCE) == (Watch(0.0, 30.0), False)


def test_a_look_that_failed_neither_counts_nor_undoes() -> None:
    """Two clean looks count with any number of failed ones between them; one never does."""
    one = [Glance(300.0, True, False), Glance(10.0, False, False), Glance(10.0, False, False)]
    assert not counted(one, PATIENCE)[1]
    assert counted([*one, Glance(10.0, True, False)], PATIENCE)[1]


@pytest.mark.parametrize(("began", "counts"), [(310.9, False), (315.0, True)])
def test_a_slow_look_is_as_old_as_its_beginning(began: float, counts: bool) -> None:
    """What a look read first may be from its beginning: a cycle lies between two, not within."""
    watch, _ = missed(Watch(0.0), Look(300.0, 309.0), restarted=False, patience=PATIENCE)
    second = Look(began, 330.0)
    assert missed(watch, second, restarted=False, patience=PATIENCE)[1] is counts


def test_a_look_that_began_before_rest_is_not_at_rest() -> None:
    """The books were read before the time-outs had passed, however late the answer came."""
    look = Look(299.0, 320.0)
    assert missed(Watch(0.0), look, restarted=False, patience=PATIENCE) == (Watch(0.0), False)
