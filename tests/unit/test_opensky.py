"""OpenSky polled: what is sent of an answer, what is made of a bad one, and a day's credits."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from headwater.contracts.aircraft import StateVector
from headwater.errors import SettingsError
from producers.delivery import encode
from producers.opensky import FIELDS
from producers.opensky_client import Answer, Client
from producers.opensky_quota import ANONYMOUS_CREDITS, Box, Quota, cost_of, parts
from producers.opensky_standin import Fault, StandIn
from tests.opensky import ACCOUNTS, START, Clock, account, connected, settings

DAY_S = 86_400
SWISS = ["4b1815", "SWR123  ", "Switzerland", 1714311890, 1714311895, 8.5, 47.4, 10_972.8, False, 230.5, 91.2, -0.33,
         None, 11_269.98, "1000", False, 0, 4]  # fmt: skip
BARE = ["c067ae", None, "Canada", None, 1714311880, None, None, None, None, None, None, None, None, None, None, None,
        None, None]  # fmt: skip
FIJI = ["c88092", "FJI91   ", "Fiji", 1714311895, 1714311896, 179.5, -17.7, 0.0, False, 0.0, 0.0, 0.0, None, 0.0,
        "0000", False, 0, 0]  # fmt: skip
SAMOA = ["902001", "", "Samoa", 1714311895, 1714311897, -172.0, -13.8, None, True, 0.0, 0.0, None, None, None, None,
         False, 0, 0]  # fmt: skip


class World:
    """A stand-in whose states a test sets, and its clock."""

    def __init__(self, **more) -> None:
        self.clock = Clock()
        self.states: list = [SWISS, BARE]
        self.stand_in = StandIn(lambda now: (int(now), self.states), self.clock, ACCOUNTS, **more)

    def polled(self, source) -> list[dict]:
        """What a poll sends, when it is due."""
        self.clock.now = max(self.clock.now, source.next_at)
        return list(source.poll())

    def charged(self) -> int:
        return sum(bucket.size - bucket.left for bucket in self.stand_in.buckets.values())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def source(world):
    return connected(world.stand_in, world.clock, settings())[0]


def as_states(records: list[dict]) -> list[StateVector]:
    return [StateVector.model_validate_json(encode(record)) for record in records]


# --- what is sent --------------------------------------------------------------------------------------------------


def test_an_answer_becomes_records_by_the_places_of_their_fields(world, source):
    swiss, bare = as_states(world.polled(source))

    assert swiss == StateVector(
        event_id="4b1815-1714311895",
        event_time=datetime(2024, 4, 28, 13, 44, 55, tzinfo=UTC),
        icao24="4b1815",
        callsign="SWR123  ",
        origin_country="Switzerland",
        time_position=1714311890,
        last_contact=1714311895,
        longitude=8.5,
        latitude=47.4,
        baro_altitude=10_972.8,
        on_ground=False,
        velocity=230.5,
        true_track=91.2,
        vertical_rate=-0.33,
        geo_altitude=11_269.98,
        squawk="1000",
        spi=False,
        position_source=0,
        category=4,
        snapshot_time=int(START),
    )
    told = {"event_id", "event_time", "icao24", "origin_country", "last_contact", "snapshot_time"}
    assert bare.model_fields_set == told


def test_zero_and_the_empty_text_are_values(world, source):
    world.states = [FIJI, SAMOA]

    fiji, samoa = world.polled(source)

    assert {fiji[name] for name in ("baro_altitude", "velocity", "true_track", "vertical_rate", "geo_altitude")} == {
        0.0
    }
    assert samoa["callsign"] == ""
    assert samoa["on_ground"] is True


def test_seventeen_fields_are_a_state_without_category_and_what_comes_after_eighteen_is_left_out(world, source):
    world.states = [SWISS[:17], [*FIJI, "new", 1]]

    swiss, fiji = world.polled(source)

    assert "category" not in swiss
    assert swiss["position_source"] == 0
    assert set(fiji) <= {*FIELDS, "snapshot_time", "event_id", "event_time"}
    assert source.malformed == 0


def test_only_what_is_new_is_sent(world, source):
    world.polled(source)
    world.states = [[*SWISS[:4], 1714311896, *SWISS[5:]], [*BARE[:1], "WJA1    ", *BARE[2:]], [*FIJI]]

    again = world.polled(source)

    # Canada's callsign is new, but nothing was heard of it since.
    assert [record["event_id"] for record in again] == ["4b1815-1714311896", "c88092-1714311896"]
    world.states = [SWISS]  # from a server that is behind
    assert world.polled(source) == []
    assert (source.received, source.sent, source.unchanged, source.malformed) == (6, 4, 2, 0)


@pytest.mark.parametrize(
    "odd",
    [None, "text", 7, [], SWISS[:16], {"icao24": "4b1815"}],
)
def test_what_is_no_state_vector_is_counted_and_left_to_the_job_and_loses_no_other(world, source, odd, monkeypatch):
    monkeypatch.setattr(Client, "states", lambda _, box: Answer(int(START), [SWISS, odd, FIJI], 396))

    swiss, told, fiji = world.polled(source)

    assert (swiss["icao24"], fiji["icao24"]) == ("4b1815", "c88092")
    assert told == {"snapshot_time": int(START)} | ({} if odd is None else {"state": odd})
    assert (source.received, source.sent, source.malformed) == (3, 3, 1)


@pytest.mark.parametrize(
    ("place", "value"), [(0, None), (0, 7), (4, None), (4, "1714311895"), (4, True), (4, -1), (4, 1.5), (4, 10**15)]
)
def test_a_state_without_identity_goes_out_for_the_job_to_reject(world, source, place, value):
    world.states = [[*SWISS[:place], value, *SWISS[place + 1 :]], FIJI]

    odd, fiji = world.polled(source)

    assert "event_id" not in odd
    assert odd.get(FIELDS[place]) == value
    assert fiji["event_id"] == "c88092-1714311896"
    assert [record.get("icao24") for record in world.polled(source)] == [odd.get("icao24")]


# --- areas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "costs"),
    [
        ("", [4]),
        ("45.8,5.9,47.8,10.5", [1]),  # Switzerland, 9.2 square degrees
        ("0,0,5,5", [1]),
        ("0,0,5,5.1", [2]),
        ("0,0,10,10", [2]),
        ("0,0,20,20", [3]),
        ("0,0,20,20.1", [4]),
        ("-90,-180,90,180", [4]),
        ("-20,170,-10,-170", [2, 2]),
        ("-20,180,-10,-170", [2]),
        ("-20,170,-10,-180", [2]),
    ],
)
def test_what_a_poll_of_an_area_costs(text, costs):
    assert [cost_of(area) for area in parts(text)] == costs


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "10,0,5,5", "5,0,5,5", "-91,0,5,5", "0,-181,5,5", "0,7,5,7"])
def test_a_box_that_is_none_is_an_error_that_shows_it(text):
    with pytest.raises(SettingsError, match="box: expected"):
        parts(text)


def test_a_box_across_the_date_line_is_two_calls(world):
    world.states = [SWISS, FIJI, SAMOA]
    source, adapter = connected(world.stand_in, world.clock, settings(box="-20,170,-10,-170"))

    assert parts("-20,170,-10,-170") == (Box(-20, 170, -10, 180), Box(-20, -180, -10, -170))
    assert [record["icao24"] for record in world.polled(source)] == ["c88092", "902001"]
    assert [request.path_url for request in adapter.asked] == [
        "/api/states/all?extended=1&lamin=-20.0&lomin=170.0&lamax=-10.0&lomax=180.0",
        "/api/states/all?extended=1&lamin=-20.0&lomin=-180.0&lamax=-10.0&lomax=-170.0",
    ]
    assert world.charged() == 4


def test_an_empty_box_is_no_error(world):
    source, _ = connected(world.stand_in, world.clock, settings(box="0,0,1,1"))

    assert world.polled(source) == []
    status = source.status(None)
    assert (status.last_error, status.credits_left, status.received) == (None, ANONYMOUS_CREDITS - 1, 0)


# --- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_is_fetched_once_and_again_before_it_ends(world):
    source, adapter = connected(world.stand_in, world.clock, account())

    def tokens() -> int:
        return sum(request.method == "POST" for request in adapter.asked)

    world.polled(source)
    world.polled(source)
    assert tokens() == 1
    world.clock.now = START + 1_800 - 31
    list(source.poll())
    assert tokens() == 1
    world.clock.now = START + 1_800 - 30
    list(source.poll())
    assert tokens() == 2
    assert source.status(None).has_account
    assert source.quota.size == 4_000


def test_a_401_is_answered_with_a_new_token_once(world):
    source, adapter = connected(world.stand_in, world.clock, account())
    world.stand_in.faults.append(Fault.UNAUTHORIZED)

    assert len(world.polled(source)) == 2
    assert [request.method for request in adapter.asked] == ["POST", "GET", "POST", "GET"]

    world.stand_in.faults.extend([Fault.UNAUTHORIZED] * 2)
    assert world.polled(source) == []
    assert source.status(None).last_error == "HTTP 401"


def test_wrong_credentials_are_told(world):
    source, _ = connected(world.stand_in, world.clock, settings(client_id="id", client_secret="wrong"))

    assert world.polled(source) == []
    assert source.status(None).last_error == "no token: HTTP 401"


# --- bad answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.UNAVAILABLE, "HTTP 503"),
        (Fault.SLOW, "no answer within 20 s"),
        (Fault.REFUSED, "429 Too Many Requests"),
    ],
)
def test_a_bad_answer_is_told_and_waited_out_longer_each_time(world, source, fault, error):
    world.stand_in.faults.extend([fault] * 8)
    waits = []
    for _ in range(8):
        assert world.polled(source) == []
        assert error in source.status(None).last_error
        waits.append(source.next_at - world.clock.now)

    for wait, longest in zip(waits, (10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert max(10, longest / 2) <= wait <= longest
    assert len(set(waits[1:])) == 7  # jittered
    assert len(world.polled(source)) == 2
    assert source.status(None).last_error is None


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.CUT_OFF, "no connection, or one that broke"), (Fault.HTML, "an answer in HTML")]
)
def test_an_answer_that_is_no_use_is_waited_out_like_a_good_one_since_it_was_charged(world, source, fault, error):
    world.stand_in.faults.append(fault)

    assert world.polled(source) == []
    status = source.status(None)
    assert error in status.last_error
    assert status.credits_left == ANONYMOUS_CREDITS - 4
    assert source.next_at - world.clock.now == pytest.approx(864, abs=1)
    assert len(world.polled(source)) == 2


def test_a_day_of_answers_that_are_no_use_does_not_run_dry(world):
    world.stand_in.faults.extend([Fault.HTML] * 1_000)

    polls = lived(world, settings(), START + DAY_S)

    assert 0.98 * 400 <= world.charged() <= 400
    assert {error for _, error in polls} == {"an answer in HTML"}


def test_null_states_are_no_error(world, source):
    world.stand_in.faults.append(Fault.NULL)

    assert world.polled(source) == []
    assert source.status(None).last_error is None
    assert len(world.polled(source)) == 2


def test_a_broken_connection_in_the_middle_of_a_box_keeps_what_came(world):
    world.states = [FIJI, SAMOA]
    source, _ = connected(world.stand_in, world.clock, settings(box="-20,170,-10,-170"))
    first = source.poll()
    assert next(first)["icao24"] == "c88092"
    world.stand_in.faults.append(Fault.UNAVAILABLE)

    assert list(first) == []
    assert source.status(None).last_error == "HTTP 503"
    assert [record["icao24"] for record in world.polled(source)] == ["902001"]


def test_a_refusal_is_obeyed_to_the_second(world, source):
    world.polled(source)
    world.clock.now = START + 1_000
    (bucket,) = world.stand_in.buckets.values()
    bucket.left, bucket.renewed_at = 3, START + 22_688

    assert world.polled(source) == []
    assert source.next_at == START + 22_688
    status = source.status(None)
    assert status.credits_left == 0
    assert status.next_poll == status.renewed_at == datetime.fromtimestamp(START + 22_688, UTC)
    assert "429 Too Many Requests" in status.last_error
    world.polled(source)
    assert source.status(None).credits_left == 396


# --- a probe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [settings(), account()])
def test_the_probe_costs_nothing(world, chosen):
    source, adapter = connected(world.stand_in, world.clock, chosen)

    assert source._client.obstacle() is None
    assert world.charged() == 0
    adapter.is_down = True
    assert "no connection" in source._client.obstacle()


def test_the_probe_finds_wrong_credentials_and_no_server(world):
    source, _ = connected(world.stand_in, world.clock, settings(client_id="id", client_secret="wrong"))

    assert source._client.obstacle() == "no token: HTTP 401"
    nowhere = settings().model_copy(update={"base_url": "http://127.0.0.1:1/api"})
    assert "no connection" in Client(nowhere).obstacle()


# --- a day's credits -----------------------------------------------------------------------------------------------


def lived(world: World, chosen, until: float, outages: tuple[tuple[float, float], ...] = ()) -> list[tuple[float, str]]:
    """Polls until a moment, by the source's own pace; when each was, and what went wrong."""
    source, adapter = connected(world.stand_in, world.clock, chosen)
    polls = []
    while source.next_at < until:
        world.clock.now = max(world.clock.now, source.next_at)
        adapter.is_down = any(begin <= world.clock.now - START < end for begin, end in outages)
        list(source.poll())
        polls.append((world.clock.now, source.status(None).last_error or ""))
    return polls


OUTAGES = ((2 * 3600, 5 * 3600), (19 * 3600, 20 * 3600))


@pytest.mark.parametrize("box", ["", "45.8,5.9,47.8,10.5", "-20,170,-10,-170"])
@pytest.mark.parametrize(("chosen", "credits"), [(settings, 400), (account, 4_000)])
def test_a_day_spends_its_credits_and_is_never_refused(chosen, credits, box):
    world = World()

    polls = lived(world, chosen(box=box), START + DAY_S, OUTAGES)

    assert 0.98 * credits <= world.charged() <= credits
    assert not [error for _, error in polls if "429" in error]
    resolution = 10 if credits == 400 else 5
    assert min(b - a for (a, _), (b, _) in pairwise(polls)) >= resolution


def test_a_feeder_has_more_credits_by_the_setting():
    world = World(sizes=(400, 8_000))

    lived(world, account(credits_a_day=8_000), START + DAY_S, OUTAGES)

    assert 0.98 * 8_000 <= world.charged() <= 8_000


@pytest.mark.parametrize(("chosen", "credits"), [(settings, 400), (account, 4_000)])
def test_a_second_day_begins_where_the_credits_are_renewed(chosen, credits):
    """They are at midnight, which nobody has told; the first poll is at 13:45 with all of them."""
    world = World(renewed_at=0.0)
    midnight = START - START % DAY_S + DAY_S

    polls = lived(world, chosen(box=""), midnight + DAY_S - 1)

    assert 0.98 * credits <= world.charged() <= credits  # of the bucket since midnight
    assert not [error for _, error in polls if error]
    usual_s = DAY_S / (credits / 4)
    second_day = [at for at, _ in polls if at >= midnight]
    assert max(b - a for a, b in pairwise(second_day)) < 1.05 * usual_s
    assert min(b - a for a, b in pairwise(second_day)) > 0.95 * usual_s


def test_a_start_with_hardly_any_credits_learns_from_one_refusal_when_there_will_be_more():
    world = World()
    world.stand_in.answer("GET", "/api/states/all", {})
    (bucket,) = world.stand_in.buckets.values()
    bucket.left, bucket.renewed_at = 5, START + 30_000

    polls = lived(world, settings(), START + 30_100)

    refused = [at for at, error in polls if "429" in error]
    assert len(refused) == 1
    assert refused[0] - START <= 1_000
    assert polls[-1] == (START + 30_000, "")


def test_without_the_header_credits_are_counted_here():
    quota = Quota(size=400, poll_cost=4, resolution_s=10)
    for number in range(100):
        assert quota.left == (None if number == 0 else 400 - 4 * number)
        quota.charged(START + 864 * number, 4, None)
    assert quota.left == 0
    quota.charged(START + DAY_S, 4, None)
    assert quota.left == 396
