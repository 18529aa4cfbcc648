"""The simulated meters: what they emit follows from hour, season and fuel, and they fail as meters do."""

import itertools
import math
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from headwater.contracts.co2 import Reading
from headwater.settings import Co2Settings, load_settings
from producers import co2, pacing, run
from producers.co2_sources import sources
from producers.delivery import encode

MORNING = datetime(2026, 5, 4, 6, 30, tzinfo=UTC)  # a Monday
DEFAULTS = load_settings({}).co2
EVERY_S = DEFAULTS.sources / DEFAULTS.rate


def park_of(number: int = 25, seed: int | None = 1) -> co2.Park:
    return co2.open_park(seed, Co2Settings(sources=number), MORNING)


def happen(park: co2.Park, seconds: float, every_s: float = EVERY_S) -> list[dict]:
    """What reaches us from MORNING on, where each source reports every so often."""
    rate = len(park.meters) / every_s
    return [co2.next_record(park, MORNING + timedelta(seconds=n / rate)) for n in range(1, int(seconds * rate) + 1)]


def by_source(records: list[dict]) -> dict[str, list[dict]]:
    """Each source's records, in the order in which they were made, without repeats."""
    found = defaultdict(dict)
    for record in records:
        found[record["source_id"]].setdefault(record["event_id"], record)
    return {
        source: sorted(own.values(), key=lambda record: int(record["event_id"].rsplit(".")[-1]))
        for source, own in found.items()
    }


def rate(record: dict) -> float:
    return record["emission_kg"] / record["interval_s"] * 3600


def is_above(record: dict) -> bool:
    return rate(record) > DEFAULTS.limits_kg_h.get(record["source_id"], math.inf)


def alarms(records: list[dict]) -> dict[str, list[list[dict]]]:
    """The runs of three and more records above the limits of the settings, by source."""
    found = {}
    for source, own in by_source(records).items():
        runs = [list(part) for above, part in itertools.groupby(own, is_above) if above]
        if over := [part for part in runs if len(part) >= 3]:
            found[source] = over
    return found


@pytest.fixture(scope="module")
def demo() -> list[dict]:
    """The first quarter of an hour of the default 25 sources."""
    return happen(park_of(), 900)


@pytest.fixture(scope="module")
def fortnight() -> list[dict]:
    past = co2.history(DEFAULTS, MORNING)
    return [{**record, "event_id": f"{record['event_id']}.{n}"} for n, record in enumerate(past)]


@pytest.fixture
def calm(monkeypatch):
    """Nothing goes wrong."""
    for name in ("REPEATED_SHARE", "LATE_SHARE"):
        monkeypatch.setattr(co2, name, 0)
    monkeypatch.setattr(co2, "OPENINGS", {})
    monkeypatch.setattr(co2, "FAULT_EVERY", 1e12)


# --- records -------------------------------------------------------------------------------------------------------


def test_every_record_keeps_the_contract(demo, fortnight):
    for record in (*demo, *fortnight[::7]):
        reading = Reading.model_validate_json(encode(record))

        assert reading.event_time == record["event_time"]
        assert {name for name, value in reading.model_dump().items() if value is None} <= {"energy_mwh"}
        assert (reading.energy_mwh is not None) == (reading.sector in ("power", "buildings"))


def test_intervals_follow_one_another_without_a_gap(calm):
    for own in by_source(happen(park_of(), 600)).values():
        assert own[0]["event_time"] - timedelta(seconds=own[0]["interval_s"]) == MORNING
        for a, b in itertools.pairwise(own):
            assert b["event_time"] - a["event_time"] == timedelta(seconds=b["interval_s"])
        elapsed = own[-1]["event_time"] - MORNING
        assert sum(r["interval_s"] for r in own) == pytest.approx(elapsed.total_seconds(), abs=1e-6)


def test_five_hundred_sources_report_each_second(calm):
    records = happen(park_of(500), 20, every_s=1)

    assert Counter(Counter(r["source_id"] for r in records).values()) == {20: 500}
    assert {r["interval_s"] for r in records[1_000:]} == {1.0}
    assert len({r["event_id"] for r in records}) == len(records)


def test_without_a_pace_time_goes_faster_and_intervals_stay_long_enough():
    park = park_of(5)
    records = [co2.next_record(park, MORNING) for _ in range(1_000)]

    assert min(r["interval_s"] for r in records) >= 0.01


# --- what they emit ------------------------------------------------------------------------------------------------


def source_of(source_id: str):
    return next(source for source in sources(25) if source.source_id == source_id)


@pytest.mark.parametrize(
    ("source_id", "kg_h"),
    [
        ("blackwater-unit-1", 350 / 0.41 * 3.6 * 94.6),
        ("stonebridge-unit-1", 400 / 0.57 * 3.6 * 56.1),
        ("oakwick-kiln-1", 110 * 3.6 * 94.6 + 110 * 3.6 / 3.5 * 525),  # fuel, and the limestone of 113 t of clinker
        ("wooddale-ferry-1", 42 * 3.6 * 77.4),
    ],
)
def test_full_load_emits_what_its_fuel_does(source_id, kg_h):
    assert source_of(source_id).full_kg_h == pytest.approx(kg_h)


def test_load_follows_hour_day_and_season():
    def emits(source_id: str, month: int, day: int, hour: int) -> float:
        """At a time in UTC, of 2026."""
        source = source_of(source_id)
        return source.kg_h(source.load(datetime(2026, month, day, hour, tzinfo=UTC).timestamp()))

    # Monday, 11 May, in Rotterdam's time: rush hour, night; then Sunday.
    rush, night, sunday = (emits("hartstead-trucks-1", 5, *at) for at in ((11, 5), (11, 0), (10, 5)))
    assert rush > 10 * night
    assert sunday < 0.3 * rush
    january, july = (emits("clayness-boiler-1", month, 15, 6) for month in (1, 7))
    assert january > 6 * july
    evening, small_hours = (emits("stonebridge-unit-1", 1, 14, hour) for hour in (17, 3))
    assert evening > 1.5 * small_hours
    assert [emits("redfield-turbine-1", 1, 14, hour) > 0 for hour in (3, 17)] == [False, True]  # only at the peak
    kiln = [emits("oakwick-kiln-1", 5, day, hour) for day in range(4, 11) for hour in range(24)]
    assert max(kiln) < 1.05 * min(kiln)


def test_load_never_jumps():
    for source in sources(25):
        week = [source.load(MORNING.timestamp() + minute * 60) for minute in range(0, 7 * 1440, 5)]
        assert all(abs(b - a) < 0.06 for a, b in itertools.pairwise(week))
        assert max(week) <= 1


def test_intensity_depends_on_fuel_and_load(fortnight):
    calm = [r for r in fortnight if r["method"] == "measured" and r["sector"] == "power" and not is_above(r)]

    def mean(fuel: str) -> float:
        own = [r for r in calm if r["fuel"] == fuel]
        return sum(r["emission_kg"] for r in own) / sum(r["energy_mwh"] for r in own)

    assert 350 < mean("natural gas") < 450
    assert 820 < mean("hard coal") < 950
    assert 900 < mean("lignite") < 1_000


# --- the past ------------------------------------------------------------------------------------------------------


def test_the_past_is_whole_hours_oldest_first(fortnight):
    assert len(fortnight) == 25 * 336 == co2.backlog(load_settings({}))
    assert len({r["event_id"].rsplit(".", 1)[0] for r in fortnight}) == len(fortnight)
    assert [r["event_time"] for r in fortnight] == sorted(r["event_time"] for r in fortnight)
    ends = [r["event_time"] for r in fortnight if r["source_id"] == "ashford-unit-1"]
    first = datetime(2026, 4, 20, 6, 59, 59, tzinfo=UTC)
    assert ends == [first + timedelta(hours=n) for n in range(336)]
    assert {r["interval_s"] for r in fortnight} == {3600.0}


def test_a_restart_sends_the_same_past_and_live_records_follow_it_once(monkeypatch, tmp_path):
    for name, value in {"HOME": str(tmp_path), "CO2_SOURCES": "3", "CO2_HISTORY_DAYS": "1"}.items():
        monkeypatch.setenv(f"HEADWATER_{name}", value)
    begin = datetime.now(UTC)

    first = list(itertools.islice(co2.simulate(None), 72 + 3))
    again = list(itertools.islice(co2.simulate(7), 72 + 3))

    assert again[:72] == first[:72]
    for live, past in zip(first[72:], first[69:72], strict=True):
        assert live["event_time"] - timedelta(seconds=live["interval_s"]) == past["event_time"]
    for live in again[72:]:  # nobody looked in between
        assert live["event_time"] - timedelta(seconds=live["interval_s"]) >= begin
    assert [r["event_id"] for r in again[72:]] == [f"seed7-{source.source_id}.1" for source in sources(3)]


def test_history_goes_out_at_once_and_counts():
    settings = load_settings({"HEADWATER_CO2_SOURCES": "2", "HEADWATER_CO2_HISTORY_DAYS": "1"})
    feed = run.feed_of(co2.PRODUCER, run.parse(co2.PRODUCER, ["--count", "50"]), settings, MORNING)

    assert feed.total == 50
    assert list(itertools.islice(feed.dues, 51)) == [None] * 48 + [0, 0.2, 0.4]


def test_the_pace_counts_from_the_end_of_what_was_due_at_once():
    now, sent = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def send(item: str) -> None:
        nonlocal now
        sent.append((item, round(now, 1)))
        now += 3 if item == "past" else 0

    dues = [None, None, 0.0, 5.0]
    items = iter(["past", "past", "live", "live"])
    pacing.keep_pace(dues, items, send, clock=lambda: now, sleep=sleep, stopped=lambda: False)

    assert sent == [("past", 0), ("past", 3), ("live", 6), ("live", 8)]


# --- limits and allowances -----------------------------------------------------------------------------------------


def test_limits_and_allowances_are_of_simulated_sources_and_out_of_calm_reach():
    known = {source.source_id: source for source in sources(DEFAULTS.sources)}

    assert set(DEFAULTS.source_allowances_kg) <= set(known)
    assert set(DEFAULTS.sector_allowances_kg) <= {source.kind.sector for source in known.values()}
    assert len(DEFAULTS.limits_kg_h) == 12
    for source, limit in DEFAULTS.limits_kg_h.items():
        assert 1.1 < limit / known[source].full_kg_h < 1.14


def test_one_source_was_above_its_limit_and_another_soon_is(demo, fortnight):
    assert {source: list(map(len, over)) for source, over in alarms(fortnight).items()} == {"stonebridge-unit-1": [5]}

    (over,) = alarms(demo)["blackwater-unit-1"]
    assert timedelta(minutes=1) < over[2]["event_time"] - MORNING < timedelta(minutes=3)
    assert over[-1]["event_time"] - MORNING < timedelta(minutes=8)


@pytest.mark.parametrize("since", [MORNING, datetime(2026, 1, 20, tzinfo=UTC), datetime(2026, 7, 20, tzinfo=UTC)])
def test_allowances_last_long_short_or_not_at_all(since):
    used = Counter()
    for record in co2.history(DEFAULTS, since):
        used[record["source_id"]] += record["emission_kg"]
        used[record["sector"]] += record["emission_kg"]
    allowances = DEFAULTS.source_allowances_kg | DEFAULTS.sector_allowances_kg
    days = {name: 14 * kg / used[name] for name, kg in allowances.items()}

    assert days.pop("power") > 365
    assert days.pop("ashford-unit-1") > 365
    assert 4 < days.pop("shipping") < 13
    assert {name: 15 < lasts < 30 for name, lasts in days.items()} == {"cement": True, "kingston-blast-furnace-1": True}


# --- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad_day() -> list[dict]:
    """Three hours in which things go wrong often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(co2, "FAULT_EVERY", 80)
        return happen(park_of(seed=2), 3 * 3600)


def test_meters_are_stuck_for_longer_than_chance_has_it(bad_day):
    runs = Counter()
    for own in by_source(bad_day).values():
        for (mass, method), same in itertools.groupby(own, lambda r: (r["emission_kg"], r["method"])):
            if mass:
                runs[method == "substitute", len(list(same))] += 1

    assert sum(number for (is_substitute, length), number in runs.items() if not is_substitute and length >= 16) > 10
    assert not any(3 <= length < 12 for is_substitute, length in runs if not is_substitute)
    assert max(length for is_substitute, length in runs if is_substitute) < 12  # or it would look like a stuck meter


def test_gaps_are_left_open_and_silences_covered(bad_day):
    gaps, silences = [], []
    for own in by_source(bad_day).values():
        for a, b in itertools.pairwise(own):
            step = (b["event_time"] - a["event_time"]).total_seconds()
            if step > 3 * EVERY_S and abs(step) < 3_000:  # not to and from a clock that is an hour off
                (silences if b["interval_s"] == pytest.approx(step) else gaps).append((step, b["interval_s"]))

    assert len(gaps) > 10
    assert all(step >= 5 * interval * 0.8 and interval < 2 * EVERY_S for step, interval in gaps)
    assert len(silences) > 10


def test_substitute_values_are_a_constant_above_what_is_likely(bad_day):
    full = {source.source_id: source.full_kg_h for source in sources(25)}
    substitutes = [r for r in bad_day if r["method"] == "substitute"]

    assert len(substitutes) > 50
    assert all(rate(r) == pytest.approx(1.05 * full[r["source_id"]], rel=1e-4) for r in substitutes)


def test_spikes_raise_no_alarm_and_an_excess_does(bad_day):
    lengths = Counter(
        len(list(part))
        for own in by_source(bad_day).values()
        for above, part in itertools.groupby(own, is_above)
        if above
    )

    assert lengths[1] > 3
    assert lengths[2] > 3
    assert sum(number for length, number in lengths.items() if 3 <= length < 20) == 0
    assert any(length >= 30 for length in lengths)


def test_clocks_are_an_hour_off_now_and_then_and_records_late_or_repeated(bad_day):
    behind, twice = Counter(), Counter(r["event_id"] for r in bad_day)
    every = 1 / DEFAULTS.rate
    delays = [
        (MORNING + timedelta(seconds=(n + 1) * every) - r["event_time"]).total_seconds() for n, r in enumerate(bad_day)
    ]
    for record, delay in zip(bad_day, delays, strict=True):
        behind[record["source_id"]] += 3_590 < delay < 3_730

    assert sum(behind.values()) > 30
    assert 150 < sum(number == 2 for number in twice.values()) < 300
    assert max(twice.values()) == 2
    assert 5 < sum(4 < delay < 130 for delay in delays) < 200


def test_never_too_many_are_quiet_and_a_small_park_never_is(monkeypatch, calm):
    monkeypatch.setattr(co2, "FAULT_EVERY", 1)
    monkeypatch.setattr(co2, "FAULTS", {co2.Scenario.SILENCE: co2.Fault(1, (50, 60))})

    records = happen(park_of(3), 300)
    assert max(r["interval_s"] for r in records) < 2 * EVERY_S

    park = park_of(40)
    for record in happen(park, 600):
        assert record is not None
        assert sum(meter.fault == co2.Scenario.SILENCE for meter in park.meters) == park.silent <= 10
    assert park.silent > 5


# --- seeds ---------------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_records_and_another_seed_others():
    assert happen(park_of(seed=7), 120) == happen(park_of(seed=7), 120)
    first, second, none = (happen(park_of(seed=seed), 120) for seed in (7, 8, None))
    for one, other in itertools.combinations((first, second, none), 2):
        assert {r["event_id"] for r in one}.isdisjoint(r["event_id"] for r in other)
        assert {(r["source_id"], r["facility"]) for r in one} == {(r["source_id"], r["facility"]) for r in other}


def test_sources_keep_their_names_however_many_there_are():
    many = [source.source_id for source in sources(2_000)]

    assert many[:25] == [source.source_id for source in sources(25)]
    assert len(set(many)) == 2_000
    assert many[0] == "blackwater-unit-1"
