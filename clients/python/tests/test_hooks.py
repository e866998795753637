"""Hooks around handlers and on errors, and arguments that become classes."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from tempest import WireError, typed


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Item:
    name: str
    price: float
    count: int = 1


@dataclass
class Order:
    items: list[Item]
    size: Size
    note: str | None = None
    by: dict[str, Item] = field(default_factory=dict)
    paid: bool = False
    day: datetime.date | None = None
    kind: Literal["new", "old"] = "new"
    place: tuple[int, str] | None = None
    free: Any = None

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError("an order has an item")


APPLE: dict[str, Any] = {"name": "apple", "price": 1}
ORDER: dict[str, Any] = {"items": [APPLE], "size": "s"}


def test_a_map_becomes_a_dataclass_as_deep_as_it_goes() -> None:
    more = {"by": {"a": APPLE}, "day": "2026-02-03", "place": [1, "x"], "free": [{}], "note": "n", "paid": True}
    made = typed.made(Order, ORDER | more)
    apple = Item("apple", 1.0)
    day = datetime.date(2026, 2, 3)
    assert made == Order([apple], Size.SMALL, "n", {"a": apple}, True, day, "new", (1, "x"), [{}])
    assert type(made.items[0].price) is float


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": {}}, "args.items is a list, not {}"),
        ({"items": [APPLE, {"name": "b"}]}, "args.items.1.price is missing"),
        ({"items": [APPLE | {"count": "2"}]}, "args.items.0.count is an integer, not '2'"),
        ({"items": [APPLE | {"count": True}]}, "args.items.0.count is an integer, not True"),
        ({"items": [APPLE | {"price": None}]}, "args.items.0.price is a number, not None"),
        ({"size": "xl"}, "args.size is a Size, not 'xl'"),
        ({"by": []}, "args.by is a map, not []"),
        ({"day": "soon"}, "args.day is a date, not 'soon'"),
        ({"kind": "odd"}, "args.kind is one of 'new', 'old', not 'odd'"),
        ({"place": [1]}, "args.place is a list of 2, not [1]"),
        ({"color": 1}, "args has a field 'color' that Order does not know"),
        ({"items": []}, "args: an order has an item"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(WireError) as caught:
        typed.made(Order, ORDER | change)
    assert (caught.value.code, caught.value.detail) == ("bad_job", said)


def test_what_is_no_map_does_not_fit() -> None:
    with pytest.raises(WireError, match="args is a map, not 7"):
        typed.made(Order, 7)


class Model:
    """As pydantic has it, without pydantic."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if value == "plain":
            raise ValueError("it is plain")
        if value == "listed":
            raise _Listed()
        return cls(value)


class _Listed(ValueError):
    def errors(self) -> list[dict[str, Any]]:
        return [{"loc": ("to", 0), "msg": "Input should be a string"}]


def test_a_model_makes_itself() -> None:
    assert typed.made(Model, {"a": 1}).value == {"a": 1}
    for value, said in (("plain", "args: it is plain"), ("listed", "args.to.0: Input should be a string")):
        with pytest.raises(WireError) as caught:
            typed.made(Model, value)
        assert caught.value.detail == said


def test_only_classes_that_say_what_they_are_made_of_are_made() -> None:
    def one(args: Order) -> None: ...
    def two(args: dict[str, int]) -> None: ...
    def three(args: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def four(args: Model) -> None: ...

    found = [typed.kind_of(function, "args") for function in (one, two, three, four)]
    assert found == [Order, None, None, Model]
