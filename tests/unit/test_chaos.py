"""The chaos run's own parts: its plan, its account that must find what is wrong, its proxy and its producer."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.chaos.account import account
from benchmarks.chaos.faults import DAMAGE, damage
from benchmarks.chaos.journal import Journal, event_id_in, told
from benchmarks.chaos.plan import EVERYTHING, KINDS, plan
from benchmarks.chaos.producer import BAD, messages
from benchmarks.chaos.proof import _differs
from benchmarks.chaos.proxy import Proxy
from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.sales import SALES
from tests.ports import free_port

# --- the plan


@pytest.mark.parametrize("minutes", [0.5, 3, 10, 60])
def test_every_kind_strikes_and_none_of_a_group_touches_what_another_does(minutes: float) -> None:
    for seed in range(50):
        groups = plan(seed, minutes)
        assert {fault.kind for group in groups for fault in group} == set(KINDS)
        for group in groups:
            touched = [part for fault in group for part in KINDS[fault.kind].touches]
            assert len(touched) == len(set(touched)), group
            assert [fault.after for fault in group] == sorted(fault.after for fault in group)
            for fault in group:
                least, most = KINDS[fault.kind].lasts
                assert least <= fault.lasts <= most
                assert fault.way in KINDS[fault.kind].ways


def test_a_seed_gives_the_same_faults_again_and_another_one_others() -> None:
    assert plan(7, 10) == plan(7, 10)
    assert plan(7, 10) != plan(8, 10)


def test_with_time_each_fault_strikes_alone_and_an_hour_has_eighty_of_them() -> None:
    groups = plan(1, 60)
    assert len(groups) == 80
    assert {len(group) for group in groups} == {1}


def test_three_minutes_hold_every_kind_in_as_few_groups_as_their_conflicts_allow() -> None:
    # The four that touch Kafka's way need a group each, and what restarts everything stands alone.
    on_kafka = [kind for kind in KINDS.values() if "kafka" in kind.touches]
    assert [kind.name for kind in on_kafka if kind.touches == EVERYTHING] == ["restart_everything"]
    assert {len(plan(seed, 3)) for seed in range(50)} == {len(on_kafka)} == {4}


# --- the account: consumed records 0-0 to 0-3, the last one damaged

TOPIC = {(0, 0): "a", (0, 1): "b", (0, 2): "b", (0, 3): f"c{BAD}"}
TOLD = [((0, 0), "a"), ((0, 1), "b"), ((0, 3), f"c{BAD}")]
RECORDS = [((0, 0), "a"), ((0, 1), "b"), ((0, 2), "b")]
REJECTED = [((0, 3), f"c{BAD}")]


def test_an_account_closes_also_with_repeats_and_with_what_was_never_acknowledged() -> None:
    found = account(TOLD, TOPIC, RECORDS, REJECTED, BAD)
    assert found.is_closed
    assert (found.consumed, found.records, found.rejected) == (4, 3, 1)


def test_an_account_finds_each_way_in_which_it_can_fail_to_close() -> None:
    lost = account(TOLD, TOPIC, RECORDS[1:], REJECTED, BAD)
    assert (lost.lost, lost.missing, lost.is_closed) == ([(0, 0)], ["a"], False)

    doubled = account(TOLD, TOPIC, [*RECORDS, RECORDS[2]], REJECTED, BAD)
    assert (doubled.doubled, doubled.is_closed) == ([(0, 2)], False)

    both = account(TOLD, TOPIC, RECORDS, [*REJECTED, ((0, 1), "b")], BAD)
    assert (both.doubled, both.misplaced, both.is_closed) == ([(0, 1)], [(0, 1)], False)

    invented = account(TOLD, TOPIC, [*RECORDS, ((1, 0), "z")], REJECTED, BAD)
    assert (invented.invented, invented.is_closed) == ([(1, 0)], False)

    unread = account([*TOLD, ((0, 4), "d")], TOPIC, RECORDS, REJECTED, BAD)
    assert (unread.unread, unread.missing, unread.is_closed) == ([((0, 4), "d")], ["d"], False)

    swapped = account(TOLD, TOPIC, [((0, 0), "b"), ((0, 1), "a"), RECORDS[2]], REJECTED, BAD)
    assert (swapped.misplaced, swapped.is_closed) == ([(0, 0), (0, 1)], False)


def test_rows_of_two_sinks_are_compared_by_value_however_they_are_spelled() -> None:
    alerts = AIRCRAFT.table("alerts")
    began = datetime(2026, 5, 4, 12, tzinfo=UTC)
    row = {"alert_id": "1", "icao24": "abc", "kind": "7700", "began_at": began, "steepest": -30.0}
    as_text = {**row, "began_at": "2026-05-04T12:00:00Z", "updated_at": "any"}
    assert _differs(alerts, [as_text], [row]) == ""
    assert "steepest" in _differs(alerts, [{**as_text, "steepest": -31.0}], [row])
    assert _differs(alerts, [], [row]) == "0 rows too many, 1 missing"
    assert _differs(alerts, [as_text, as_text], [row]) == "a key twice"
    totals = SALES.table("totals")
    sold = {"product": "1e3", "revenue": Decimal("12.5000")}
    assert _differs(totals, [{"product": "1e3", "revenue": "12.5"}], [sold]) == ""
    assert _differs(totals, [{"product": "1000", "revenue": "12.5"}], [sold]) == "1 rows too many, 1 missing"


# --- the producer and its journal


def test_a_journal_goes_on_with_the_next_number_after_a_kill(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sales.csv")
    for number in (1, 2, 3):
        journal.sent(number)
    journal.acknowledged(1, 40, "sales-0000001")
    journal.refused("_MSG_TIMED_OUT", "sales-0000002")
    journal.close()
    assert Journal(tmp_path / "sales.csv").next_number == 4
    found = told(tmp_path / "sales.csv")
    assert (found.sent, found.acknowledged) == (3, [((1, 40), "sales-0000001")])
    assert found.refused == {"_MSG_TIMED_OUT": 1}


def test_messages_are_numbered_repeated_whole_and_damaged_so_that_they_name_themselves() -> None:
    records = ({"event_id": "own", "product": "TV", "quantity": 1, "price": 1} for _ in iter(int, 1))
    sent = list(islice(messages(SALES, records, 5, random.Random(1)), 1_000))
    numbers = [number for number, _, _ in sent]
    assert sorted(set(numbers)) == list(range(5, 5 + len(set(numbers))))
    by_number: dict[int, set[bytes]] = {}
    for number, _, value in sent:
        by_number.setdefault(number, set()).add(value)
        assert event_id_in(value.decode()).removesuffix(BAD) == f"sales-{number:07d}"
    assert {len(values) for values in by_number.values()} == {1}
    assert 10 < len(sent) - len(by_number) < 60
    assert 10 < sum(BAD in event_id_in(value.decode()) for _, _, value in sent) < 60


# --- faults


def test_a_file_is_damaged_as_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "7"
    for way, left in {"emptied": b"", "halved": b"v1\n{", "garbled": b"v1\n{\0\0\0\0"}.items():
        file.write_bytes(b'v1\n{"a"}')
        damage(file, way)
        assert file.read_bytes() == left


@contextmanager
def echo(port: int) -> Iterator[None]:
    """Gives back what it is sent, one connection after the other."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with closing(connection):
            while data := connection.recv(100):
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_proxy_delays_swallows_refuses_and_mends() -> None:
    port, target = free_port(), free_port()
    proxy = Proxy(port, target)
    with echo(target):
        proxy.start()
        try:
            with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
                client.sendall(b"whole")
                assert client.recv(100) == b"whole"

                proxy.swallow()
                client.sendall(b"kept")
                client.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    client.recv(100)
                proxy.mend()
                client.settimeout(10)
                assert client.recv(100) == b"kept"

                proxy.refuse()
                with pytest.raises(OSError), closing(socket.create_connection(("127.0.0.1", port), 10)) as other:
                    other.sendall(b"x")
                    assert other.recv(100), "a connection that is ended gives nothing"
                    pytest.fail("a refused connection gave an answer")
            proxy.mend()
            with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
                client.sendall(b"again")
                assert client.recv(100) == b"again"
        finally:
            proxy.close()


def test_the_error_that_the_run_waits_for_is_the_one_that_a_job_gives(tmp_path: Path) -> None:
    from headwater.checkpoints import CheckpointError, require_sound  # noqa: PLC0415

    folder = tmp_path / "checkpoints" / "sales" / "live"
    (folder / "offsets").mkdir(parents=True)
    (folder / "offsets" / "3").write_bytes(b"")
    with pytest.raises(CheckpointError) as raised:
        require_sound(folder)
    found = DAMAGE.search(str(raised.value))
    assert found
    assert found["folder"] == str(folder)
