"""Rows on their way to a processed topic."""

from datetime import UTC, datetime
from decimal import Decimal

from headwater.contracts.sales import SALES
from headwater.kafka import client_config
from headwater.processed import ProcessedTopic
from headwater.settings import Settings


def test_a_name_as_long_as_a_record_may_be_is_taken(settings: Settings) -> None:
    """It stands in the row's key and in its value, and a row that the client refuses would end the job for good."""
    topic = ProcessedTopic(SALES, client_config(settings, "127.0.0.1:1") | {"log_level": "0"}, "archive")
    name = "x" * (settings.kafka.max_message_bytes - 100)
    row = {"product": name, "quantity": 1, "revenue": Decimal("1.0000"), "orders": 1, "returns": 0}
    topic.correct(SALES.table("totals"), row, datetime.now(UTC))
