"""The texts in the pictures of `shmring plot`: none lies on another, on an axis or outside."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from shmring_plot import charts
from shmring_plot.series import LATE, Series

pytestmark = pytest.mark.check

LONG = "north-hall-of-the-plant/axis-with-a-rather-long-name-that-somebody-chose-{:02}"
SHORT = "c{}"


def drawn_texts(figure, monkeypatch):
    """The texts that are on the picture, with their boxes, and the boxes of the axes."""
    found = []
    draw = Text.draw

    def drawing(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_window_extent(renderer)))
        return draw(self, renderer, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Text, "draw", drawing)
        FigureCanvasAgg(figure).draw()
    assert found
    axes = [one.get_window_extent() for one in figure.get_axes() if one.axison]
    return found, axes


def overlap(one, other):
    """How many pixels two boxes share, in the direction in which they share less."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return min(width, height)


def faults(figure, monkeypatch, slack=2.0):
    texts, axes = drawn_texts(figure, monkeypatch)
    whole = figure.bbox
    for text, box in texts:
        if min(box.x0, box.y0, whole.x1 - box.x1, whole.y1 - box.y1) < -1:
            yield f"outside: {text!r} {box.extents.round()} of {whole.extents}"
        for frame in axes:
            inside = min(box.x0 - frame.x0, box.y0 - frame.y0, frame.x1 - box.x1, frame.y1 - box.y1)
            if overlap(box, frame) > slack and inside < -slack:
                yield f"across an axis: {text!r} {box.extents.round()} {frame.extents.round()}"
    for (text, box), (other, its) in combinations(texts, 2):
        if overlap(box, its) > slack:
            yield f"overlap: {text!r} and {other!r}"


def made(maker, count, name, **changes):
    """Channels of one recording, each with another lateness."""
    header = maker.header(**changes)
    return [
        Series(name.format(i), header, maker.rows(8, 20, median_ns=300 * 2 ** (i % 12), seed=i))
        for i in range(count)
    ]


KINDS = {"time": "time_chart", "hist": "hist_chart", "cdf": "cdf_chart", "all": "sheet"}


@pytest.mark.parametrize(
    ("kind", "count", "name"),
    [
        *((kind, *few) for kind in KINDS for few in ((1, SHORT), (6, LONG))),
        *((kind, 24, LONG) for kind in ("hist", "all")),
    ],
    ids=lambda value: value[:4] if isinstance(value, str) else value,
)
def test_no_text_lies_on_another(maker, monkeypatch, kind, count, name):
    figure = getattr(charts, KINDS[kind])(made(maker, count, name), 99)
    assert not list(faults(figure, monkeypatch))


@pytest.mark.parametrize("name", [SHORT, LONG], ids=["short", "long"])
def test_no_text_lies_on_another_in_a_comparison(maker, monkeypatch, name):
    host = "a-host-with-a-long-name.in-the-north-hall.plant.example"
    before, after = (made(maker, 2, name, host=host)[i] for i in range(2))
    figure = charts.compare_chart(before, after)
    assert not list(faults(figure, monkeypatch))


CLOSE, FAR = [100, 110, 120, 130], [5, 50, 500, 5000, 50_000]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        *((kind, values) for kind in KINDS for values in (CLOSE, FAR)),
        *(("all", values) for values in ([0], [7] * 1000, [10**11], [0, 10**11])),
    ],
    ids=str,
)
def test_values_close_together_and_far_apart_keep_their_labels_apart(
    maker, tmp_path, monkeypatch, kind, values
):
    one = Series("ctl", maker.header(), [maker.row(i, values) for i in range(3)])
    figure = getattr(charts, KINDS[kind])([one], 1)
    assert not list(faults(figure, monkeypatch))


@pytest.mark.parametrize("seconds", [1, 3, 86_400])
def test_times_keep_apart(maker, monkeypatch, seconds):
    rows = [
        maker.row(second, [100] * 9, late=1, worker_epoch=1 + second)
        for second in range(0, seconds, max(1, seconds // 400))
    ]
    figure = charts.time_chart([Series("ctl", maker.header(), rows)], 1)
    assert not list(faults(figure, monkeypatch))


def test_all_late_verdicts_have_room(maker, monkeypatch):
    late = dict.fromkeys(LATE, 123_456)
    rows = [dataclasses.replace(maker.row(second, [100] * 9), **late) for second in range(9)]
    figure = charts.time_chart([Series("ctl", maker.header(), rows)], 1)
    assert not list(faults(figure, monkeypatch))
