"""JSON that can be wrong: trees with doubled keys and literals that no JSON library writes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass
class Raw:
    """Text that is written as it is, where a value belongs."""

    text: str


@dataclass
class Pairs:
    """An object whose keys may repeat."""

    items: list[tuple[str, Any]]

    @property
    def keys(self) -> list[str]:
        """Its keys, in their order."""
        return [key for key, _ in self.items]


Place = tuple[Pairs | list[Any], int]


def tree(value: Any) -> Any:
    """Return a JSON value as a tree that can be bent."""
    if isinstance(value, dict):
        return Pairs([(key, tree(one)) for key, one in value.items()])
    return [tree(one) for one in value] if isinstance(value, list) else value


def places(node: Any) -> Iterator[Place]:
    """Yield every place that holds a value, as its container and the index there."""
    if isinstance(node, Pairs):
        for index, (_, value) in enumerate(node.items):
            yield node, index
            yield from places(value)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield node, index
            yield from places(value)


def at(place: Place) -> Any:
    """Return what stands at a place."""
    container, index = place
    return container.items[index][1] if isinstance(container, Pairs) else container[index]


def put(place: Place, value: Any) -> None:
    """Lay another value at a place."""
    container, index = place
    if isinstance(container, Pairs):
        container.items[index] = (container.items[index][0], value)
    else:
        container[index] = value


def written(node: Any, rng: Random) -> str:
    """Return a tree as text; now and then with odd, legal white space and escapes."""
    space = rng.choice(("", "", "", " ", "\n", "\r\n\t"))
    if isinstance(node, Raw):
        return node.text
    if isinstance(node, Pairs):
        inner = ",".join(f"{_text(key, rng)}:{space}{written(one, rng)}" for key, one in node.items)
        return f"{{{space}{inner}}}"
    if isinstance(node, list):
        return f"[{','.join(written(one, rng) for one in node)}]"
    if isinstance(node, str):
        return _text(node, rng)
    return json.dumps(node)


def _text(value: str, rng: Random) -> str:
    if rng.random() < 0.02:
        return '"' + "".join(f"\\u{ord(one):04x}" if one < "\uffff" else one for one in value) + '"'
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)
