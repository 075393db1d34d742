"""H5 files: the rules of ASC files, and an error that names the row at fault."""

import h5py
import numpy as np
import pytest

from jaxdend import MorphologyError
from jaxdend.morphology import MorphologyWarning, read_morphology

POINTS = np.array(
    [[5, 0, 0, 0.1], [1, 3, 0, 0.1], [-6, 0, 0, 0.1], [0, -4, 0, 0.1]]  # the soma
    + [[5, 0, 0, 2], [50, 0, 0, 2]]
    + [[50, 0, 0, 1], [90, 30, 0, 1]]
    + [[50, 0, 0, 1], [90, -30, 0, 1]]
)
STRUCTURE = np.array([[0, 1, -1], [4, 3, 0], [6, 3, 1], [8, 3, 1]])
ASC = (
    '("CellBody" (5 0 0 0.1) (1 3 0 0.1) (-6 0 0 0.1) (0 -4 0 0.1))\n'
    "((Dendrite) (5 0 0 2) (50 0 0 2) ((90 30 0 1) | (90 -30 0 1)))\n"
)


def write(path, points=POINTS, structure=STRUCTURE, family=None):
    with h5py.File(path, "w") as file:
        file["points"], file["structure"] = np.asarray(points), np.asarray(structure)
        if family is not None:
            file.create_group("metadata").attrs["cell_family"] = np.array([family], np.uint32)
    return path


def test_as_asc(tmp_path):
    (tmp_path / "cell.asc").write_text(ASC)
    asc = read_morphology(tmp_path / "cell.asc")
    for family in (None, 0):
        for kind in (float, np.float32):
            path = write(tmp_path / "cell.h5", POINTS.astype(kind), family=family)
            morph = read_morphology(path, strict=True)
            assert morph.name == asc.name
            np.testing.assert_array_equal(morph.points, asc.points)
    with path.open("rb") as file:
        assert read_morphology(file).n_sections == 4


def test_format_2(tmp_path):
    path = tmp_path / "cell.h5"
    with h5py.File(path, "w") as file:
        file["neuron1/raw/points"] = POINTS
        file["neuron1/structure/raw"] = STRUCTURE[:, [0, 2]]
        file["neuron1/structure/sectiontype"] = STRUCTURE[:, [1]]
    one = read_morphology(write(tmp_path / "one.h5"))
    np.testing.assert_array_equal(read_morphology(path, strict=True).points, one.points)


def test_somata(tmp_path):
    single = np.concatenate([[[0, 0, 0, 10]], POINTS[4:]])
    rows = STRUCTURE - np.array([[3, 0, 0]]) * (np.arange(4) > 0)[:, None]
    morph = read_morphology(write(tmp_path / "cell.h5", single, rows), strict=True)
    np.testing.assert_array_equal(morph.section_points("soma[0]")[:, 0], [-5, 0, 5])
    two = np.concatenate([[[-4, 0, 0, 10], [4, 0, 0, 8]], POINTS[4:]])
    rows = STRUCTURE - np.array([[2, 0, 0]]) * (np.arange(4) > 0)[:, None]
    with pytest.warns(MorphologyWarning, match="two points is read as a cone"):
        morph = read_morphology(write(tmp_path / "cell.h5", two, rows))
    assert morph.lengths[0] == 8
    none = STRUCTURE[1:] - np.array([[4, 0, 1]])
    none[0, 2] = -1
    with pytest.warns(MorphologyWarning, match="no soma: the root is a section of type 3"):
        morph = read_morphology(write(tmp_path / "cell.h5", POINTS[4:], none))
    assert morph.name == ("dend[0]", "dend[1]", "dend[2]")
    # the outline in two rows
    split = np.concatenate([[[0, 1, -1], [2, 1, 0]], STRUCTURE[1:] + [[0, 0, 1]]])
    split[2, 2] = 0
    morph = read_morphology(write(tmp_path / "cell.h5", POINTS, split), strict=True)
    np.testing.assert_array_equal(morph.points, read_morphology(write(tmp_path / "b.h5")).points)


def test_glia_and_other_types_are_doubtful(tmp_path):
    path = write(tmp_path / "cell.h5", family=1)
    with pytest.warns(MorphologyWarning, match="this is glia"):
        read_morphology(path)
    with pytest.raises(MorphologyError, match="strict=True(?s:.*)glia"):
        read_morphology(path, strict=True)
    for kind in (0, 20):
        rows = STRUCTURE.copy()
        rows[1:, 1] = kind
        path = write(tmp_path / "cell.h5", structure=rows)
        with pytest.warns(MorphologyWarning, match=rf"of the types {kind},.*types=\{{{kind}:"):
            morph = read_morphology(path)
        assert morph.name[1:] == tuple(f"dend_{kind}[{i}]" for i in range(3))
        assert "apic[2]" in read_morphology(path, types={kind: "apical"}, strict=True).name


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (2, [66, 3, 1], r"row 2 of structure, \[66, 3, 1\], begins at a point outside 0..9"),
        (1, [-4, 3, 0], "row 1 .*outside 0..9"),
        (3, [2, 3, 1], "row 3 .*begins before the row before it"),
        (2, [6, 3, 3], "row 2 .*a parent that does not come before it"),
        (2, [6, -3, 1], "row 2 .*a type < 0"),
    ],
)
def test_damaged_rows_are_named(row, values, message, tmp_path):
    rows = STRUCTURE.copy()
    rows[row] = values
    with pytest.raises(MorphologyError, match=rf"cell\.h5: expected a complete H5.*{message}"):
        read_morphology(write(tmp_path / "cell.h5", structure=rows))


def test_other_damage(tmp_path):
    path = tmp_path / "cell.h5"
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(MorphologyError, match="no datasets 'points' and 'structure', but other"):
        read_morphology(path)
    nan = POINTS.astype(float)
    nan[5, 1] = np.nan
    with pytest.raises(MorphologyError, match="point 5, .* is not finite"):
        read_morphology(write(path, nan))
    with pytest.raises(MorphologyError, match=r"points of shape \(10, 3\)"):
        read_morphology(write(path, POINTS[:, :3]))
    with pytest.raises(MorphologyError, match=r"structure of \(12,\)"):
        read_morphology(write(path, POINTS, STRUCTURE.ravel()))
    zero = POINTS.copy()
    zero[5, 3] = 0
    with pytest.raises(MorphologyError, match=r"must be > 0 µm; .*at \[50\.0, 0\.0, 0\.0\]"):
        read_morphology(write(path, zero))
