"""Aircraft from OpenSky, recorded or simulated.

`python -m producers.aircraft` asks OpenSky where it can be reached and simulates a sky where it can't.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from headwater.contracts.aircraft import AIRCRAFT
from headwater.errors import run_main
from headwater.settings import load_settings
from producers.aircraft_fleet import next_record, open_fleet
from producers.aircraft_replay import ANSWERS, NAMED
from producers.opensky import SECONDS_FIELDS
from producers.replay import RawRecord
from producers.run import StreamProducer, run


def simulate(seed: int | None) -> Iterator[RawRecord]:
    """Endless reports, each of the time it is asked for."""
    fleet = open_fleet(seed, load_settings().aircraft, datetime.now(UTC))
    while True:
        yield next_record(fleet, datetime.now(UTC))


PRODUCER = StreamProducer(stream=AIRCRAFT, simulate=simulate, formats=(ANSWERS, NAMED), seconds_fields=SECONDS_FIELDS)

if __name__ == "__main__":
    run_main(lambda: run(PRODUCER))
