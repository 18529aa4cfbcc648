"""Aircraft from OpenSky, recorded or simulated.

`python -m producers.aircraft` asks OpenSky where it can be reached and simulates a sky where it can't.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from headwater.contracts.aircraft import AIRCRAFT, REPLAY, SIMULATE, STATUS_KEY, ProducerStatus
from headwater.errors import run_main
from headwater.settings import Settings, load_settings
from producers.aircraft_fleet import next_record, open_fleet
from producers.aircraft_replay import ANSWERS, NAMED
from producers.opensky import SECONDS_FIELDS
from producers.opensky_client import Client
from producers.opensky_live import OpenSky
from producers.replay import RawRecord
from producers.run import LiveSource, Options, StreamProducer, run


def simulate(seed: int | None) -> Iterator[RawRecord]:
    """Endless reports, each of the time it is asked for."""
    fleet = open_fleet(seed, load_settings().aircraft, datetime.now(UTC))
    while True:
        yield next_record(fleet, datetime.now(UTC))


class OpenSkyLive:
    """OpenSky as the live side of the stream."""

    status_key = STATUS_KEY

    def obstacle(self, settings: Settings) -> str | None:
        return Client(settings.opensky).obstacle()

    def connect(self, settings: Settings) -> OpenSky:
        return OpenSky(settings.opensky)

    def status(self, options: Options, sent: int, source: LiveSource | None) -> ProducerStatus:
        if isinstance(source, OpenSky):
            return source.status(options.reason)
        name = REPLAY if options.source == REPLAY else SIMULATE
        return ProducerStatus(source=name, reason=options.reason, received=sent, sent=sent, at=datetime.now(UTC))


PRODUCER = StreamProducer(
    stream=AIRCRAFT,
    simulate=simulate,
    formats=(ANSWERS, NAMED),
    seconds_fields=SECONDS_FIELDS,
    live=OpenSkyLive(),
)

if __name__ == "__main__":
    run_main(lambda: run(PRODUCER))
