"""Designs: any part of one is that part of the whole."""

import json
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import qmc

from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.sweep import Design, grid, random, read_table, sobol, table

RANGES = {"g": Parameter(1e-4, 1e-1), "e": (-90.0, -50.0), "x": (0.0, 1.0)}


@st.composite
def designs(draw) -> Design:
    """Products of one to three factors of every kind, with distinct names."""
    made = None
    for k in range(draw(st.integers(1, 3))):
        n, seed = draw(st.integers(1, 20)), draw(st.integers(0, 3))
        kind = draw(st.sampled_from(["grid", "labels", "random", "sobol", "table"]))
        part = {
            "grid": lambda k=k, n=n: grid({f"a{k}": np.arange(n), f"b{k}": [0.5, 1.5, 2.5]}),
            "labels": lambda k=k, n=n: grid({f"m{k}": ["p", "q"], f"a{k}": np.linspace(0, 1, n)}),
            "random": lambda k=k, n=n, s=seed: random({f"r{k}": (0.0, 1.0)}, n, s),
            "sobol": lambda k=k, n=n, s=seed: sobol({f"s{k}": (0, 1), f"t{k}": (2, 3)}, n, s),
            "table": lambda k=k, n=n: table({f"u{k}": np.arange(n) ** 2, f"v{k}": np.ones(n)}),
        }[kind]()
        made = part if made is None else made * part
    assert made is not None
    return made


@settings(deadline=None, max_examples=60)
@given(designs(), st.data())
def test_any_part_equals_that_part_of_the_whole(design, data):
    whole = design.points(np.arange(design.n))
    some = data.draw(st.lists(st.integers(0, design.n - 1), min_size=0, max_size=20))
    part = design.points(np.array(some, int))
    assert tuple(part) == design.names == tuple(whole)
    for name, column in part.items():
        np.testing.assert_array_equal(column, whole[name][some])


@settings(deadline=None, max_examples=60)
@given(designs())
def test_groups_cover_the_points_once_and_share_their_points(design):
    edges = [0, *(stop for _, _, stop in design.groups)]
    assert [start for _, start, _ in design.groups] == edges[:-1]
    assert edges[-1] == design.n
    assert len({tuple(labels.items()) for labels, _, _ in design.groups}) == len(design.groups)
    first = design.points(np.arange(edges[1]))
    for labels, start, stop in design.groups:
        assert design.labels(start) == design.labels(stop - 1) == labels
        for name, column in design.points(np.arange(start, stop)).items():
            np.testing.assert_array_equal(column, first[name])


@settings(deadline=None, max_examples=30)
@given(designs())
def test_a_header_is_json_and_identifies_the_points(design):
    header = design.header()
    assert json.loads(json.dumps(header)) == header
    assert header["points"] == design.n
    other = design * grid({"new": [1.0]})
    assert other.header() != header


def test_grid_order_and_types():
    design = grid({"a": [1, 2], "file": ["x.swc", "y.swc"], "b": [0.1, 0.2, 0.3]})
    assert design.n == 12
    assert design.names == ("a", "b")
    assert [labels for labels, _, _ in design.groups] == [{"file": "x.swc"}, {"file": "y.swc"}]
    points = design.points(np.arange(6))
    assert points["a"].dtype.kind == "i"
    np.testing.assert_array_equal(points["a"], [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(points["b"], [0.1, 0.2, 0.3] * 2)


def test_fixed_numbers_make_groups_and_keep_their_type():
    design = grid({"seed": range(3), "g": [1.0, 2.0]}, fixed=["seed"])
    assert design.groups[2] == ({"seed": 2}, 4, 6)
    only = grid({"seed": [4, 5]}, fixed=["seed"])
    assert only.names == ()
    assert only.groups == [({"seed": 4}, 0, 1), ({"seed": 5}, 1, 2)]
    assert only.points([0, 1]) == {}


def test_sobol_is_scipys_and_balanced():
    design = sobol(RANGES, 256, seed=3)
    points = design.points(np.arange(256))
    known = qmc.Sobol(3, scramble=True, bits=32, rng=3).random(256)
    np.testing.assert_array_equal(points["x"], known[:, 2])
    np.testing.assert_allclose(points["e"], -90 + 40 * known[:, 1])
    np.testing.assert_allclose(np.log10(points["g"]), -4 + 3 * known[:, 0])
    for column in known.T:  # every 1/256 of the range holds one point
        np.testing.assert_array_equal(np.sort((column * 256).astype(int)), np.arange(256))


def test_random_points_are_uniform_and_independent():
    points = random(RANGES, 20_000, seed=1).points(np.arange(20_000))
    x = (points["e"] + 90) / 40
    y = np.log10(points["g"] / 1e-4) / 3
    for u in (x, y, points["x"]):
        assert abs(u.mean() - 0.5) < 0.01
        assert np.all(np.abs(np.histogram(u, 20, (0, 1))[0] - 1000) < 150)
    assert np.all(np.abs(np.corrcoef([x, y, points["x"]]) - np.eye(3)) < 0.03)
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.03
    other = random(RANGES, 20_000, seed=2).points([0, 1])
    assert not np.any(other["x"] == points["x"][:2])


def test_a_billion_points_are_never_made():
    start = time.perf_counter()
    design = grid({"m": ["a", "b"]}) * random(RANGES, 10**9) * grid({"w": np.linspace(0, 1, 7)})
    assert design.n == 14 * 10**9
    last = design.points(np.array([design.n - 1, 0]))
    assert last["w"].tolist() == [1.0, 0.0]
    design.header()
    assert time.perf_counter() - start < 1.0


def test_a_parameter_space_is_a_box():
    space = ParameterSpace({"g": Parameter(0.1, 10.0, unit="S/cm2")})
    design = random(space, 100)
    points = design.points(np.arange(100))["g"]
    assert 0.1 <= points.min() < 0.3
    assert 3.0 < points.max() < 10.0
    assert design.axes[0].unit == "S/cm2"


def test_tables_from_files(tmp_path):
    csv = tmp_path / "points.csv"
    csv.write_text("HH.gnabar,stimulus.1.amplitude\n0.1,1\n0.2,2\n", encoding="utf-8")
    design = read_table(csv)
    assert design.names == ("HH.gnabar", "stimulus.1.amplitude")
    np.testing.assert_array_equal(design.points([1])["HH.gnabar"], [0.2])
    np.savez(tmp_path / "points.npz", a=np.arange(4.0))
    assert read_table(tmp_path / "points.npz").n == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid({}), "needs a dict"),
        (lambda: grid({"a": []}), "axis 'a'"),
        (lambda: grid({"a": [1.0, np.nan]}), "'a' holds values that are not finite"),
        (lambda: grid({"a": ["x", "x"]}), "holds a value twice"),
        (lambda: grid({"a": [1]}, fixed=["b"]), "'b' is not among"),
        (lambda: grid({"a": [1]}) * grid({"a": [2]}), r"varies \['a'\] twice"),
        (lambda: random({"a": (1.0, 0.0)}, 3), "'a'.*low must be less"),
        (lambda: random({"a": 3.0}, 3), r"'a' needs \(low, high\)"),
        (lambda: sobol(RANGES, 0), "points >= 1"),
        (lambda: sobol(RANGES, 2**33), "ends after 2.32 points"),
        (lambda: random(RANGES, 3, seed=-1), "seed >= 0"),
        (lambda: table({"a": [1, 2], "b": [1]}), "one length"),
        (lambda: table({"a": ["x"]}), "hold text"),
        (lambda: read_table("points.txt"), "expected a table"),
    ],
)
def test_what_is_no_design_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_points_outside_are_refused():
    design = grid({"a": [1, 2]})
    for index in (-1, 2):
        with pytest.raises(IndexError, match=f"points 0 to 1; got {index}"):
            design.points([index])
    with pytest.raises(IndexError, match="whole numbers"):
        design.points([0.5])
