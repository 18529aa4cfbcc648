"""Sales: what was sold, by product, minute, category and country.

    sales_topic_electronics -> parse, check -> live topic, rejected topic
                                            -> sums and order counts -> processed topic (provisional)
                                            -> records, rejected, the tables below, a CSV a day

Run it with ``spark-submit jobs/sales.py [--once] [--queries live,aggregate,archive]``.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from headwater.contracts.sales import DAILY_TOTALS, SALES
from headwater.jobs import StreamJob, main
from headwater.views import View


def product() -> Column:
    """What was sold."""
    return F.col("product")


def quantity() -> Column:
    """Units sold, net of returns."""
    return F.col("quantity")


def revenue() -> Column:
    """What a line brought in; negative for a return."""
    return F.col("quantity") * F.col("price")


def returned() -> Column:
    """Units that a line brought back."""
    return F.greatest(-F.col("quantity"), F.lit(0))


def order() -> Column:
    """The order that a line belongs to; a return is none."""
    return F.when(F.col("quantity") > 0, F.coalesce("order_id", "event_id"))


def or_unknown(name: str) -> Column:
    """A group for the records that leave it open."""
    return F.coalesce(name, F.lit("unknown"))


FIGURES = {"quantity": quantity, "revenue": revenue, "returns": returned}
MINUTE_FIGURES = {"units": quantity, "revenue": revenue}
ORDERS = {"orders": order}
AVERAGE = {"average_order_value": ("revenue", "orders")}

VIEWS = (
    View(SALES.table("totals"), keys={"product": product}, sums=FIGURES, distinct=ORDERS),
    View(SALES.table("per_minute"), window="1 minute", keys={}, sums=MINUTE_FIGURES, distinct=ORDERS, ratios=AVERAGE),
    View(
        SALES.table("per_minute_category"),
        window="1 minute",
        keys={"category": lambda: or_unknown("category")},
        sums=MINUTE_FIGURES,
        distinct=ORDERS,
        ratios=AVERAGE,
    ),
    View(SALES.table("by_country"), keys={"country": lambda: or_unknown("country")}, sums=FIGURES, distinct=ORDERS),
)

DAILY = View(
    DAILY_TOTALS,
    keys={"date": lambda: F.date_format("event_time", "yyyy-MM-dd"), "product": product},
    sums=FIGURES,
    distinct=ORDERS,
)

JOB = StreamJob(stream=SALES, views=VIEWS, daily_csv=DAILY)

if __name__ == "__main__":
    main([JOB])
