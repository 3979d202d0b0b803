"""When not finding an order counts: pure, in seconds that are handed in."""

from dataclasses import dataclass, replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mcp_gateway.orders.absence import Look, Patience, Watch, missed, unanswered

pytestmark = pytest.mark.unit

PATIENCE = Patience(quiet_s=300.0, cycle_s=6.0)
# Halves: their sums are exact.
GAPS = some.sampled_from([0.0, 0.5, 2.0, 5.5, 6.0, 150.0, 299.0, 300.0])


@dataclass(frozen=True, slots=True)
class Glance:
    """One look: how long after the one before, whether it was clean, what the bot said."""

    after_s: float
    clean: bool = True
    restarted: bool = False


def at(now: float) -> Look:
    """A look that takes no time."""
    return Look(now, now)


@some.composite
def looks(draw: some.DrawFn) -> list[Glance]:
    """Looks of which any may fail, at a bot that may be started anew at any of them."""
    taken = draw(some.lists(some.builds(Glance, GAPS, some.booleans()), max_size=12))
    restart = draw(some.integers(0, len(taken)))
    return [*taken[:restart], *(replace(look, restarted=True) for look in taken[restart:])]


def counted(taken: list[Glance], patience: Patience = PATIENCE) -> int | None:
    """Take looks until one counts; return how many that took, None where none did."""
    watch, now = Watch(0.0), 0.0
    for number, look in enumerate(taken, start=1):
        now += look.after_s
        if not look.clean:
            watch = unanswered(watch)
            continue
        watch, counts = missed(watch, at(now), restarted=look.restarted, patience=patience)
        if counts:
            return number
    return None


def proves(taken: list[Glance]) -> bool:
    """Tell whether the last look proves an absence, by the rule and with no watch kept."""
    times = list(accumulate(look.after_s for look in taken))
    rests = [look.restarted or _ran_for_long(taken, end) for end, look in enumerate(taken, 1)]
    clean = [n for n, look in enumerate(taken) if look.clean]
    last = len(taken) - 1
    if last not in clean or not rests[last]:
        return False
    return any(
        times[last] - times[first] >= PATIENCE.cycle_s
        for first in clean[:-1]
        if all(rests[n] for n in clean if n >= first)
    )


def _ran_for_long(taken: list[Glance], end: int) -> bool:
    """Tell whether the bot once answered every look for the quiet time."""
    ran_s, answered = 0.0, False
    for look in taken[:end]:
        ran_s = ran_s + look.after_s if answered and look.clean else 0.0
        answered = look.clean
        if ran_s >= PATIENCE.quiet_s:
            return True
    return False


@given(looks())
def test_absence_counts_at_the_first_look_that_proves_it(taken: list[Glance]) -> None:
    """Two clean looks a cycle apart at a bot at rest: no sooner, and no later."""
    proven = [n for n in range(1, len(taken) + 1) if proves(taken[:n])]
    assert counted(taken) == (proven[0] if proven else None)


@given(looks(), some.booleans())
def test_absence_counts_in_the_end(taken: list[Glance], restarted: bool) -> None:
    """Whatever came before, a bot that answers for its time-outs and a cycle settles it."""
    waits = (0.0, PATIENCE.quiet_s, PATIENCE.cycle_s)
    assert counted([*taken, *(Glance(wait_s, restarted=restarted) for wait_s in waits)])


@given(
    before=some.lists(GAPS, max_size=6).filter(lambda gaps: sum(gaps) < PATIENCE.quiet_s),
    frozen_s=some.floats(0, 1e6),
    after=some.lists(GAPS, max_size=6).filter(
        lambda gaps: sum(gaps) < PATIENCE.quiet_s + PATIENCE.cycle_s
    ),
)
def test_a_frozen_bots_time_does_not_count(
    before: list[float], frozen_s: float, after: list[float]
) -> None:
    """However long it answered nothing: its time-outs have to pass where it is seen to run."""
    frozen = Glance(frozen_s, clean=False)
    taken = [Glance(0.0), *map(Glance, before), frozen, Glance(0.0), *map(Glance, after)]
    assert counted(taken) is None


@pytest.mark.parametrize(
    ("second_at", "counts"), [(300.0, False), (305.9, False), (306.0, True), (400.0, True)]
)
def test_two_looks_lie_a_cycle_apart(second_at: float, counts: bool) -> None:
    """Between two books of one loop an order may appear: they are one look."""
    watch, early = missed(Watch(0.0, 0.0), at(300.0), restarted=False, patience=PATIENCE)
    assert (watch.missed_since, early) == (300.0, False)
    assert missed(watch, at(second_at), restarted=False, patience=PATIENCE)[1] is counts


def test_the_quiet_time_begins_with_the_first_look_that_is_answered() -> None:
    """An order may be unknown for long before the bot is asked for the first time."""
    watch, _ = missed(Watch(0.0), at(300.0), restarted=False, patience=PATIENCE)
    assert watch == Watch(0.0, 300.0)
    for now in (306.0, 599.9):
        assert missed(watch, at(now), restarted=False, patience=PATIENCE) == (watch, False)
    assert missed(watch, at(600.0), restarted=False, patience=PATIENCE)[0].missed_since == 600.0


def test_a_look_before_rest_is_not_the_first_of_the_two() -> None:
    """What was missing while the bot could still act proves nothing later."""
    watch, _ = missed(Watch(0.0, 0.0), at(299.9), restarted=False, patience=PATIENCE)
    assert watch == Watch(0.0, 0.0)
    assert missed(watch, at(306.0), restarted=False, patience=PATIENCE) == (
        Watch(0.0, 0.0, 306.0),
        False,
    )


def test_a_restart_that_the_bot_takes_back_starts_the_wait_anew() -> None:
    """A word of the bot's that does not hold is no word: it has to come to rest by itself."""
    watch, _ = missed(Watch(0.0), at(10.0), restarted=True, patience=PATIENCE)
    watch, counts = missed(watch, at(20.0), restarted=False, patience=PATIENCE)
    assert (watch.missed_since, counts) == (None, False)
    watch, counts = missed(watch, at(30.0), restarted=True, patience=PATIENCE)
    assert (watch.missed_since, counts) == (30.0, False)


def test_a_look_that_failed_undoes_no_rest() -> None:
    """Two clean looks at rest count with any number of failed ones between; one never does."""
    rest = [Glance(0.0), Glance(PATIENCE.quiet_s)]
    failed = [Glance(10.0, clean=False), Glance(10.0, clean=False)]
    assert counted([*rest, *failed]) is None
    assert counted([*rest, *failed, Glance(10.0)]) == 5


def test_a_look_that_failed_before_rest_starts_the_quiet_time_anew() -> None:
    """Nobody knows how much time has passed for a bot that did not answer."""
    almost = [Glance(0.0), Glance(PATIENCE.quiet_s - 1), Glance(1.0, clean=False)]
    again = [Glance(0.0), Glance(PATIENCE.quiet_s - 1), Glance(1.0)]
    assert counted([*almost, *again]) is None
    assert counted([*almost, *again, Glance(PATIENCE.cycle_s)]) == 7


@pytest.mark.parametrize(("began", "counts"), [(310.9, False), (315.0, True)])
def test_a_slow_look_is_as_old_as_its_beginning(began: float, counts: bool) -> None:
    """What a look read first may be from its beginning: a cycle lies between two, not within."""
    watch, _ = missed(Watch(0.0, 0.0), Look(300.0, 309.0), restarted=False, patience=PATIENCE)
    second = Look(began, 330.0)
    assert missed(watch, second, restarted=False, patience=PATIENCE)[1] is counts


def test_a_look_that_began_before_rest_is_not_at_rest() -> None:
    """The books were read before the time-outs had passed, however late the answer came."""
    watch, look = Watch(0.0, 0.0), Look(299.0, 320.0)
    assert missed(watch, look, restarted=False, patience=PATIENCE) == (watch, False)
