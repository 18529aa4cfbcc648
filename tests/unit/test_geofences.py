"""Areas from a GeoJSON file: what they hold, and what is said about a file that is wrong."""

import json
from collections import Counter

import pytest

from headwater.errors import SettingsError
from headwater.geofences import load_geofences
from headwater.settings import Settings

SQUARE = [[4, 51], [5, 51], [5, 52], [4, 52], [4, 51]]
"""Longitude, latitude."""
HOLE = [[4.4, 51.4], [4.4, 51.6], [4.6, 51.6], [4.6, 51.4], [4.4, 51.4]]


def feature(geometry: object, **properties: object) -> dict:
    return {"type": "Feature", "properties": {"name": "Yard", "kind": "depot"} | properties, "geometry": geometry}


def polygon(*rings: list) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.fixture
def load(tmp_path):
    """Load features, or a file's whole text."""

    def load(*content):
        path = tmp_path / "fences.geojson"
        is_text = isinstance(content[0], str)
        path.write_text(content[0] if is_text else json.dumps({"type": "FeatureCollection", "features": content}))
        return load_geofences(path)

    return load


# --- what an area holds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latitude", "longitude", "inside"),
    [
        (51.2, 4.2, True),
        (51, 4, True),  # a vertex
        (51.5, 4, True),  # an edge
        (52, 4.7, True),
        (51.5, 3.999999, False),
        (52.000001, 4.5, False),
        (51.5, 4.5, False),  # in the hole
        (51.5, 4.4, True),  # on the hole's edge
        (4.5, 51.5, False),  # latitude is first here, and second in the file
    ],
)
def test_an_area_holds_its_inside_and_its_edge(load, latitude, longitude, inside):
    (fence,) = load(feature(polygon(SQUARE, HOLE)))

    assert fence.holds(latitude, longitude) is inside


def test_an_area_of_two_parts_that_is_cut_at_the_date_line(load):
    east = [[179, -1], [180, -1], [180, 1], [179, 1], [179, -1]]
    west = [[-180, -1], [-179, -1], [-179, 1], [-180, 1], [-180, -1]]
    (fence,) = load(feature({"type": "MultiPolygon", "coordinates": [[east], [west]]}))

    assert [fence.holds(0, longitude) for longitude in (179.5, 180, -180, -179.5)] == [True] * 4
    assert not any(fence.holds(0, longitude) for longitude in (178.9, -178.9, 0))


def test_areas_keep_the_order_of_the_file_and_may_lie_in_each_other(load):
    inner = polygon([[4.1, 51.1], [4.2, 51.1], [4.2, 51.2], [4.1, 51.1]])

    fences = load(feature(polygon(SQUARE)), feature(inner, name="Gate", kind="no_go"))

    assert [(fence.name, fence.kind) for fence in fences] == [("Yard", "depot"), ("Gate", "no_go")]
    assert all(fence.holds(51.12, 4.15) for fence in fences)


# --- files that are wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no list of `features`"),
        ('{"type": "FeatureCollection"}', "no list of `features`"),
    ],
)
def test_a_file_that_is_no_collection_of_features(load, content, message):
    with pytest.raises(SettingsError, match=message) as error:
        load(content)

    assert "fences.geojson" in str(error.value)


OUTLINE = feature(polygon(SQUARE))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "feature 2: expected a polygon with the properties"),
        ({"type": "Feature", "geometry": polygon(SQUARE)}, r"feature 2: expected a polygon .*KeyError\('properties'\)"),
        (
            feature(polygon(SQUARE)) | {"properties": {"name": "Gate"}},
            r"feature 2: expected a polygon .*KeyError\('kind'\)",
        ),
        (feature(None), "feature 2: expected a polygon"),
        (feature(polygon(SQUARE[:2])), "feature 2: expected a polygon"),
        (feature({"type": "Star", "coordinates": []}), "feature 2: expected a polygon"),
        (feature(polygon(SQUARE), name=7), "feature 2: `name` is to be a text"),
        (feature(polygon(SQUARE), name=""), "feature 2: `name` is to be a text"),
        (feature(polygon(SQUARE), name="Gate", kind="harbour"), r"feature 2 \(Gate\): `kind` .* not 'harbour'"),
        (feature({"type": "Point", "coordinates": [4, 51]}, name="Gate"), r"feature 2 \(Gate\): .* not Point"),
        (feature(polygon(), name="Gate"), r"feature 2 \(Gate\): expected a Polygon or MultiPolygon"),
        (
            feature(polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]), name="Gate"),
            r"feature 2 \(Gate\): its outline crosses itself",
        ),
        (feature(polygon(SQUARE)), "more than one area is called Yard"),
    ],
)
def test_an_area_that_is_wrong_is_named_with_its_file(load, wrong, message):
    with pytest.raises(SettingsError, match=message) as error:
        load(OUTLINE, wrong)

    assert "fences.geojson" in str(error.value)


def test_a_file_that_is_missing_is_named_with_its_setting(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.geojson \(setting trucks\.geofences\): No such file"):
        load_geofences(tmp_path / "none.geojson")


# --- the file that comes with the project --------------------------------------------------------------------------


def test_the_projects_own_areas():
    fences = load_geofences(Settings().trucks.geofences)

    kinds = Counter(fence.kind for fence in fences)
    assert kinds["depot"] >= 2
    assert kinds["customer"] >= 4
    assert kinds["no_go"] >= 1
    assert [fence.name for fence in fences if fence.holds(51.885, 4.435)] == ["Rotterdam Waalhaven"]
