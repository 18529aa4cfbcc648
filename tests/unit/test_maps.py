"""The map as a part: its frames byte by byte, its files, its land, and who may listen."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator

import numpy as np
import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from dashboards.app import SecurityHeaders
from dashboards.hub import Hub
from dashboards.maps import FILES, address, files
from dashboards.maps.frames import Markers, encode
from dashboards.maps.live import Update, add_socket, own_origin
from dashboards.maps.make_land import encoded, unrolled
from dashboards.state import FeedState, Snapshot

LAND_KM2 = 148_940_000
"""Of the Earth's surface (The World Factbook), of which the map lacks 1 Mio around the pole and the ice shelves."""


def test_a_frame_byte_by_byte() -> None:
    markers = Markers(
        marker=np.array([3, 7], np.uint32),
        time=np.array([1_000.5, 2_000.0]),
        heard=np.array([1_100.0, 2_100.0]),
        longitude=np.array([-179.9999999, 180.0]),
        latitude=np.array([52.1234567, -90.0]),
        speed=np.array([88.5, np.nan], np.float32),
        heading=np.array([270.0, 0.0], np.float32),
        state=np.array([0, 2], np.uint8),
        mark=np.array([1, 0], np.uint8),
    )
    expected = (
        b"HWM1" + struct.pack("<I", 2) + struct.pack("<d", 123.0) + struct.pack("<4d", 1000.5, 2000, 1100, 2100)
        + struct.pack("<2I", 3, 7) + struct.pack("<4i", -1_799_999_999, 1_800_000_000, 521_234_567, -900_000_000)
        + struct.pack("<4f", 88.5, float("nan"), 270, 0) + bytes([0, 2, 1, 0])
    )  # fmt: skip
    assert encode(markers, 123.0) == expected


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(files.routes())
    with TestClient(app) as client:
        yield client


def test_files_are_packed_once_and_never_expire(client: TestClient) -> None:
    kinds = {"deck.js": "text/javascript", "land.bin": "application/octet-stream", "towns.json": "application/json",
             "airports.json": "application/json"}  # fmt: skip
    assert set(FILES) == set(kinds)
    for name, kind in kinds.items():
        answer = client.get(address(name))
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert (answer.headers["content-encoding"], "immutable" in answer.headers["cache-control"]) == ("gzip", True)
        plain = client.get(address(name), headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content
        assert files.packed(name) is files.packed(name)


def test_another_version_of_a_file_is_not_answered_with_this_one(client: TestClient) -> None:
    assert client.get("/maps/000000000000/land.bin").status_code == 404
    assert client.get(address("land.bin").replace("land.bin", "sea.bin")).status_code == 404


def test_towns_begin_with_the_largest(client: TestClient) -> None:
    towns = client.get(address("towns.json")).json()
    people = [town[3] for town in towns]
    assert len(towns) > 30_000
    assert people == sorted(people, reverse=True)
    ((_, longitude, latitude, _),) = [town for town in towns if town[0] == "Rotterdam" and town[3] > 500_000]
    assert (longitude, latitude) == (pytest.approx(4.48, abs=0.05), pytest.approx(51.92, abs=0.05))


class Land:
    """The land as the browser reads it."""

    def __init__(self, packed: bytes) -> None:
        data = np.frombuffer(gzip.decompress(packed), "<i4")
        vertices, *counts = data[:4].tolist()
        self.x, self.y = (np.cumsum(data[4 + axis * vertices :][:vertices]) / 1e4 for axis in (0, 1))
        rest = data[4 + 2 * vertices :]
        self.parts = []
        for count, corners in zip(counts, (3, 2, 2), strict=True):
            rows = rest[: count * corners].reshape(count, corners).astype(np.int64)
            rest = rest[count * corners :]
            first = np.cumsum(rows[:, 0])
            self.parts.append(np.column_stack([first, *(first + rows[:, corner] for corner in range(1, corners))]))
        assert not len(rest)

    def holds(self, longitude: float, latitude: float) -> bool:
        corners = np.stack([self.x[self.parts[0]], self.y[self.parts[0]]], axis=-1) - (longitude, latitude)
        turned = np.roll(corners, -1, axis=1)
        sides = corners[..., 0] * turned[..., 1] - corners[..., 1] * turned[..., 0]
        return bool(((sides >= 0).all(axis=1) | (sides <= 0).all(axis=1)).any())


@pytest.fixture(scope="module")
def land() -> Land:
    return Land(files.LAND.read_bytes())


def test_the_land_is_where_it_is(land: Land) -> None:
    assert files.LAND.stat().st_size < 1_500_000
    on_land = {
        "Utrecht": (5.12, 52.09), "Austin": (-97.74, 30.27), "Chukotka, east of 180": (-172.5, 66.3),
        "Chukotka, west of 180": (178.5, 67.5), "Taveuni in Fiji": (-179.97, -16.85), "South Pole's ice": (0.0, -80.0),
    }  # fmt: skip
    at_sea = {"North Sea": (3.0, 54.0), "Atlantic": (-30.0, 40.0), "Pacific at 180": (180.0, 20.0), "Null": (0.0, 0.0)}
    assert {name for name, place in on_land.items() if not land.holds(*place)} == set()
    assert {name for name, place in at_sea.items() if land.holds(*place)} == set()


def test_the_land_has_its_size(land: Land) -> None:
    """Lambert's cylindrical projection keeps areas."""
    x, y = np.radians(land.x) * 6371.0088, np.sin(np.radians(land.y)) * 6371.0088
    (ax, bx, cx), (ay, by, cy) = x[land.parts[0]].T, y[land.parts[0]].T
    area = np.abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)).sum() / 2
    assert area == pytest.approx(LAND_KM2, rel=0.03)


def test_no_line_crosses_the_whole_map(land: Land) -> None:
    for lines in land.parts[1:]:
        assert np.abs(np.diff(land.x[lines], axis=1)).max() < 180


def test_a_ring_over_the_date_line_is_cut_there() -> None:
    assert unrolled([(179, 0), (-179, 0), (-179, 2), (179, 0)]) == [(179, 0), (181, 0), (181, 2), (179, 0)]
    square = [[178, 10], [2, 0], [0, 2], [-2, 0], [0, -2]]
    beyond = [[square[0][0] + 180, 100], *([step[0], step[1]] for step in square[1:])]
    topology = {
        "transform": {"scale": [1, 1], "translate": [-179, -90]},
        "arcs": [beyond],
        "objects": {
            "land": {"geometries": [{"type": "MultiPolygon", "arcs": [[[0]]]}]},
            "countries": {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "arcs": [[0]]}]},
        },
    }  # from 179 to 181 degrees, 10 to 12 north
    found = Land(gzip.compress(encoded(orjson.loads(orjson.dumps(topology)))))
    assert (found.holds(179.5, 11), found.holds(-179.5, 11), found.holds(0, 11)) == (True, True, False)


class Once:
    """A source with one frame."""

    def update(self, snapshot: Snapshot, version: int) -> Update:
        return Update([[0, "a"]], b"frame", 1) if version == 0 else Update([], None, 1)


@pytest.fixture
def listened() -> TestClient:
    app, hub = FastAPI(), Hub()
    hub.publish(FeedState({}).snapshot(1.0))
    add_socket(app, "/maps/test", hub, Once())
    return TestClient(app)


def test_names_come_before_their_positions(listened: TestClient) -> None:
    with listened.websocket_connect("/maps/test", headers={"Origin": "http://testserver"}) as socket:
        assert socket.receive_json() == [[0, "a"]]
        assert socket.receive_bytes() == b"frame"


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://elsewhere"}, {"Origin": "http://testserver.evil"}])
def test_pages_of_other_servers_may_not_listen(listened: TestClient, headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect), listened.websocket_connect("/maps/test", headers=headers):
        pass


def test_the_origin_is_host_and_port() -> None:
    assert own_origin("http://127.0.0.1:8050", "127.0.0.1:8050")
    assert own_origin("https://fleet.example", "fleet.example")
    assert not own_origin("http://127.0.0.1:8051", "127.0.0.1:8050")
    assert not own_origin("null", "127.0.0.1:8050")


@pytest.mark.parametrize(
    ("tiles", "connect"),
    [("", "connect-src 'self';"), ("https://tiles.example:8443", "connect-src 'self' https://tiles.example:8443;")],
)
def test_the_policy_lets_in_the_host_of_the_tiles_alone(tiles: str, connect: str) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("a page")(scope, receive, send)

    policy = TestClient(SecurityHeaders(page, lambda: [], tiles)).get("/").headers["Content-Security-Policy"]
    assert connect in policy
    assert policy.count("tiles.example") == (2 if tiles else 0)
    assert "script-src 'self';" in policy
