"""Every kind of wrong value is named, with what the key takes."""

import math

import pytest

from jaxdend import ConfigError
from jaxdend.config.schema import (
    Key,
    Place,
    check_table,
    check_tables,
    flag,
    integer,
    names,
    number,
    number_or,
    numbers,
    pair,
    places,
    read_toml,
    text,
)

KEYS = {
    "length": Key(number("µm", above=0.0), required=True),
    "steps": Key(integer(least=1), default=10),
    "kind": Key(text(("Step", "Ramp"))),
}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "model.toml", "[cell]")


def test_defaults_are_filled_in_and_absent_keys_left_out(place):
    assert check_table(place, {"length": 3.0}, KEYS) == {"length": 3.0, "steps": 10}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lenght": 3.0}, "unknown key 'lenght'; did you mean 'length'?"),
        ({}, "key 'length' is missing"),
        ({"length": "3"}, "length: expected a number > 0 in µm, got '3'"),
        ({"length": True}, "length: expected a number > 0 in µm, got True"),
        ({"length": math.nan}, "length: expected a number > 0 in µm, got nan"),
        ({"length": 0}, "length: expected a number > 0 in µm, got 0"),
        ({"length": 1.0, "steps": 1.5}, "steps: expected a whole number, got 1.5"),
        ({"length": 1.0, "steps": 0}, "steps: expected a whole number >= 1, got 0"),
        ({"length": 1.0, "kind": "Stop"}, "kind: did you mean 'Step'? expected one of Step, Ramp"),
        ([1], "expected a table, got [1]"),
    ],
)
def test_errors_name_file_table_and_key(place, table, message):
    with pytest.raises(ConfigError) as caught:
        check_table(place, table, KEYS)
    assert str(caught.value).startswith(f"{place.file}: [cell]: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (flag(), [True, False], [1, "yes"]),
        (number(least=0.0, most=1.0), [0, 0.5, 1], [-1e-9, 1.1, math.inf, None, [1.0]]),
        (number_or("rest"), [-65.0, "rest"], ["resting", math.nan, True]),
        (numbers(least=0.0), [1, [1.0, 2.0], [[1.0], [2.0]]], [[], [1.0, "2"], -1.0, True]),
        (pair(), [[0.1, 0.2]], [[0.2, 0.1], [0.1], [0.1, 0.1], 0.1, [0.1, "a"]]),
        (text(), ["a"], ["", 1]),
        (integer(), [-3], [True, 1.0]),
    ],
)
def test_checks_accept_and_refuse(check, good, bad):
    assert [check(value) for value in good] == good
    for value in bad:
        with pytest.raises(ValueError, match="expected"):
            check(value)


def test_names_and_places_become_lists():
    assert names()("soma") == ["soma"]
    assert places()({"site": 3}) == places()(3) == [{"site": 3}]
    assert places()("dend[0]") == [{"region": "dend[0]"}]
    assert places()(["soma", {"site": 3}]) == [{"region": "soma"}, {"site": 3}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "expected a place"),
        (True, "expected a place"),
        ([], "at least one place"),
        ({"regoin": "soma"}, "did you mean 'region'"),
        ({"region": 1}, "region has a value of the wrong type"),
        ({"region": "apical", "distance": "far"}, "distance has a value of the wrong type"),
        ({"site": 1, "x": 0.5}, "stands alone"),
        ({"xyz": [1.0, 2.0]}, "xyz has a value of the wrong type"),
    ],
)
def test_wrong_places(value, message):
    with pytest.raises(ValueError, match=message):
        places()(value)


def test_one_table_stands_for_an_array_of_one(place):
    assert check_tables(place.within("[[insert]]"), {"a": 1}) == [{"a": 1}]
    with pytest.raises(ConfigError, match=r"array of tables written \[\[insert\]\], got 3"):
        check_tables(place.within("[[insert]]"), 3)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[cell\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not valid TOML: .*line 1"):
        read_toml(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_toml(broken)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path)
