"""The policy that holds until a change is agreed to: never looser than what it is made of."""

import random
from dataclasses import fields, replace
from functools import cache
from itertools import permutations
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_gateway.risk.changes import Changes, compare, stricter
from mcp_gateway.risk.policy import Policy
from tests.support.policies import World, aspects, policy, some_policy, some_world

pytestmark = pytest.mark.unit

ASPECTS = aspects()
# Of a narrower collar and of who wrote a policy it is not said that they let something through.
NOT_TOLD = {"largest_amount.*/USDT", "largest_amount.BTC/USDT", "written"}
# Of these two nothing is denied: one asks a person, the other says where.
NO_DENIAL = {"approval_above", "agents.approval_above", "asks_client", "agents.asks_client"}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy."""
    return some_policy(lambda options: draw(st.sampled_from(options)))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw an order and a state of things."""
    return some_world(lambda options: draw(st.sampled_from(options)))


@st.composite
def changed(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Draw a policy, and one that is near it or any other."""
    one, other = draw(policies()), draw(policies())
    kept = draw(st.sets(st.sampled_from([field.name for field in fields(Policy)])))
    return one, replace(other, **{name: getattr(one, name) for name in kept})


@cache
def passing_worlds() -> tuple[World, ...]:
    """Return worlds in which the open policy denies nothing, the same in every run."""
    drawn = random.Random(20251122)
    found = (some_world(drawn.choice) for _ in range(400))
    return tuple(one for one in found if not one.denied(policy()))[:36]


@pytest.mark.parametrize("aspect", sorted(ASPECTS))
def test_of_each_thing_alone_what_either_denies_is_denied(aspect: str) -> None:
    """Every value beside every other one, both ways; and there are orders that it matters to."""
    some = ASPECTS[aspect]
    worlds = passing_worlds()
    denied = [[world.denied(one) for world in worlds] for one in some]
    assert any(map(any, denied)) == (aspect not in NO_DENIAL)
    for (old, by_old), (new, by_new) in permutations(zip(some, denied, strict=True), 2):
        held = stricter(old, new)
        loosened = compare(old, new).loosened
        for world, one, other in zip(worlds, by_old, by_new, strict=True):
            if one or other:
                assert world.denied(held), (old, new)
            if one and not other and world.taken is None and aspect not in NOT_TOLD:
                assert loosened, (old, new)


@pytest.mark.parametrize("aspect", ["approval_above", "agents.approval_above"])
def test_whoever_was_asked_about_an_order_is_asked(aspect: str) -> None:
    """Approval is a line like any other."""
    for old, new in permutations(ASPECTS[aspect], 2):
        held = stricter(old, new)
        for world in passing_worlds():
            asked = [world.verdict(one).needs_approval for one in (old, new, held)]
            assert asked[2] == (asked[0] or asked[1])


@settings(max_examples=250, deadline=None)
@given(changed(), worlds())
def test_the_stricter_policy_never_allows_what_either_denies(
    both: tuple[Policy, Policy], world: World
) -> None:
    """Whatever the order and whatever stands: not in the name of a change nobody agreed to."""
    old, new = both
    held = world.verdict(stricter(old, new))
    if held.failed:
        return
    assert not world.denied(old)
    assert not world.denied(new)
    if not held.needs_approval:
        assert not world.verdict(old).needs_approval
        assert not world.verdict(new).needs_approval


@settings(max_examples=60, deadline=None)
@given(changed(), policies(), worlds())
def test_it_stays_so_over_several_changes(
    both: tuple[Policy, Policy], third: Policy, world: World
) -> None:
    """What holds already is what the next file is added to."""
    held = stricter(stricter(*both), third)
    if not world.denied(held):
        assert not any(world.denied(one) for one in (*both, third))


@settings(max_examples=60, deadline=None)
@given(policies())
def test_a_policy_beside_itself_is_itself(one: Policy) -> None:
    """To the hash; and nothing is told."""
    assert stricter(one, one) == one
    assert stricter(one, replace(one)).hash == one.hash
    assert compare(one, one) == Changes()


@settings(max_examples=250, deadline=None)
@given(changed(), worlds())
def test_a_change_that_is_told_as_no_looser_allows_nothing_new(
    both: tuple[Policy, Policy], world: World
) -> None:
    """It takes force at once, so it must not.

    But for what the bot's own past tells once nobody tells the minimum of a pair, for the
    reserve that a narrower collar takes off a largest amount, and for who wrote it.
    """
    old, new = (replace(one, amounts=MappingProxyType({}), written=True) for one in both)
    world = replace(world, taken=None)
    if not compare(old, new).loosened and not world.denied(new):
        assert not world.denied(old)


@settings(max_examples=100, deadline=None)
@given(changed())
def test_what_is_held_back_tells_the_same_and_is_never_looser(both: tuple[Policy, Policy]) -> None:
    """To what holds until a person agrees nothing is loosened, and from there nothing tightened."""
    old, new = both
    held = stricter(old, new)
    assert compare(old, held).loosened == ()
    assert compare(held, new).tightened == ()
    assert stricter(held, new).hash == held.hash
    if compare(old, new).loosened:
        assert compare(held, new).loosened
