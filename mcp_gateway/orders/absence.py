"""When not finding an order proves that it was never carried out. Pure: times are handed in.

A bot that was handed an order may work on it long after its answer was lost. It has come to
rest when it was started anew since, or when its own time-outs have passed while it was seen
to run: of a bot that answers nothing, frozen or cut off, nobody knows how much time has
passed for it. And then one look is not enough, for an order may appear between two of its
books: two clean looks a cycle of the bot apart have to agree.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds.

    Args:
        quiet_s: for how long a bot that was not restarted has to answer every look.
        cycle_s: between the first and the last clean look at a bot at rest.
    """

    quiet_s: float
    cycle_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Since when an order is looked for (monotonic seconds).

    ``answered_since`` is when the bot began to answer every look, ``missed_since`` when a look
    at the bot at rest first missed the order.
    """

    since: float
    answered_since: float | None = None
    missed_since: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One clean look that found nothing: when it began and ended, by the monotonic clock."""

    began: float
    ended: float


def unanswered(watch: Watch) -> Watch:
    """Note a look that failed: a bot that had not come to rest starts anew."""
    return watch if watch.missed_since is not None else replace(watch, answered_since=None)


def missed(watch: Watch, look: Look, *, restarted: bool, patience: Patience) -> tuple[Watch, bool]:
    """Note one look that found nothing; tell whether its absence counts now.

    What a slow look read first is as old as its beginning, so the time between two looks is
    counted from the end of one to the beginning of the other.

    Args:
        restarted: the bot says that it was started since the order was sent.
    """
    answered = look.began if watch.answered_since is None else watch.answered_since
    watch = replace(watch, answered_since=answered)
    if not (restarted or look.began - answered >= patience.quiet_s):
        return replace(watch, missed_since=None), False
    if watch.missed_since is None:
        return replace(watch, missed_since=look.ended), patience.cycle_s <= 0
    return watch, look.began - watch.missed_since >= patience.cycle_s
