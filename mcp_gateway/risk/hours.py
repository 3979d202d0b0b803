"""Trading hours: how a person writes them, and what two sets of them have in common. Pure."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from mcp_gateway.risk.policy import DAYS, Hours

_DAY: Final = "|".join(DAYS)
_SPAN: Final = re.compile(
    rf"({_DAY})(?:-({_DAY}))? (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII | re.IGNORECASE
)
A_DAY: Final = 24 * 60  # minutes


def read(text: str) -> tuple[Hours, ...]:
    """Read ``mon-fri 08:00-17:00`` or ``sat 10:00-12:00``, UTC, one span for each of its days.

    Raises:
        ValueError: it is not written so, or reaches over midnight.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError('write it as "mon-fri 08:00-17:00" or "sat 10:00-12:00", in UTC')
    first, last, *times = found.groups()
    begins, ends = _minutes(*times[:2]), _minutes(*times[2:])
    if ends <= begins:
        raise ValueError(
            "it ends before it begins; over midnight write two, "
            'such as "fri 22:00-24:00" and "sat 00:00-06:00"'
        )
    begin = DAYS.index(first.lower())
    count = 1 if last is None else (DAYS.index(last.lower()) - begin) % len(DAYS) + 1
    return tuple(Hours((begin + n) % len(DAYS), begins, ends) for n in range(count))


def _minutes(hour: str, minute: str) -> int:
    told = int(hour) * 60 + int(minute)
    if int(minute) > 59 or told > A_DAY:  # noqa: PLR2004  (minutes of an hour)
        raise ValueError("a time is from 00:00 to 24:00")
    return told


def merged(spans: Iterable[Hours]) -> frozenset[Hours]:
    """Return the same hours in as few spans as there can be."""
    found: list[Hours] = []
    for span in sorted(spans, key=lambda one: (one.day, one.begins)):
        last = found[-1] if found else None
        if last is not None and last.day == span.day and span.begins <= last.ends:
            found[-1] = Hours(last.day, last.begins, max(last.ends, span.ends))
        else:
            found.append(span)
    return frozenset(found)


def common(some: Iterable[Hours], others: Iterable[Hours]) -> frozenset[Hours]:
    """Return the hours that lie in both."""
    rest = tuple(others)
    both = (
        Hours(one.day, max(one.begins, other.begins), min(one.ends, other.ends))
        for one in some
        for other in rest
        if one.day == other.day
    )
    return merged(span for span in both if span.begins < span.ends)


def without(some: Iterable[Hours], others: Iterable[Hours]) -> frozenset[Hours]:
    """Return the hours of ``some`` that lie outside of ``others``."""
    return common(some, _outside(others))


def _outside(spans: Iterable[Hours]) -> Iterator[Hours]:
    by_day = {day: list(one) for day, one in groupby(_sorted(spans), key=lambda one: one.day)}
    for day in range(len(DAYS)):
        begins = 0
        for span in by_day.get(day, ()):
            if begins < span.begins:
                yield Hours(day, begins, span.begins)
            begins = span.ends
        if begins < A_DAY:
            yield Hours(day, begins, A_DAY)


def written(spans: Iterable[Hours]) -> tuple[str, ...]:
    """Return hours as a person writes them, equal days together."""
    days: dict[tuple[int, int], list[int]] = {}
    for span in _sorted(spans):
        days.setdefault((span.begins, span.ends), []).append(span.day)
    return tuple(
        f"{_named(run)} {_time(begins)}-{_time(ends)}"
        for (begins, ends), found in days.items()
        for run in _runs(found)
    )


def _sorted(spans: Iterable[Hours]) -> list[Hours]:
    return sorted(merged(spans), key=lambda one: (one.day, one.begins))


def _runs(days: list[int]) -> Iterator[list[int]]:
    """Yield the days that follow one another together."""
    for _, run in groupby(enumerate(days), key=lambda one: one[1] - one[0]):
        yield [day for _, day in run]


def _named(run: list[int]) -> str:
    return DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}"


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
