"""Sales of an electronics shop: a line of an order is a record."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from headwater.contracts.base import Money, NonZeroInt, Record, Row, Stream, Table, Window

MAX_QUANTITY = 1_000_000
"""Units in one line. The UCI shop sold 80,995 in one; beyond a million it is a slip of the keyboard."""

REVENUE = "Sum of quantity x price, net of returns; none where DECIMAL(18,4) can't hold it."

MAX_PRICE = Decimal("99999999")
"""A unit's price. With MAX_QUANTITY a line's revenue still fits DECIMAL(18,4)."""


class Sale(Record):
    """One line of an order; a negative quantity is a return."""

    product: str = Field(description="What was sold; the key.")
    quantity: Annotated[NonZeroInt, Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY, description="Units; negative: a return.")]
    price: Annotated[Money, Field(ge=0, le=MAX_PRICE, description="A unit's price.")]
    product_id: str | None = None
    order_id: str | None = Field(default=None, description="The lines of one order share it.")
    category: str | None = None
    store: str | None = None
    country: str | None = None
    customer_id: str | None = None
    currency: str | None = None


class Figures(Row):
    """What is counted of a product or a country."""

    quantity: int = Field(description="Units, net of returns.")
    revenue: Money | None = Field(description=REVENUE)
    orders: int = Field(description="Distinct order_id (event_id where missing) with a positive quantity.")
    returns: int = Field(description="Units returned.")


class ProductTotal(Figures):
    """Totals of a product, over all time."""

    product: str


class DailyTotal(ProductTotal):
    """Totals of a product on a day of event time (UTC), as the CSV files have them."""

    date: str = Field(description="2010-12-01")


class CountryTotal(Figures):
    """Totals of a country, over all time."""

    country: str = Field(description="`unknown` where the records name none.")


class Minute(Window):
    """Sales within a minute of event time."""

    orders: int = Field(description="Distinct order_id (event_id where missing) with a positive quantity.")
    units: int = Field(description="Units, net of returns.")
    revenue: Money | None = Field(description=REVENUE)
    average_order_value: Money | None = Field(default=None, description="revenue / orders; none without an order.")


class CategoryMinute(Minute):
    """Sales of a category within a minute of event time."""

    category: str = Field(description="`unknown` where the records name none.")


SALES = Stream(
    name="sales",
    raw_topic="sales_topic_electronics",
    key="product",
    record=Sale,
    description="Sales of an electronics shop, line by line",
    tables=(
        Table("totals", ProductTotal, key=("product",), description="A product's totals"),
        Table("per_minute", Minute, key=("window_start",), description="Sales by minute"),
        Table(
            "per_minute_category",
            CategoryMinute,
            key=("window_start", "category"),
            description="Sales by minute and category",
        ),
        Table("by_country", CountryTotal, key=("country",), description="A country's totals"),
    ),
)

DAILY_TOTALS = Table("daily_totals", DailyTotal, key=("date", "product"), description="A product's totals by day")
"""Kept as one CSV file a day, not as a Delta table."""
