"""Somebody has seen an alarm: said to Kafka, from where the job takes it into the alarm's row.

Nothing is remembered here. Whether an alarm is acknowledged already is asked of its row and, since the row follows
seconds later, of the topic: the first to say so stays the one who did.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from dashboards.hub import Hub
from dashboards.tables import Page, read_page
from headwater.acknowledgements import Acknowledgements
from headwater.broker import find_broker
from headwater.contracts.co2 import CO2, Acknowledgement
from headwater.errors import BrokerError, HeadwaterError
from headwater.kafka import client_config
from headwater.ledger import moment
from headwater.settings import Settings

TIMEOUT_SECONDS = 5.0
LONGEST_NAME = 200
ALARMS = CO2.table("alarms")

PRODUCER: dict[str, Any] = {
    "enable.idempotence": True,
    "message.timeout.ms": int(TIMEOUT_SECONDS * 1_000),
    "partitioner": "murmur2_random",  # one partition for a key, whoever writes it: what is compacted stays one row
    "log_level": 2,
}

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME)]

_one_at_a_time = threading.Lock()
"""Two clicks on an alarm: the second finds what the first has said."""


class UnknownAlarmError(HeadwaterError):
    """There is no alarm of this id."""


class Asked(BaseModel):
    """Which alarm, and who has seen it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alarm_id: str
    acknowledged_by: Name = Field(description=f"A name, at most {LONGEST_NAME} characters.")


@dataclass(frozen=True)
class Answer:
    """What stands now; ``is_new``: it hasn't stood before."""

    acknowledgement: Acknowledgement
    is_new: bool


def acknowledge(settings: Settings, hub: Hub, asked: Asked) -> Answer:
    """Returns when Kafka has it, at once where the alarm is acknowledged already. Blocks for up to some seconds.

    Raises :class:`UnknownAlarmError`, and ``BrokerError`` where Kafka can't be reached or doesn't take it.
    """
    with _one_at_a_time:
        row = _row(settings, hub, asked.alarm_id)
        if row is None:
            raise UnknownAlarmError(f"there is no alarm {asked.alarm_id!r}")
        if row.get("acknowledged_at"):
            return Answer(Acknowledgement(**{name: row[name] for name in Acknowledgement.model_fields}), is_new=False)
        client = client_config(settings, find_broker(settings))
        if standing := _standing(client, asked.alarm_id):
            return Answer(standing, is_new=False)
        said = Acknowledgement(
            alarm_id=asked.alarm_id, acknowledged_at=datetime.now(UTC), acknowledged_by=asked.acknowledged_by
        )
        _say(client, said)
        return Answer(said, is_new=True)


def _row(settings: Settings, hub: Hub, alarm_id: str) -> Any:
    """An alarm as the page has it, or else as Delta has it."""
    snapshot = hub.latest
    if snapshot and (row := snapshot.streams[CO2.name].table(ALARMS.name).get(alarm_id)):
        return row
    columns = tuple(Acknowledgement.model_fields)
    rows = read_page(settings.delta(CO2.name, ALARMS.name), Page(columns, ALARMS.key, 1, equal={"alarm_id": alarm_id}))
    return rows[0] if rows else None


def _standing(client: dict[str, str], alarm_id: str) -> Acknowledgement | None:
    """What the topic says of an alarm, if anything."""
    reader = Acknowledgements(CO2, {**client, "log_level": "2"})
    try:
        said = [remark for remark in reader.read() if remark.key["alarm_id"] == alarm_id]
    finally:
        reader.close()
    if not said:
        return None
    at, by = (said[-1].columns[name] for name in ("acknowledged_at", "acknowledged_by"))
    return Acknowledgement(alarm_id=alarm_id, acknowledged_at=moment(at), acknowledged_by=by)


def _say(client: dict[str, str], said: Acknowledgement) -> None:
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    try:
        producer = Producer({**client, **PRODUCER})
        producer.produce(CO2.acknowledged_topic, said.model_dump_json(), said.alarm_id, on_delivery=delivered)
        waiting = producer.flush(2 * TIMEOUT_SECONDS)
    except (KafkaException, BufferError) as error:
        raise BrokerError(f"Kafka doesn't take the acknowledgement: {error}") from error
    if failed or waiting:
        why = failed[0].str() if failed else "no answer"
        raise BrokerError(f"{client['bootstrap.servers']} has not taken the acknowledgement: {why}; try again")
