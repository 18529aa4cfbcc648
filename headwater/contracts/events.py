"""Shop events: what visitors of a shop look at, put into their basket, take out again and buy."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from headwater.contracts.base import Money, Record, Row, Stream, Table, Window

VIEW, ADD, REMOVE, PURCHASE = EVENT_TYPES = ("productview", "addtobasket", "removefrombasket", "purchase")
"""In the order in which a visitor who buys goes through them."""

EventType = Literal["productview", "addtobasket", "removefrombasket", "purchase"]

MAX_QUANTITY = 1_000_000
"""Units in one event; more is a slip of the keyboard."""

MAX_PRICE = Decimal("99999999")
"""A unit's price. With MAX_QUANTITY an event's revenue still fits DECIMAL(18,4)."""


class ShopEvent(Record):
    """One step of a visitor. `price` is a unit's."""

    event_type: EventType
    session_id: str = Field(description="A visit; the key.")
    product_id: str
    user_id: str | None = Field(default=None, description="Missing for a visitor who is not known; ends no session.")
    product_name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Annotated[Money, Field(ge=-MAX_PRICE, le=MAX_PRICE)] | None = Field(
        default=None, description="A unit's price; negative where a shop books a discount as a product."
    )
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)] | None = Field(default=1, description="Units; 1 if missing.")


class TypeCount(Window):
    """Events of a type within a window of event time."""

    event_type: str
    count: int


class ProductFigures(Row):
    """What became of a product, over all time."""

    product_id: str
    views: int
    adds: int
    removes: int
    purchases: int = Field(description="Purchase events; one may be of several units.")
    units: int = Field(description="Units purchased.")
    revenue: Money | None = Field(
        description="Purchases' quantity x price, 0 where no price is known; none where DECIMAL(18,4) can't hold it."
    )
    sessions_viewed: int = Field(description="Sessions that viewed it.")
    sessions_purchased: int = Field(description="Sessions that purchased it.")
    conversion: float | None = Field(
        default=None, description="sessions_purchased / sessions_viewed; none without a view."
    )


class SessionRow(Row):
    """A visit, as far as it went."""

    session_id: str
    first_event: AwareDatetime
    last_event: AwareDatetime
    events: int
    step: int = Field(
        description="1 viewed; 2 then added; 3 then purchased, each at or after the one before, all within 30 minutes "
        "of the view that began the chain; 0 otherwise. The greatest over all its views."
    )
    seconds_to_convert: float | None = Field(
        default=None, description="From the view that began the chain to the purchase; the least. None below step 3."
    )
    basket_units: int = Field(description="Added less removed or purchased, by product, never below 0.")
    basket_value: Money | None = Field(description="Those units at the price last seen in the session, 0 if none was.")
    revenue: Money | None = Field(description="Purchases' quantity x price.")


class AbandonedRow(Row):
    """A basket left behind: 30 minutes went by without an event while there were units in it."""

    session_id: str
    since: AwareDatetime = Field(description="The last event before the silence; of several silences the latest.")
    basket_units: int = Field(description="What was left behind then.")
    basket_value: Money | None
    withdrawn_at: AwareDatetime | None = Field(
        default=None, description="The first purchase after it in the same session; none so far."
    )


EVENTS = Stream(
    name="events",
    raw_topic="events_topic",
    key="session_id",
    record=ShopEvent,
    description="Visits to a shop: views, baskets and purchases, step by step",
    tables=(
        Table("per_window", TypeCount, key=("window_start", "event_type"), description="Events by type in 10 seconds"),
        Table("per_minute", TypeCount, key=("window_start", "event_type"), description="Events by type and minute"),
        Table("by_product", ProductFigures, key=("product_id",), description="A product's funnel, units and revenue"),
        Table(
            "sessions",
            SessionRow,
            key=("session_id",),
            time="last_event",
            description="Visits and how far they went",
        ),
        Table("abandoned", AbandonedRow, key=("session_id",), time="since", description="Baskets left behind"),
    ),
)
