"""When not finding an order proves that it was never carried out. Pure: times are handed in.

A bot that was handed an order may work on it long after its answer was lost. It has come to
rest when it was started anew since, or when its own time-outs have passed while it was seen
to run: of a bot that answers nothing, frozen or cut off, nobody knows how much time has
passed for it, nor of one that nobody asked. And then one look is not enough, for an order may
appear between two of its books: two clean looks a cycle of the bot apart have to agree.
"""

from dataclasses import dataclass, replace
from typing import Final

# The bot takes three seconds and more to come up; its API is away for half of one when it
# reloads its configuration, and works on at what it was asked before.
DOWN_S: Final = 1.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds.

    Args:
        quiet_s: for how long a bot that was not restarted has to answer every look.
        cycle_s: between the first and the last clean look at a bot at rest.
        gap_s: how much of the time between two looks counts at most.
    """

    quiet_s: float
    cycle_s: float
    gap_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of the looks for one order (monotonic seconds).

    Args:
        since: when it was looked for first.
        looked_at: when the last look began, if it was answered.
        answered_s: for how long every look was answered.
        missed_since: when a look at the bot at rest first missed the order.
        down_since: since when every look found the bot's address closed.
        was_down: it was closed for longer than a living process closes it.
    """

    since: float
    looked_at: float | None = None
    answered_s: float = 0.0
    missed_since: float | None = None
    down_since: float | None = None
    was_down: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """One clean look that found nothing: when it began and ended, by the monotonic clock."""

    began: float
    ended: float


def unanswered(watch: Watch, at: float, *, closed: bool) -> Watch:
    """Note a look that failed: a bot that had not come to rest starts anew.

    Args:
        closed: nobody listened at the bot's address.
    """
    if watch.missed_since is None:
        watch = replace(watch, looked_at=None, answered_s=0.0)
    if not closed:
        return replace(watch, down_since=None)
    since = at if watch.down_since is None else watch.down_since
    return replace(watch, down_since=since, was_down=watch.was_down or at - since >= DOWN_S)


def missed(watch: Watch, look: Look, *, restarted: bool, patience: Patience) -> tuple[Watch, bool]:
    """Note one look that found nothing; tell whether its absence counts now.

    What a slow look read first is as old as its beginning, so the time between two looks is
    counted from the end of one to the beginning of the other.

    Args:
        restarted: the bot says that it was started since the order was sent.
    """
    gap = 0.0 if watch.looked_at is None else look.began - watch.looked_at
    answered_s = watch.answered_s + min(gap, patience.gap_s)
    watch = replace(watch, looked_at=look.began, answered_s=answered_s, down_since=None)
    if not (restarted or answered_s >= patience.quiet_s):
        return replace(watch, missed_since=None), False
    if watch.missed_since is None:
        return replace(watch, missed_since=look.ended), patience.cycle_s <= 0
    return watch, look.began - watch.missed_since >= patience.cycle_s
