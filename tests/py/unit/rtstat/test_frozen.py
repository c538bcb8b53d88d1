"""rtstat.frozen: records that are what dataclasses would be."""

from __future__ import annotations

import pytest

from rtstat.frozen import Frozen


class Point(Frozen):
    x: int
    y: int


class Named(Point):
    """A field more than its base."""

    name: str

    @property
    def shown(self) -> str:
        return f"{self.name} at {self.x}"


def test_fields_come_in_order_by_place_or_by_name():
    assert Point.names == ("x", "y")
    assert Named.names == ("x", "y", "name")
    for made in (Named(1, 2, "a"), Named(1, name="a", y=2), Named(name="a", x=1, y=2)):
        assert (made.x, made.y, made.name, made.shown) == (1, 2, "a", "a at 1")
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1,), {}), ((1, 2, 3), {}), ((1, 2), {"x": 1}), ((1,), {"z": 2}), ((1,), {"x": 2})],
)
def test_each_field_is_given_once(values, named):
    with pytest.raises(TypeError, match="Point needs each of x, y once"):
        Point(*values, **named)


def test_nothing_can_be_changed():
    point = Point(1, 2)
    with pytest.raises(AttributeError, match=r"Point\.x cannot be changed"):
        point.x = 2
    with pytest.raises(AttributeError, match=r"Point\.x cannot be deleted"):
        del point.x
    assert point.x == 1
