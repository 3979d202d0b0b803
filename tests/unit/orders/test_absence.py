"""When not finding an order counts: pure, in seconds that are handed in."""

from dataclasses import dataclass, replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mcp_gateway.orders.evidence.absence import DOWN_S, Look, Patience, Watch, missed, unanswered

pytestmark = pytest.mark.unit

PATIENCE = Patience(quiet_s=30.0, cycle_s=6.0, gap_s=10.0)
# Halves: their sums are exact.
GAPS = some.sampled_from([0.0, 0.5, 2.0, 5.5, 6.0, 9.5, 10.0, 29.5, 300.0])


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
            watch = unanswered(watch, now, closed=False)
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
    """Tell whether the bot once answered every look for the quiet time, with no long gap."""
    ran_s, answered = 0.0, False
    for look in taken[:end]:
        ran_s = ran_s + min(look.after_s, PATIENCE.gap_s) if answered and look.clean else 0.0
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
    waits = (0.0, PATIENCE.gap_s, PATIENCE.gap_s, PATIENCE.gap_s, PATIENCE.cycle_s)
    assert counted([*taken, *(Glance(wait_s, restarted=restarted) for wait_s in waits)])


@given(
    before=some.lists(GAPS, max_size=6).filter(lambda gaps: sum(gaps) < PATIENCE.quiet_s),
    frozen_s=some.floats(0, 1e6),
    after=some.lists(GAPS, max_size=9).filter(
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


@given(some.floats(PATIENCE.gap_s, 1e6))
def test_time_in_which_nobody_looked_hardly_counts(paused_s: float) -> None:
    """Gateway and bot may have been frozen together: a long gap is worth no more than a short."""
    almost = [Glance(0.0), Glance(PATIENCE.gap_s), Glance(paused_s)]
    assert counted([*almost, Glance(PATIENCE.gap_s - 0.5), Glance(PATIENCE.cycle_s)]) is None
    assert counted([*almost, Glance(PATIENCE.gap_s), Glance(PATIENCE.cycle_s)]) == 5


RUNNING = Watch(0.0, looked_at=25.0, answered_s=25.0)  # five seconds before rest


def seen(watch: Watch, look: Look, *, restarted: bool = False) -> tuple[Watch, bool]:
    return missed(watch, look, restarted=restarted, patience=PATIENCE)


@pytest.mark.parametrize(
    ("second_at", "counts"), [(30.0, False), (35.9, False), (36.0, True), (400.0, True)]
)
def test_two_looks_lie_a_cycle_apart(second_at: float, counts: bool) -> None:
    """Between two books of one loop an order may appear: they are one look."""
    watch, early = seen(RUNNING, at(30.0))
    assert (watch.missed_since, early) == (30.0, False)
    assert seen(watch, at(second_at))[1] is counts


def test_the_quiet_time_begins_with_the_first_look_that_is_answered() -> None:
    """An order may be unknown for long before the bot is asked for the first time."""
    watch, counts = seen(Watch(0.0), at(300.0))
    assert (watch, counts) == (Watch(0.0, looked_at=300.0), False)


def test_a_look_before_rest_is_not_the_first_of_the_two() -> None:
    """What was missing while the bot could still act proves nothing later."""
    watch, _ = seen(RUNNING, at(29.5))
    assert watch == Watch(0.0, looked_at=29.5, answered_s=29.5)
    watch, counts = seen(watch, at(36.0))
    assert (watch.missed_since, counts) == (36.0, False)


def test_a_restart_that_the_bot_takes_back_starts_the_wait_anew() -> None:
    """A word of the bot's that does not hold is no word: it has to come to rest by itself."""
    watch, _ = seen(Watch(0.0), at(10.0), restarted=True)
    watch, counts = seen(watch, at(20.0))
    assert (watch.missed_since, counts) == (None, False)
    watch, counts = seen(watch, at(25.0), restarted=True)
    assert (watch.missed_since, counts) == (25.0, False)


def test_a_look_that_failed_undoes_no_rest() -> None:
    """Two clean looks at rest count with any number of failed ones between; one never does."""
    rest = [Glance(0.0), *[Glance(PATIENCE.gap_s)] * 3]
    failed = [Glance(10.0, clean=False), Glance(10.0, clean=False)]
    assert counted([*rest, *failed]) is None
    assert counted([*rest, *failed, Glance(10.0)]) == 7


def test_a_look_that_failed_before_rest_starts_the_quiet_time_anew() -> None:
    """Nobody knows how much time has passed for a bot that did not answer."""
    almost = [Glance(0.0), *[Glance(9.5)] * 3]
    failed = Glance(1.5, clean=False)
    assert counted([*almost, failed, *almost, Glance(1.0)]) is None
    assert counted([*almost, failed, *almost, Glance(1.5), Glance(PATIENCE.cycle_s)]) == 11


def closed(watch: Watch, *times: float) -> Watch:
    for now in times:
        watch = unanswered(watch, now, closed=True)
    return watch


@pytest.mark.parametrize(
    ("watch", "was_down"),
    [
        (closed(Watch(0.0), 1.0), False),
        (closed(Watch(0.0), 1.0, 0.9 + DOWN_S), False),
        (closed(Watch(0.0), 1.0, 1.0 + DOWN_S), True),
        (closed(Watch(0.0), 1.0, 1.2, 1.0 + DOWN_S), True),
        (closed(unanswered(closed(Watch(0.0), 1.0), 2.0, closed=False), 1.0 + DOWN_S), False),
        (closed(seen(closed(Watch(0.0), 1.0), at(2.0))[0], 1.0 + DOWN_S), False),
        (seen(closed(Watch(0.0), 1.0, 1.0 + DOWN_S), at(3.0))[0], True),
        (unanswered(closed(Watch(0.0), 1.0, 1.0 + DOWN_S), 3.0, closed=False), True),
    ],
    ids=[
        "once", "a_moment", "for_long", "at_every_look", "silent_between", "answered_between",
        "answered_behind", "silent_behind",
    ],
)  # fmt: skip
def test_a_bot_was_down_if_every_look_for_a_while_found_its_address_closed(
    watch: Watch, was_down: bool
) -> None:
    """A reload closes it for half a second, a start for three (measured); a freeze not at all."""
    assert watch.was_down is was_down


@pytest.mark.parametrize(("began", "counts"), [(40.9, False), (45.0, True)])
def test_a_slow_look_is_as_old_as_its_beginning(began: float, counts: bool) -> None:
    """What a look read first may be from its beginning: a cycle lies between two, not within."""
    watch, _ = seen(RUNNING, Look(30.0, 39.0))
    assert seen(watch, Look(began, 60.0))[1] is counts


def test_a_look_that_began_before_rest_is_not_at_rest() -> None:
    """The books were read before the time-outs had passed, however late the answer came."""
    watch, counts = seen(RUNNING, Look(29.0, 50.0))
    assert (watch, counts) == (Watch(0.0, looked_at=29.0, answered_s=29.0), False)
