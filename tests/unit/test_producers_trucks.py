"""The simulated fleet: it drives as trucks do, keeps to roads and rules, and its trackers fail as trackers do."""

import itertools
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest
from shapely.geometry import LineString, MultiLineString, Point

from headwater.contracts.trucks import Fix
from headwater.geofences import load_geofences
from headwater.geometry import bearing_deg, distance_km
from headwater.settings import Settings, TruckSettings
from producers import run, trucks
from producers.delivery import encode
from producers.trucks_driving import rush_at
from producers.trucks_roads import NODES, ROADS, SITES, path

MORNING = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)  # a Monday
TRUCKS, HOURS, EVERY_S = 20, 12, 5


def fleet_of(size: int, seed: int | None = 1) -> trucks.Fleet:
    return trucks.open_fleet(seed, TruckSettings(fleet=size))


def happen(fleet: trucks.Fleet, seconds: float, every_s: float = 1, start: datetime = MORNING) -> list[dict]:
    """What reaches us within some time, where each truck has a fix every so often."""
    rate = len(fleet.trucks) / every_s
    return [trucks.next_record(fleet, start + timedelta(seconds=n / rate)) for n in range(int(seconds * rate))]


def by_truck(records: list[dict]) -> dict[str, list[dict]]:
    """Each truck's fixes in the order of time, without repeats."""
    tracks = defaultdict(dict)
    for record in records:
        tracks[record["truck_id"]].setdefault(record["event_time"], record)
    return {truck: [track[time] for time in sorted(track)] for truck, track in tracks.items()}


def steps(records: list[dict]) -> list[tuple[dict, dict]]:
    return [pair for track in by_truck(records).values() for pair in itertools.pairwise(track)]


def seconds(earlier: dict, later: dict) -> float:
    return (later["event_time"] - earlier["event_time"]).total_seconds()


def metres(a: dict, b: dict) -> float:
    return distance_km(a["latitude"], a["longitude"], b["latitude"], b["longitude"]) * 1000


@pytest.fixture(scope="module")
def day() -> list[dict]:
    """Twelve hours of a fleet, in the order in which its fixes reach us."""
    return happen(fleet_of(TRUCKS, seed=2), HOURS * 3600, EVERY_S)


@pytest.fixture(scope="module")
def calm() -> list[dict]:
    """A whole day and night of a fleet whose trackers never fail."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REPEATED_SHARE", "SWAPPED_SHARE", "LATE_SHARE", "JUMP_SHARE", "MOST_SILENT_SHARE"):
            patch.setattr(trucks, name, 0)
        return happen(fleet_of(TRUCKS, seed=3), 24 * 3600, 20)


@pytest.fixture(scope="module")
def demo() -> list[dict]:
    """The first quarter of an hour of a fleet of twelve, at a fix a second each."""
    return happen(fleet_of(12), 900)


@pytest.fixture(scope="module")
def fences():
    return load_geofences(Settings().trucks.geofences)


# --- records -------------------------------------------------------------------------------------------------------


def test_every_record_keeps_the_contract_and_names_everything(day):
    for record in day[:5_000]:
        fix = Fix.model_validate_json(encode(record))

        assert fix.event_time == record["event_time"]
        assert None not in fix.model_dump().values()


def test_ids_are_distinct_and_no_fix_is_of_the_future(day):
    assert len({r["event_id"] for r in day}) == len(day)
    rate = TRUCKS / EVERY_S
    assert all(r["event_time"] <= MORNING + timedelta(seconds=n / rate) for n, r in enumerate(day))


def test_a_truck_has_one_driver_and_a_fix_a_second(demo):
    for truck, track in by_truck(demo).items():
        assert len({fix["driver"] for fix in track}) == 1
        if truck != "T0006":  # it has no signal for most of the time
            assert 880 <= len(track) <= 990  # a silent truck's turns fall to the others


def test_settings_and_command_line_say_how_many_and_how_often():
    feed = run.feed_of(trucks.PRODUCER, run.parse(trucks.PRODUCER, ["--seed", "1"]), Settings(), MORNING)

    assert list(itertools.islice(feed.dues, 3)) == [0, 1 / 12, 2 / 12]
    assert [next(feed.records)["event_id"] for _ in range(13)][::12] == ["seed1-T0001.1", "seed1-T0001.2"]


# --- motion --------------------------------------------------------------------------------------------------------


def test_a_truck_moves_by_its_speed_and_the_time(demo):
    errors = [
        (metres(a, b) - (a["speed_kmh"] + b["speed_kmh"]) / 7.2 * seconds(a, b), b["speed_kmh"] / 3.6)
        for a, b in steps(demo)
        if seconds(a, b) < 1.5
    ]

    assert len(errors) > 8_000
    # On its way to its own bay a truck covers a little more, through a turn a little less.
    assert sum(abs(error) < 1 + 0.05 * speed for error, speed in errors) > 0.98 * len(errors)
    assert all(abs(error) < 6 for error, _ in errors)


def test_it_speeds_up_and_brakes_as_a_loaded_truck_can(demo):
    rates = [(b["speed_kmh"] - a["speed_kmh"]) / 3.6 / seconds(a, b) for a, b in steps(demo) if seconds(a, b) < 1.5]

    rounding = 0.1 / 3.6
    assert -2.5 - rounding <= min(rates) < -0.5
    assert 0.3 < max(rates) <= 0.4 + rounding


def test_it_heads_where_it_goes_and_keeps_its_heading_while_it_stands(demo):
    offs = []
    for a, b in steps(demo):
        if a["speed_kmh"] == b["speed_kmh"] == 0:
            assert (b["latitude"], b["longitude"]) == (a["latitude"], a["longitude"])
            assert b["heading_deg"] == a["heading_deg"]
        elif min(a["speed_kmh"], b["speed_kmh"]) > 30:
            there = bearing_deg(a["latitude"], a["longitude"], b["latitude"], b["longitude"])
            offs.append(abs((b["heading_deg"] - there + 180) % 360 - 180))

    assert len(offs) > 4_000
    assert sum(off < 12 for off in offs) > 0.97 * len(offs)


def test_it_keeps_to_the_limit_unless_its_driver_is_one_who_does_not():
    fleet = fleet_of(40, seed=4)
    lawful = [truck for n, truck in enumerate(fleet.trucks) if n % trucks.SPEEDERS != 0 and n >= 12]

    records = []
    for n in range(1500):
        records += happen(fleet, 5, 5, MORNING + timedelta(seconds=n * 5))
        for truck in lawful:
            assert truck.speed_ms <= truck.leg.path.limit_ms[truck.segment]

    fast = {r["truck_id"] for r in records if r["speed_kmh"] > 90}
    assert fast
    assert fast.isdisjoint(truck.truck_id for truck in lawful)
    assert max(r["speed_kmh"] for r in records) <= 114


def test_every_truck_stays_near_the_roads(calm):
    roads = MultiLineString([[NODES[name][::-1] for name in along.split(", ")] for _, _, along in ROADS])

    # Roads bend between their places, and trucks stand beside them; a degree is 111 km at most.
    assert max(roads.distance(Point(r["longitude"], r["latitude"])) for r in calm[::50]) < 3 / 111


def test_ways_between_sites_are_as_long_as_roads_are():
    for origin, destination in itertools.permutations(SITES, 2):
        way = path(origin.node, destination.node)
        straight = distance_km(*NODES[origin.node], *NODES[destination.node])

        assert way.length_m / 1000 == pytest.approx(LineString(way.points).length * 90, rel=0.35)
        assert straight < way.length_m / 1000 < 2.2 * straight
        assert way.points[0] == NODES[origin.node]
        assert way.points[-1] == NODES[destination.node]


def test_a_truck_can_brake_in_time_for_all_that_is_ahead():
    for origin, destination in itertools.permutations(SITES, 2):
        way = path(origin.node, destination.node)
        limits = [*way.limit_ms, 0]  # after the last point it stands
        for i in range(1, len(way.points)):
            room = way.along_m[i] - way.along_m[i - 1]
            assert way.ceiling_ms[i - 1] ** 2 <= way.ceiling_ms[i] ** 2 + 2 * 0.8 * room + 1e-6
            assert limits[i] >= limits[i - 1] or way.ceiling_ms[i] <= limits[i]
            if i < len(way.points) - 1 and abs((way.bearing[i] - way.bearing[i - 1] + 180) % 360 - 180) > 60:
                assert way.ceiling_ms[i] <= 25 / 3.6


def test_traffic_is_slower_in_the_rush_hour_than_at_night():
    def rush(hour, day=4):
        return rush_at(datetime(2026, 5, day, hour, 0, tzinfo=UTC))

    assert rush(15) > 0.8 > rush(10) > rush(1)  # 17 h in Brussels
    assert rush(15, day=9) < rush(15)  # a Saturday

    def mean_speed(start):
        fleet = fleet_of(60, seed=5)
        speeds = [r["speed_kmh"] for r in happen(fleet, 1200, 20, start) if r["speed_kmh"] > 5]
        return mean(speeds)

    assert mean_speed(MORNING + timedelta(hours=9)) < 0.9 * mean_speed(MORNING - timedelta(hours=4))


# --- the working day -----------------------------------------------------------------------------------------------


def standing(track: list[dict]) -> list[list[dict]]:
    """Each time a truck stood, from its first fix at no speed to its last."""
    return [list(run) for still, run in itertools.groupby(track, lambda fix: fix["speed_kmh"] == 0) if still]


def test_nobody_drives_for_longer_than_the_law_allows(calm):
    for track in by_truck(calm).values():
        drives, at_the_wheel = [], timedelta(hours=3)  # at the most, when the fleet was opened
        begin = track[0]["event_time"]
        for stay in standing(track):
            at_the_wheel += stay[0]["event_time"] - begin
            begin = stay[-1]["event_time"]
            if seconds(stay[0], stay[-1]) >= 44.5 * 60:
                drives.append(at_the_wheel)
                at_the_wheel = timedelta()
        assert max(drives[1:], default=timedelta()) < timedelta(hours=4, minutes=30)
        assert max(seconds(stay[0], stay[-1]) for stay in standing(track)) > 8.9 * 3600  # the night's rest


def test_trucks_stand_at_their_sites_to_load_and_else_where_roads_have_services(calm, fences):
    site_by_town = {site.town: site for site in SITES}
    loading, elsewhere = [], []
    for track in by_truck(calm).values():
        for stay in standing(track)[1:-1]:
            fix, minutes = stay[0], seconds(stay[0], stay[-1]) / 60
            site = site_by_town[fix["route"].split(" - ")[1]]
            is_there = distance_km(fix["latitude"], fix["longitude"], *NODES[site.node]) < 0.3
            (loading if is_there else elsewhere).append((minutes, site, fix))

    assert len(loading) > 50
    fenced = [(site, fix) for _, site, fix in loading if any(fence.holds(*NODES[site.node]) for fence in fences)]
    assert len(fenced) > 20
    assert all(any(f.holds(fix["latitude"], fix["longitude"]) for f in fences) for _, fix in fenced)
    assert all(minutes > 7 for minutes, _, _ in loading)
    assert {round(minutes / 15) * 15 for minutes, _, _ in elsewhere} == {15, 45}  # to refuel, to rest
    assert all(minutes == pytest.approx(round(minutes / 15) * 15, abs=1) for minutes, _, _ in elsewhere)


def test_legs_follow_one_another_and_lead_home(calm):
    depots = {site.town for site in SITES if site.is_depot}
    for track in by_truck(calm).values():
        routes = [route.split(" - ") for route, _ in itertools.groupby(track, lambda fix: fix["route"])]

        assert len(routes) >= 3
        assert all(a[1] == b[0] for a, b in itertools.pairwise(routes))
        assert {town for _, town in routes} & depots or len(routes) < 4


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_some_fixes_come_twice_some_late_and_some_in_the_wrong_order(day):
    copies, delays, newest = [], [], {}
    seen = {}
    for n, record in enumerate(day):
        now = MORNING + timedelta(seconds=n * EVERY_S / TRUCKS)
        truck, time = record["truck_id"], record["event_time"]
        if (truck, time) in seen:
            copies.append((record, seen[truck, time]))
        elif time < newest.get(truck, time):
            delays.append((now - time).total_seconds())
        seen[truck, time] = record
        newest[truck] = max(time, newest.get(truck, time))

    assert 0.002 < len(copies) / len(day) < 0.008
    assert all({**a, "event_id": ""} == {**b, "event_id": ""} for a, b in copies)
    swapped = [delay for delay in delays if delay < 2 * EVERY_S]
    assert 0.002 < len(swapped) / len(day) < 0.008
    assert 0.001 < (len(delays) - len(swapped)) / len(day) < 0.004
    assert 200 < max(delays) < 300 + 2 * EVERY_S


def test_now_and_then_a_fix_is_far_off_and_the_next_is_right_again(day):
    jumps = [(a, b) for a, b in steps(day) if metres(a, b) > 200 / 3.6 * seconds(a, b)]

    assert 2 <= len(jumps) <= 40
    assert len(jumps) % 2 == 0  # there and back
    assert all(3_000 < metres(a, b) < 40_000 for a, b in jumps)


def test_a_truck_falls_silent_for_long_enough_to_count_as_offline(day):
    silences = [seconds(a, b) for a, b in steps(day) if seconds(a, b) > 60]

    assert TRUCKS * HOURS / 6 / 3 < len(silences) < TRUCKS * HOURS / 6 * 2
    assert all(660 <= silence < 900 + 2 * EVERY_S for silence in silences)


def test_a_fleet_too_small_to_spare_one_is_never_silent():
    assert max(seconds(a, b) for a, b in steps(happen(fleet_of(3), 4 * 3600, 10))) < 60


# --- the first minutes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 20, None])
def test_there_is_something_to_see_at_once(seed, fences):
    tracks = by_truck(happen(fleet_of(12, seed), 300)).values()

    speeds = [track[0]["speed_kmh"] for track in tracks]
    assert sum(speed > 30 for speed in speeds) >= 6
    assert sum(speed == 0 for speed in speeds) >= 3
    overspeeds = [
        seconds(run[0], run[-1])
        for track in tracks
        for fast, run in ((fast, list(run)) for fast, run in itertools.groupby(track, lambda f: f["speed_kmh"] > 100))
        if fast
    ]
    assert max(overspeeds) >= 35
    passages = Counter()
    for fence in fences:
        for track in tracks:
            inside = [fence.holds(fix["latitude"], fix["longitude"]) for fix in track]
            passages[fence.kind, "enter"] += any(b and not a for a, b in itertools.pairwise(inside))
            passages[fence.kind, "leave"] += any(a and not b for a, b in itertools.pairwise(inside))
    assert passages["customer", "enter"] >= 1
    assert passages["depot", "leave"] >= 1
    assert passages["no_go", "enter"] >= 1


def test_one_truck_turns_offline_within_the_first_quarter_of_an_hour(demo):
    last = {truck: track[-1]["event_time"] - MORNING for truck, track in by_truck(demo).items()}

    assert [truck for truck, when in last.items() if when < timedelta(seconds=299)] == ["T0006"]


# --- seeds ---------------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_records_and_another_seed_others():
    assert happen(fleet_of(30, 7), 60) == happen(fleet_of(30, 7), 60)
    first, second = (happen(fleet_of(30, seed), 60) for seed in (7, 8))
    assert {r["event_id"] for r in first}.isdisjoint(r["event_id"] for r in second)
    assert {(r["truck_id"], r["driver"]) for r in first} == {(r["truck_id"], r["driver"]) for r in second}
    assert {(r["truck_id"], r["route"]) for r in first} != {(r["truck_id"], r["route"]) for r in second}


def test_the_same_seed_at_another_pace_has_the_same_legs():
    def legs(every_s):
        tracks = by_truck(happen(fleet_of(20, 7), 10 * 3600, every_s))
        return {
            truck: [leg for leg, _ in itertools.groupby((fix["route"], fix["cargo"]) for fix in track)]
            for truck, track in tracks.items()
        }

    often, seldom = legs(20), legs(180)
    compared = 0
    for truck, planned in often.items():
        common = min(len(planned), len(seldom[truck]))
        assert planned[:common] == seldom[truck][:common]
        compared += common
    assert compared > 50


def test_runs_without_a_seed_share_no_id():
    first, second = happen(fleet_of(12, None), 10), happen(fleet_of(12, None), 10)

    assert {r["event_id"] for r in first}.isdisjoint(r["event_id"] for r in second)


# --- other sizes and paces -----------------------------------------------------------------------------------------


def test_two_thousand_trucks_are_spread_over_the_roads():
    tracks = by_truck(happen(fleet_of(2_000), 12))

    assert len(tracks) > 1_980
    moving = [track for track in tracks.values() if track[-1]["speed_kmh"] > 5]
    assert 0.6 < len(moving) / 2_000 < 0.75
    assert len({(round(track[0]["latitude"], 2), round(track[0]["longitude"], 2)) for track in moving}) > 800


def test_a_fleet_that_is_looked_at_seldom_moves_as_far(calm):
    def kilometres(every_s):
        tracks = by_truck(happen(fleet_of(12, 9), 3600, every_s)).values()
        return sum(metres(a, b) for track in tracks for a, b in itertools.pairwise(track)) / 1000

    assert kilometres(60) == pytest.approx(kilometres(5), rel=0.1)


def test_a_machine_that_slept_finds_its_fleet_an_hour_further():
    fleet = fleet_of(12)
    before = by_truck(happen(fleet, 5))
    after = by_truck(happen(fleet, 5, start=MORNING + timedelta(hours=30)))

    for truck, track in after.items():
        assert metres(before[truck][-1], track[0]) < 120_000
