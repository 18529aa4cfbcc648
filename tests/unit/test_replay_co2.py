"""Recorded emissions as raw records: the recorded files to the gram, clocks that are put back, and units."""

import gzip
import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import fsum
from pathlib import Path

import pandas as pd
import pytest

from headwater.contracts.co2 import CO2, Reading
from headwater.errors import SettingsError
from headwater.settings import load_settings
from producers.co2 import PRODUCER
from producers.delivery import encode
from producers.replay import ReplayError, contract_format, replay, survey
from tests.recorded import recorded

FORMATS = (*PRODUCER.formats, contract_format(CO2))
EPA = "State, Year,, SO2 (tons), NOx (tons), CO2 (tons), Gross Load (MW-h)\n"
CARBON = "timestamp,project_name,run_id,duration,emissions,energy_consumed,country_name,on_cloud\n"


@pytest.fixture
def write(tmp_path):
    """Write text to a file; gives its path."""

    def write(content: str, name: str = "emissions.csv") -> Path:
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


@pytest.fixture
def zone(monkeypatch):
    """Set the zone of times that name none."""
    return lambda name: monkeypatch.setenv("HEADWATER_CO2_ZONE", name)


def records_of(path: Path, as_recorded: bool = True) -> list[dict]:
    return [r.record for r in replay([survey(path, FORMATS)], as_recorded=as_recorded)]


def raw_of(path: Path) -> pd.DataFrame:
    """The file as text, its columns' names without spaces around them."""
    with gzip.open(path, "rt", newline="") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False).rename(columns=str.strip)


def own(record: dict) -> dict:
    """A record without its identity, which names the file's content."""
    return {name: value for name, value in record.items() if name != "event_id"}


def are_readings(records: list[dict]) -> bool:
    """Whether the contract takes records; what it doesn't know it keeps elsewhere."""
    return all(
        Reading.model_validate_json(encode({k: v for k, v in record.items() if k in Reading.model_fields}))
        for record in records
    )


def to_the_gram(records: list[dict], kg: Decimal) -> bool:
    return abs(Decimal(fsum(r["emission_kg"] for r in records)) - kg) < Decimal("0.001")


# --- the recorded files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rows"), [("CT_2009_2013", 1462), ("IN_summers", 918)])
def test_epas_days_come_whole(name, rows):
    path = recorded(f"co2/epa_ampd_daily_{name}.csv.gz")
    raw = raw_of(path)
    records = records_of(path)

    assert len(records) == len(raw) == rows == len({r["event_id"] for r in records})
    assert [r["source_id"] for r in records] == list(raw["State"])
    assert [r["event_time"] for r in records] == list(pd.to_datetime(raw["Unnamed: 2"], utc=True))
    assert [r["energy_mwh"] for r in records] == list(raw["Gross Load (MW-h)"].map(float))
    assert [r["SO2 (tons)"] for r in records] == list(raw["SO2 (tons)"])
    assert {r["interval_s"] for r in records} == {86_400.0}
    kg = raw["CO2 (tons)"].map(lambda tons: Decimal(tons) * Decimal("907.18474"))
    assert [r["emission_kg"] for r in records] == list(kg.map(float))
    assert to_the_gram(records, sum(kg))
    assert are_readings(records)
    times = [r["event_time"] for r in records_of(path, as_recorded=False)]
    assert times == sorted(times)


def test_a_day_of_epa_by_hand(write):
    (record,) = records_of(write(EPA + "CT,2011,2011-01-01,0.053,3.256,13494.697,21041.38\n"))

    assert record["event_id"].endswith("-1")
    assert own(record) == {
        "source_id": "CT",
        "Year": "2011",
        "event_time": datetime(2011, 1, 1, tzinfo=UTC),
        "SO2 (tons)": "0.053",
        "NOx (tons)": "3.256",
        "emission_kg": 12_242_183.18932378,  # 13,494.697 x 907.18474
        "energy_mwh": 21_041.38,
        "interval_s": 86_400.0,
    }


def test_a_grid_is_told_by_its_authorities_and_not_by_exchanges():
    path = recorded("co2/gridemissions_CO2_2021-07.csv.gz")
    raw = raw_of(path)
    masses = {name[4:-3]: raw[name] for name in raw if name.startswith("CO2_") and name.endswith("_NG")}
    records = records_of(path)

    assert len(masses) == 72
    assert len(records) == 72 * 20 == len({r["event_id"] for r in records})
    found = {(r["source_id"], r["event_time"]): r["emission_kg"] for r in records}
    hours = pd.to_datetime(raw["period"], utc=True)
    assert found == {
        (source, hour): float(kg) for source, own in masses.items() for hour, kg in zip(hours, own, strict=True)
    }
    assert to_the_gram(records, sum(Decimal(kg) for own in masses.values() for kg in own))
    assert found["MISO", datetime(2021, 7, 10, 1, tzinfo=UTC)] == 51_000_000.0
    assert {r["interval_s"] for r in records} == {3_600.0}
    assert are_readings(records)


def test_an_empty_cell_of_a_grid_is_no_record_and_ids_are_the_rows(write, zone):
    zone("America/New_York")  # the format's times are UTC all the same
    text = (
        "period,CO2_B_NG,CO2_A_NG,CO2_A-B_ID,CO2_A_D\n2021-07-10 00:00:00,1.5e+03,7,9,9\n2021-07-10 01:00:00,,8,9,9\n"
    )

    first, second, third = records_of(write(text))

    assert [r["event_id"].partition("-")[2] for r in (first, second, third)] == ["1", "1.2", "2"]
    hour = datetime(2021, 7, 10, tzinfo=UTC)
    assert own(first) == {"event_time": hour, "source_id": "B", "emission_kg": 1500.0, "interval_s": 3600.0}
    assert own(third) == {
        "event_time": hour + timedelta(hours=1),
        "source_id": "A",
        "emission_kg": 8.0,
        "interval_s": 3600.0,
    }


def test_power_by_fuel_times_intensity_is_what_a_grid_emits():
    path = recorded("co2/eia930_CISO_avgCI.csv.gz")
    raw = raw_of(path)
    records = records_of(path)

    assert len(records) == len(raw) == 8_760
    fuels = ["WND", "SUN", "WAT", "OIL", "NG", "COL", "NUC", "OTH"]
    known = raw[raw["avg_CI"] != ""]
    mwh = known[fuels].map(Decimal).sum(axis=1)
    kg = mwh * known["avg_CI"].map(Decimal)
    told = [r for r in records if "emission_kg" in r]
    assert [r["event_time"] for r in told] == list(pd.to_datetime(known["timestamp"], utc=True))
    assert [r["energy_mwh"] for r in told] == list(mwh.map(float))
    assert [r["emission_kg"] for r in told] == pytest.approx(list(kg.map(float)), rel=1e-15)
    assert to_the_gram(told, sum(kg))
    assert {(r["source_id"], r["interval_s"]) for r in records} == {("CISO", 3600.0)}
    # 3130 + 1367 + 2304 + 44 + 6764 + 19 + 2265 + 189 = 16,082 MWh at 222.29592... kg each
    assert (records[0]["energy_mwh"], round(records[0]["emission_kg"], 3)) == (16_082.0, 3_574_963.0)
    empty = [own(r) for r in records if "emission_kg" not in r]
    assert empty == [
        {"event_time": datetime(2022, *at, tzinfo=UTC), "source_id": "CISO", "interval_s": 3600.0}
        for at in ((1, 5, 10), (5, 17, 18), (6, 13, 18))
    ]
    assert are_readings(told)


def test_codecarbons_totals_become_differences():
    path = recorded("co2/codecarbon_italy_2023-12-12.csv.gz")
    raw = raw_of(path)
    records = records_of(path)

    assert len(records) == len(raw) == 199
    for column, field, factor in (
        ("emissions", "emission_kg", 1),
        ("duration", "interval_s", 1),
        ("energy_consumed", "energy_mwh", Decimal("0.001")),
    ):
        totals = [Decimal(0), *raw[column].map(Decimal)]
        assert [r[field] for r in records] == [float((b - a) * factor) for a, b in itertools.pairwise(totals)]
    assert to_the_gram(records, Decimal("0.009146641691799911"))
    assert {(r["source_id"], r["facility"], r["country"]) for r in records} == {
        ("fce6a978-d2be-4a38-b3aa-f1444a3a458f", "Test", "Italy")
    }
    assert (records[0]["latitude"], records[0]["cpu_model"]) == (41.5575, "Apple M2 Pro")
    assert [r["event_time"] for r in records] == list(pd.to_datetime(raw["timestamp"], utc=True))
    assert are_readings(records)


def test_runs_are_apart_and_one_that_starts_over_begins_anew(write):
    rows = [
        "2026-05-04T12:00:10,P,a,10,0.3,1.5,Italy,N",
        "2026-05-04T12:00:11,P,b,5,0.1,,Italy,N",
        "2026-05-04T12:00:20,P,a,20,0.7,2.0,Italy,N",
        "2026-05-04T12:00:20,P,a,20,0.7,2.0,Italy,N",  # again: nothing more
        "2026-05-04T12:00:25,P,a,soon,0.9,2.5,Italy,N",
        "2026-05-04T12:00:30,P,a,30,0.9,2.5,Italy,N",
        "2026-05-04T12:01:00,P,a,4,0.2,0.5,Italy,N",  # over again
        "2026-05-04T12:01:01,P,b,15,0.4,1.0,Italy,N",
    ]

    records = records_of(write(CARBON + "\n".join(rows)))

    # As floats 0.7 - 0.3 were 0.39999999999999997.
    told = [(r["source_id"], r.get("emission_kg"), r.get("interval_s"), r.get("energy_mwh")) for r in records]
    assert told == [
        ("a", 0.3, 10.0, 0.0015),
        ("b", 0.1, 5.0, None),
        ("a", 0.4, 10.0, 0.0005),
        ("a", 0.0, None, 0.0),
        ("a", None, None, None),
        ("a", 0.2, 10.0, 0.0005),
        ("a", 0.2, 4.0, 0.0005),
        ("b", 0.3, 10.0, None),
    ]


# --- clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "local", "utc"),
    [
        # Berlin, 25 October 2026: at 03:00 summer time (01:00 UTC) clocks go back to 02:00.
        (
            "Europe/Berlin",
            ["10-25 01:00", "10-25 02:00", "10-25 02:00", "10-25 03:00"],
            ["10-24 23:00", "10-25 00:00", "10-25 01:00", "10-25 02:00"],
        ),
        (  # finer, and the second time not at the same minutes
            "Europe/Berlin",
            ["10-25 02:10", "10-25 02:40", "10-25 02:12", "10-25 02:42", "10-25 03:12"],
            ["10-25 00:10", "10-25 00:40", "10-25 01:12", "10-25 01:42", "10-25 02:12"],
        ),
        (  # two rows that have changed places are no step back
            "Europe/Berlin",
            ["10-25 02:10", "10-25 02:00", "10-25 02:20", "10-25 02:00", "10-25 02:10", "10-25 02:20"],
            ["10-25 00:10", "10-25 00:00", "10-25 00:20", "10-25 01:00", "10-25 01:10", "10-25 01:20"],
        ),
        ("Europe/Berlin", ["10-25 02:30"], ["10-25 00:30"]),  # once: the first is meant
        # 29 March: at 02:00 (01:00 UTC) they go forward. 02:30 is nowhere, and is 02:30 of the clock not yet changed.
        (
            "Europe/Berlin",
            ["03-29 01:00", "03-29 02:30", "03-29 03:00"],
            ["03-29 00:00", "03-29 01:30", "03-29 01:00"],
        ),
        # New York, 1 November: at 02:00 summer time (06:00 UTC) back to 01:00; 8 March at 02:00 (07:00 UTC) forward.
        (
            "America/New_York",
            ["11-01 00:00", "11-01 01:00", "11-01 01:30", "11-01 01:00", "11-01 01:30", "11-01 02:00"],
            ["11-01 04:00", "11-01 05:00", "11-01 05:30", "11-01 06:00", "11-01 06:30", "11-01 07:00"],
        ),
        ("America/New_York", ["03-08 01:00", "03-08 03:00"], ["03-08 06:00", "03-08 07:00"]),
        ("UTC", ["10-25 02:00", "10-25 02:00"], ["10-25 02:00", "10-25 02:00"]),  # equal rows are two events
    ],
)
def test_local_times_with_a_clock_that_is_changed(write, zone, name, local, utc):
    zone(name)
    rows = [f"{source},{time},{n}" for n, time in enumerate(local) for source in ("a", "b")]

    records = records_of(write("meter,timestamp,co2_kg\n" + "\n".join(f"{r.replace(',', ',2026-', 1)}" for r in rows)))

    assert len({r["event_id"] for r in records}) == len(rows)
    for source in ("a", "b"):
        times = [r["event_time"].strftime("%m-%d %H:%M") for r in records if r["source_id"] == source]
        assert times == utc


def test_a_year_of_hours_in_any_order_neither_loses_nor_doubles_one(write, zone):
    zone("Europe/Berlin")
    hours = pd.date_range("2026-01-01", "2027-01-01", freq="h", tz="Europe/Berlin", inclusive="left")
    local = hours.tz_localize(None).strftime("%Y-%m-%d %H:%M")
    rows = pd.DataFrame({"time": local, "id": "a", "co2_kg": range(len(hours))})

    ordered = records_of(write(rows.to_csv(index=False)))
    shuffled = records_of(write(rows.sample(frac=1, random_state=1).to_csv(index=False)))

    assert [r["event_time"] for r in ordered] == list(hours.tz_convert("UTC"))
    assert sorted(r["event_time"] for r in shuffled) == list(hours.tz_convert("UTC"))


def test_days_of_epa_begin_at_midnight_there(write, zone):
    zone("America/New_York")
    rows = "CT,2011,2011-01-01,0,0,1,1\nCT,2011,2011-07-01,0,0,1,1\n"

    assert [r["event_time"].hour for r in records_of(write(EPA + rows))] == [5, 4]


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "America", "../UTC"])
def test_a_zone_that_nobody_knows_is_told(name):
    with pytest.raises(SettingsError, match="HEADWATER_CO2_ZONE: .*not '" + name):
        load_settings({"HEADWATER_CO2_ZONE": name})


# --- columns by their usual names ----------------------------------------------------------------------------------

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
KG = {"source_id": "s1", "event_time": NOON, "emission_kg": 2.5}


@pytest.mark.parametrize(
    ("header", "row", "more"),
    [
        ("source_id,event_time,emission_kg", "s1,2026-05-04T14:00:00+02:00,2.5", {}),
        ("Source,Timestamp,CO2 (kg)", "s1,2026-05-04 12:00:00,2.5", {}),
        ("co2_kg,ts,meter", "2.5,1777896000,s1", {}),
        ("stack,recorded_at,emissions_kg", "s1,1777896000000,2.5", {}),
        ("unit,date,kg_co2", "s1,2026-05-04T12:00:00Z,25e-1", {}),
        ("plant,time,emission_t", "s1,2026-05-04T12:00:00Z,0.0025", {}),
        ("device_id,time,CO2 tonnes", "s1,2026-05-04T12:00:00Z,0.0025", {}),
        ("id,time,CO2 (short tons)", "s1,2026-05-04T12:00:00Z,2", {"emission_kg": 1814.36948}),
        ("id,time,CO2 Mass (short tons)", "s1,2026-05-04T12:00:00Z,0.001", {"emission_kg": 0.90718474}),
        ("id,time,co2_lb", "s1,2026-05-04T12:00:00Z,3", {"emission_kg": 1.36077711}),
        ("id,time,co2_g", "s1,2026-05-04T12:00:00Z,0.3", {"emission_kg": 0.0003}),
        ("id,time,co2_kg,interval_s", "s1,2026-05-04T12:00:00Z,2.5,5", {"interval_s": 5.0}),
        ("id,time,co2_kg,Interval (min)", "s1,2026-05-04T12:00:00Z,2.5,1.1", {"interval_s": 66.0}),
        ("id,time,co2_kg,interval_h", "s1,2026-05-04T12:00:00Z,2.5,24", {"interval_s": 86_400.0}),
        ("id,time,co2_kg,energy_kwh", "s1,2026-05-04T12:00:00Z,2.5,7", {"energy_mwh": 0.007}),
        ("id,time,co2_kg,energy_gj", "s1,2026-05-04T12:00:00Z,2.5,18", {"energy_mwh": 5.0}),
        ("id,time,co2_kg,Gross Load (MWh)", "s1,2026-05-04T12:00:00Z,2.5,18", {"energy_mwh": 18.0}),
        (
            "id,time,co2_kg,sector,fuel_type,facility,country,lat,lng,method,operator",
            "s1,2026-05-04T12:00:00Z,2.5,power,gas,North,Norway,59.9,10.7,measured,ACME",
            {"sector": "power", "fuel": "gas", "facility": "North", "country": "Norway", "latitude": 59.9}
            | {"longitude": 10.7, "method": "measured", "operator": "ACME"},
        ),
        ("source,id,time,date,co2_kg", "s1,7,2026-05-04T12:00:00Z,,2.5", None),  # two columns of one step
        ("source_id,id,time,co2_kg", "s1,7,2026-05-04T12:00:00Z,2.5", {"id": "7"}),
        ("id,time,co2_kg,unit_of_mass", "s1,2026-05-04T12:00:00Z,2.5,kg", {"unit_of_mass": "kg"}),
        ("id,time,co2_t", "s1,2026-05-04T12:00:00Z,much", {"emission_kg": "much"}),
        ("id,time,co2_t", "s1,2026-05-04T12:00:00Z,1e308", {"emission_kg": "1e308"}),  # beyond any float in kg
        ("id,time,co2_kg,energy_gj", "s1,yesterday,2.5", {"event_time": "yesterday"}),  # short
        ("event_id,id,time,co2_kg", "mine,s1,2026-05-04T12:00:00Z,2.5", {"event_id": "mine"}),
    ],
)
def test_columns_are_known_by_their_usual_names(write, header, row, more):
    path = write(f"{header}\n{row}\n")
    if more is None:
        with pytest.raises(ReplayError, match="columns time and date would both be event_time"):
            survey(path, FORMATS)
        return
    (record,) = records_of(path)

    if "event_id" not in header:
        assert record.pop("event_id").endswith("-1")
    assert record == KG | more


def test_our_own_names_need_no_time(write):
    (record,) = records_of(write("source_id,emission_kg,interval_s\ns1,2.5,5\n"))

    assert own(record) == {"source_id": "s1", "emission_kg": 2.5, "interval_s": 5.0}


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("", ["empty, it has not even a header"]),
        ("a,b\n1,2\n", ["no known format has these columns: a, b", *(f"{form.name}: " for form in FORMATS)]),
        ("meter,time,co2\n", ["no known format has these columns: meter, time, co2", "a mass with its unit"]),
        ("meter,time,co2_tons\n", ["no known format has these columns"]),  # short or metric?
        ("meter,co2_kg\n", ["no known format has these columns"]),  # no time
        ("meter,time,co2_kg,co2_g\n", ["columns co2_kg and co2_g would both be emission_kg: rename or remove all"]),
        ("plant,unit,time,co2_kg\n", ["columns plant and unit would both be source_id"]),
        ("id,time,co2_kg,interval_s,interval_min\n", ["columns interval_s and interval_min would both be interval_s"]),
        (EPA.replace("State,", "State, Facility Name,"), ["no known format has these columns: State, Facility Name"]),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(write, content, messages):
    with pytest.raises(ReplayError) as error:
        survey(write(content), FORMATS)

    assert "emissions.csv: " in str(error.value)
    for message in messages:
        assert message in str(error.value)


@pytest.mark.parametrize(
    "header",
    [EPA, CARBON, "period,CO2_A_NG\n", "timestamp,WND,NG,avg_CI\n", "id,ts,co2_kg\n"],
)
def test_a_header_alone_is_no_rows(write, header):
    assert len(survey(write(header), FORMATS)) == 0


def test_the_source_of_a_grid_by_fuel_is_in_the_files_name(write):
    row = "timestamp,WND,NG,avg_CI\n2022-01-01 00:00:00+00:00,1,3,100\n"

    named = [
        own(records_of(write(row, name))[0])["source_id"]
        for name in ("eia930_ERCO_avgCI.csv", "PJM_avgCI.csv", "x.csv")
    ]

    assert named == ["ERCO", "PJM", "x"]
