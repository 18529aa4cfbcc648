"""What the page about events shows: literal rows in, figures and cells out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboards import text
from dashboards.figures.events import counts, funnel, trending
from dashboards.figures.theme import DARK, LIGHT
from dashboards.pages import events
from dashboards.push import View
from dashboards.state import FeedState, Health, Link, Message, Snapshot
from dashboards.visits import Funnel, Period, Product, Rising, VisitTracker
from headwater.contracts import STREAMS
from tests.events_messages import Visitors
from tests.sales_messages import Produced, encode

NOW = datetime(2026, 11, 22, 6, 10, tzinfo=UTC)
TEN = timedelta(seconds=10)
VIEW, ADD, BUY = "productview", "addtobasket", "purchase"


def window(second: int, kind: str, count: int) -> tuple[str, dict[str, Any]]:
    start = (NOW + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
    return f"{start}|{kind}", {"window_start": start, "event_type": kind, "count": count}


def words(component: Any) -> str:
    """All text of a component, in order."""
    if isinstance(component, list | tuple):
        return " ".join(filter(None, map(words, component)))
    if hasattr(component, "to_plotly_json"):
        return words(component.to_plotly_json()["props"].get("children"))
    return "" if component is None else " ".join(str(component).split())


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_no_counts_say_what_to_do(theme: Any) -> None:
    figure = counts({}, TEN, 15, (), theme, NOW)
    assert not figure.data
    assert "make run-producers STREAMS=events" in figure.layout.annotations[0].text


def test_windows_without_a_row_are_zero_and_the_open_one_is_dotted() -> None:
    rows = dict([window(0, VIEW, 5), window(30, VIEW, 7), window(10, BUY, 1)])
    figure = counts(rows, TEN, 15, (), LIGHT, NOW)
    assert [trace.name for trace in figure.data[::2]] == ["Views", "Adds", "Removals", "Purchases"]
    done, unfinished = figure.data[0], figure.data[1]
    assert list(done.y) == [5, 0, 0]
    assert list(unfinished.y) == [0, 7]
    assert unfinished.line.dash == "dot"
    assert list(figure.data[2].y) == [0, 0, 0]
    assert list(figure.data[6].y) == [0, 1, 0]
    assert "Views per 10 s" in [annotation.text for annotation in figure.layout.annotations]


def test_only_the_types_asked_for_over_the_same_time() -> None:
    figure = counts(dict([window(0, BUY, 5), window(30, VIEW, 7)]), TEN, 15, (BUY,), LIGHT, NOW)
    assert [trace.name for trace in figure.data] == ["Purchases", "Purchases"]
    assert list(figure.data[1].y) == [0, 0]
    assert len(figure.data[0].y) == 3


def test_the_range_counts_back_from_the_newest_window() -> None:
    figure = counts(dict(window(10 * i, VIEW, i) for i in range(60)), TEN, 5, (), LIGHT, NOW + timedelta(hours=1))
    assert figure.data[0].x[0] == NOW + timedelta(seconds=300)
    assert list(figure.data[0].y) == list(range(30, 59))
    minutes = counts(dict([window(0, VIEW, 1)]), timedelta(minutes=1), 60, (), LIGHT, NOW)
    assert "Views per minute" in [annotation.text for annotation in minutes.layout.annotations]


def test_a_window_of_tomorrow_does_not_empty_the_figure() -> None:
    rows = dict([window(0, VIEW, 5), window(86_000, VIEW, 1)])
    figure = counts(rows, TEN, 15, (), LIGHT, NOW)
    assert list(figure.data[0].y) == [5]


def test_the_funnel_by_hand() -> None:
    shown = words(funnel(Period(Funnel(sessions=12, viewed=10, added=4, purchased=1), median_seconds=150.0)))
    assert shown.startswith(
        "Viewed 10 Added 40.0 % of those who viewed 4 Purchased 25.0 % of those who added 1 "
        "10.0 % of the visits with a view ended in a purchase."
    )
    assert "Median time from view to purchase: 2 min." in shown
    assert "2 visits without a view not counted." in shown


def test_a_funnel_of_nothing() -> None:
    assert "No visits yet" in words(funnel(Period()))
    shown = words(funnel(Period(Funnel(sessions=1))))
    assert "- of the visits with a view" in shown
    assert "1 visit without a view" in shown


def test_trending_by_hand() -> None:
    known = {"p1": Product("Lamp", "Home", None)}
    rows = [Rising("p1", 60, 30), Rising("p2", 4, 0), Rising("p3", 2, None)]
    shown = words(trending(rows, lambda name: known.get(name, Product(None, None, None))))
    assert "Lamp Home 60 30 ▲ 30 2.0 times p2 4 0 ▲ 4 new p3 2 - -" in shown
    assert "No product" in words(trending([], known.__getitem__))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.points(0.0123), "▲ 1.2 points"),
        (text.points(-0.1), "▼ 10.0 points"),
        (text.points(0.0), "= 0.0 points"),
        (text.points(None), "-"),
        (text.share(0.0456), "4.6 %"),
        (text.share(None), "-"),
    ],
)
def test_shares_as_a_person_reads_them(shown: str, expected: str) -> None:
    assert shown == expected


# --- the page's parts, over a feed of literal messages ---


def snapshot_of(*produced: Produced, at: datetime = NOW) -> Snapshot:
    feed = FeedState(STREAMS, trackers={"events": VisitTracker()})
    feed.link = Link(Health.LIVE)
    for number, message in enumerate(produced):
        topic, key, value = encode(message)
        feed.apply(Message(topic, 0, number, key, value, at.timestamp()))
    return feed.snapshot(at.timestamp())


def shop(at: datetime = NOW) -> list[Produced]:
    """Two visits: one buys a lamp (2 x 30), one leaves a radio in the basket half an hour earlier."""
    visitors = Visitors()
    earlier, lamp = at - timedelta(minutes=40), {"product_name": "Lamp", "category": "Home", "price": "30.0000"}
    return [
        visitors.event(earlier, VIEW, "leaves", "radio"),
        visitors.event(earlier, ADD, "leaves", "radio", quantity=3),
        visitors.event(at - timedelta(seconds=50), VIEW, "buys", "lamp", **lamp),
        visitors.event(at - timedelta(seconds=40), ADD, "buys", "lamp", **lamp),
        visitors.event(at - timedelta(seconds=30), BUY, "buys", "lamp", **lamp, quantity=2),
        *visitors.processed(at),
    ]


@pytest.mark.parametrize("produced", [[], shop()])
def test_every_part_can_be_built_and_sent(produced: list[Produced]) -> None:
    seen = snapshot_of(*produced)
    for part in events.parts():
        PlotlyJSONEncoder().encode(part.build(seen, View("/events")))


def test_tiles_by_hand() -> None:
    shown = [words(tile) for tile in events.tiles(snapshot_of(*shop()), View("/events", minutes=15))]
    assert shown == [
        "Events a second, last 15 min 0.0/s no earlier period to compare",
        "Active visits, last 5 min 1 no earlier period to compare",
        "Conversion, last 15 min 100.0 % no earlier period to compare",
        "Revenue, last 15 min 60.00 no earlier period to compare",
    ]


def test_products_with_names_from_the_live_records() -> None:
    rows = events.product_rows(snapshot_of(*shop()), View("/events"))
    assert [(row["product"], row["category"], row["revenue"], row["conversion"]) for row in rows] == [
        ("Lamp", "Home", 60.0, 1.0),
        ("Product radio", "Audio", 0.0, 0.0),
    ]
    of_home = events.product_rows(snapshot_of(*shop()), View("/events", filters={"category": "Home"}))
    assert [row["product_id"] for row in of_home] == ["lamp"]


def test_the_live_feed_goes_by_both_filters() -> None:
    seen = snapshot_of(*shop())

    def types(**filters: str) -> list[str]:
        return [row["type"] for row in events.live_rows(seen, View("/events", filters=filters))]

    assert types() == [BUY, ADD, VIEW, ADD, VIEW]
    assert sorted(types(types=f"{BUY},{VIEW}")) == [VIEW, VIEW, BUY]
    assert types(types=BUY, category="Audio") == []
    assert sorted(types(category="Audio")) == [ADD, VIEW]
    assert events.filtered(
        ("types", "category"), seen, View("/events", filters={"types": BUY, "category": "Home"})
    ) == ("only purchases, Home")
    assert events.filtered(("category",), seen, View("/events", filters={"types": BUY})) == ""


def test_baskets_as_they_lie_there() -> None:
    seen = snapshot_of(*shop())
    assert events.basket_rows(seen, View("/events")) == [
        {"session": "leaves", "since": "05:30:00", "units": 3, "value": 30.0, "withdrawn": "open"}
    ]
    assert events.open_baskets(seen, View("/events")) == "1 open · 30.00"


def test_a_view_keeps_only_filters_of_text() -> None:
    view = View.of({"path": "/events", "filters": {"types": "a,b", "category": ""}})
    assert view is not None
    assert (view.chosen("types"), view.chosen("category"), view.chosen("none")) == (("a", "b"), (), ())
    for wrong in ({"types": 1}, ["types"], "types", None):
        assert View.of({"path": "/events", "filters": wrong}) == View("/events")


def test_the_archive_s_rows_of_what_the_tracker_works_out_are_not_kept() -> None:
    seen = snapshot_of(("processed_events_topic", "sessions:s1", {"kind": "sessions", "session_id": "s1"}), *shop())
    assert set(seen.streams["events"].tables) == {"per_window", "per_minute", "by_product"}
    assert Decimal(seen.streams["events"].table("by_product")["lamp"]["revenue"]) == 60
