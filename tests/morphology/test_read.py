"""Reading files: the geometry is NEURON's, and every bad file gets an error that helps."""

import time

import numpy as np
import pytest

import neuron_geometry as nrn
from jaxdend import MorphologyError
from jaxdend.cable.compartments import discretise, ncomp_from_max_length
from jaxdend.morphology import read_morphology

GOOD = """\
# a soma and two dendrites
1 1 0 0 0 6 -1
2 3 7 0 0 1 1
3 3 20 1 0 0.8 2
4 4 0 8 0 1.2 1
5 4 0 30 0 0.9 4
6 4 5 50 0 0.5 5
7 4 -5 50 0 0.5 5
"""

# name -> (file, words that the error must hold)
BAD_SWC = {
    "cycle": (
        GOOD.replace("4 4 0 8 0 1.2 1", "4 4 0 8 0 1.2 6"),
        ["cycle of 3", "line 5", "parent"],
    ),
    "own parent": (GOOD.replace("0.8 2", "0.8 3"), ["its own parent", "line 4"]),
    "only a cycle": (GOOD.replace("6 -1", "6 3"), ["cycle", "line 2"]),
    "missing parent": (GOOD.replace("0.5 5\n7", "0.5 55\n7"), ["parent 55", "line 7"]),
    "zero radius": (GOOD.replace(" 1 1\n3", " 0 1\n3"), ["radius", "> 0", "line 3", "radius="]),
    "negative radius": (GOOD.replace(" 0.8 2", " -0.8 2"), ["radius", "> 0", "line 4"]),
    "not a number": (GOOD.replace("20 1", "20 one"), ["y (column 4)", "'one'", "line 4"]),
    "nan": (GOOD.replace("20 1", "20 nan"), ["finite", "line 4"]),
    "id not whole": (GOOD.replace("3 3 20", "3.5 3 20"), ["whole", "line 4"]),
    "negative id": (GOOD.replace("7 4 -5", "-7 4 -5"), ["ids must be >= 0", "line 8"]),
    "empty": ("", ["no samples", "seven columns"]),
    "only comments": ("# nothing\n\n", ["no samples"]),
    "duplicate id": (GOOD.replace("6 4 5", "5 4 5"), ["id 5", "twice", "line 6", "line 7"]),
    "negative type": (GOOD.replace("3 3 20", "3 -3 20"), ["types must be >= 0", "line 4"]),
    "soma without length": (
        "1 1 0 0 0 6 -1\n2 1 0 0 0 6 1\n3 3 7 0 0 1 2\n4 3 9 0 0 1 3\n",
        ["length 0", "line 2", "repair='soma'"],
    ),
    "six columns": (GOOD.replace(" 0.8 2", " 0.8"), ["seven columns", "got 6", "line 4"]),
}


@pytest.mark.parametrize("name", BAD_SWC)
def test_bad_swc_says_file_line_and_mend(name, tmp_path):
    text, words = BAD_SWC[name]
    path = tmp_path / "cell.swc"
    path.write_text(text)
    with pytest.raises(MorphologyError) as caught:
        read_morphology(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) <= 10
    for word in words:
        assert word in message
    assert isinstance(caught.value, ValueError)


def test_missing_file_folder_and_ending(tmp_path):
    with pytest.raises(MorphologyError, match="no such file"):
        read_morphology(tmp_path / "none.swc")
    (tmp_path / "folder.swc").mkdir()
    with pytest.raises(MorphologyError, match="a folder"):
        read_morphology(tmp_path / "folder.swc")
    for name in ("cell.obj", "cell"):
        with pytest.raises(MorphologyError, match="expected a name that ends in .swc, .asc or .h5"):
            read_morphology(tmp_path / name)


CONTOUR = (
    '("CellBody" (CellBody)\n (0 0 0 1) (9 0 0 1) (12 5 0 1) (9 10 0 1) (0 10 0 1) (-3 5 0 1))\n'
)
ASC = (
    CONTOUR
    + """((Dendrite)
 (5 10 0 1.5) (5 15 0 1) (5 25 1 0.8)
 (
  (6 30 1 0.6) (8 45 2 0.5)
 |
  (3 30 1 0.7) (1 45 0 0.5)
 )
)
((Axon) (5 0 0 1) (5 -20 0 0.9))
((Apical) (-4 5 0 1.1) (-30 5 0 0.9))
"""
)


@pytest.mark.parametrize("lines", [1, 4, 6, 8])
def test_asc_cut_off(lines, tmp_path, capfd):
    path = tmp_path / "cell.asc"
    path.write_text("\n".join(ASC.splitlines()[:lines]))
    with pytest.raises(MorphologyError, match=r"cell\.asc, line \d+: .*[Tt]he file may be cut off"):
        read_morphology(path)
    assert capfd.readouterr() == ("", "")


def test_real_asc_cut_in_half(reference, tmp_path):
    text = (reference / "hay2011_cell1.asc").read_text()
    path = tmp_path / "half.asc"
    path.write_text(text[: len(text) // 2])
    with pytest.raises(MorphologyError, match=r"line 37\d\d: expected a complete ASC"):
        read_morphology(path)


def test_other_bad_asc(tmp_path):
    path = tmp_path / "cell.asc"
    path.write_text(ASC.replace(CONTOUR, ""))
    with pytest.raises(
        MorphologyError, match="lines 2, 9, 10: no soma: expected a CellBody .*3 tr"
    ):
        read_morphology(path)
    path.write_text(ASC.replace("(5 25 1 0.8)", "(5 25 1 0)"))
    with pytest.raises(
        MorphologyError, match=r"line 4: every diameter must be > 0 µm; 1 .*radius="
    ):
        read_morphology(path)
    for wrong in ("(5 25 1)(", "(5 25)(1 2 3 4 5)", "(5 25 1 0.8) 7", "(", ")", '"'):
        path.write_text(ASC.replace("(5 25 1 0.8)", wrong))
        with pytest.raises(MorphologyError, match=r"cell\.asc, lines? \d+"):
            read_morphology(path)


def test_broken_h5(tmp_path, capfd):
    path = tmp_path / "cell.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 200)
    with pytest.raises(MorphologyError, match="expected a complete H5 morphology"):
        read_morphology(path)
    path.write_text("not HDF5")
    with pytest.raises(MorphologyError, match="damaged or cut off"):
        read_morphology(path)
    assert capfd.readouterr() == ("", "")


def same_as_neuron(path):
    """Names, points, parents: identical to Import3d's. Returns the morphology and NEURON's."""
    cell, sections = nrn.import_file(path)
    morph = read_morphology(path)
    assert set(morph.name) == set(sections)
    joints = nrn.joints(sections)
    for i, name in enumerate(morph.name):
        np.testing.assert_array_equal(nrn.points(sections[name]), morph.section_points(i), name)
        p = morph.parent_section[i]
        assert joints[name] == (None if p < 0 else (morph.name[p], morph.parent_x[i])), name
    return morph, cell, sections


@pytest.mark.parametrize(
    "name",
    [
        "Rorb_325404214_m",
        "Scnn1a_473845048_m",
        "Nr5a1_471087815_m",
        "Pvalb_470522102_m",
        "Pvalb_469628681_m",
    ],
)
def test_bmtk_reconstructions_as_neuron(name, bmtk_swc):
    morph, _, sections = same_as_neuron(bmtk_swc(name))
    assert list(morph.name) == list(sections)  # the same order too
    np.testing.assert_allclose(morph.lengths, [sections[n].L for n in morph.name], rtol=1e-12)


def test_asc_as_neuron(reference, capfd):
    morph, _, sections = same_as_neuron(reference / "hay2011_cell1.asc")
    assert list(morph.name) == list(sections)
    assert morph.lengths[0] == pytest.approx(23.169408, abs=1e-6)
    assert morph.areas[0] == pytest.approx(1131.389059, rel=1e-7)
    assert [morph.region(r).sum() for r in ("soma", "axon", "basal", "apical")] == [1, 1, 84, 109]


def test_small_asc_as_neuron(tmp_path):
    path = tmp_path / "cell.asc"
    path.write_text(ASC)
    same_as_neuron(path)


def test_h5_as_asc(reference, tmp_path):
    morphio = pytest.importorskip("morphio")
    path = tmp_path / "cell.h5"
    morphio.Morphology(reference / "hay2011_cell1.asc").as_mutable().write(path)
    ours, asc = read_morphology(path), read_morphology(reference / "hay2011_cell1.asc")
    assert ours.name == asc.name
    np.testing.assert_array_equal(ours.points, asc.points)
    np.testing.assert_array_equal(ours.parent_section, asc.parent_section)


# Somata of every shape that Import3d tells apart, with dendrites on each of their samples.
SOMATA = {
    "one point": [(1, 0, 0, 0, 6, -1)],
    "neuromorpho": [(1, 0, 0, 0, 6, -1), (1, 0, -6, 0, 6, 1), (1, 0, 6, 0, 6, 1)],
    "two arms": [(1, 0, 0, 0, 6, -1), (1, 0, -9, 0, 5, 1), (1, 0, 6, 0, 6, 1)],
    "chain": [(1, 0, 0, 0, 4, -1), (1, 0, 4, 0, 6, 1), (1, 1, 9, 0, 5, 2), (1, 1, 12, 1, 2, 3)],
    "branched": [(1, 0, 0, 0, 4, -1), (1, 0, 4, 0, 6, 1), (1, 1, 9, 0, 5, 2), (1, -4, 7, 1, 2, 2)],
}


def with_dendrites(soma):
    rows = list(soma)
    for p in range(1, len(soma) + 1):
        x, y, z = rows[p - 1][1:4]
        rows.append((3, x + 8, y + 1, z, 1.0, p))
        rows.append((3, x + 20, y - 2, z + 1, 0.8, len(rows)))
        rows.append((3, x + 30, y - 2, z + 1, 0.8, len(rows)))
        rows.append((4, x + 25, y - 9, z + 3, 0.5, len(rows) - 1))  # a type changes at a fork
        rows.append((2, x - 8, y + 3, z, 0.5, p))  # an axon of a single sample
    return rows


def write_swc(path, rows):
    path.write_text("".join(f"{i} {' '.join(map(str, r))}\n" for i, r in enumerate(rows, 1)))
    return path


@pytest.mark.parametrize("name", SOMATA)
def test_somata_as_neuron(name, tmp_path, capfd):
    same_as_neuron(write_swc(tmp_path / "cell.swc", with_dendrites(SOMATA[name])))


def test_branch_from_the_start_of_a_stem_joins_it_at_0(tmp_path):
    rows = [(1, 0, 0, 0, 6, -1), (1, 0, 5, 0, 6, 1), (3, 0, 15, 0, 1, 2), (3, 0, 25, 0, 1, 3)]
    rows += [(3, 9, 20, 0, 0.7, 3), (3, 19, 20, 0, 0.7, 5)]
    morph, *_ = same_as_neuron(write_swc(tmp_path / "cell.swc", rows))
    assert morph.parent_x[morph.name.index("dend[1]")] == 0


def test_the_root_need_not_be_soma(tmp_path):
    rows = [(3, 0, -60, 0, 0.5, -1), (3, 0, -40, 0, 0.7, 1), (3, 0, -20, 0, 1, 2)]
    rows += [(1, 0, -10, 0, 5, 3), (1, 0, 0, 0, 8, 4), (1, 0, 10, 0, 5, 5), (4, 0, 20, 0, 2, 6)]
    rows += [(4, 0, 80, 0, 1, 7), (3, 9, -60, 0, 0.4, 1), (3, 40, -60, 0, 0.4, 9)]
    morph, _, sections = same_as_neuron(write_swc(tmp_path / "cell.swc", rows))
    assert morph.name[morph.soma] == "soma[0]"
    counts = np.full(morph.n_sections, 3)
    theirs = nrn.compartments(sections, morph.name, counts, "soma[0]", 100.0)
    ours = discretise(morph, counts)
    np.testing.assert_allclose(ours.area, theirs["area"], rtol=1e-10)
    np.testing.assert_allclose(ours.distance, theirs["distance"], atol=1e-9)


def random_rows(rng, soma):
    """A random tree without branches from the first sample of a stem, where NEURON 9 errs."""
    rows = list(soma)
    for _ in range(rng.integers(5, 40)):
        p = len(rows) if rng.random() < 0.6 else int(rng.integers(1, len(rows) + 1))
        stem = rows[p - 1][0] != 1 and rows[rows[p - 1][5] - 1][0] == 1
        if stem and p != len(rows):
            continue
        kind = rows[p - 1][0]
        if kind == 1 or rng.random() < 0.07:
            kind = int(rng.choice([2, 3, 4, 5]))
        xyz = (np.array(rows[p - 1][1:4]) + 8 * rng.standard_normal(3)).round(3)
        rows.append((kind, *xyz, round(float(rng.uniform(0.2, 2)), 3), p))
    return rows


@pytest.mark.parametrize("name", SOMATA)
def test_random_trees_as_neuron(name, tmp_path, capfd):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = random_rows(rng, SOMATA[name])
        morph, _, sections = same_as_neuron(write_swc(tmp_path / "cell.swc", rows))
        counts = rng.integers(1, 6, morph.n_sections)
        ours = discretise(morph, counts)
        theirs = nrn.compartments(sections, morph.name, counts, "soma[0]", 100.0)
        np.testing.assert_allclose(ours.area, theirs["area"], rtol=1e-10)
        np.testing.assert_allclose(ours.distance, theirs["distance"], atol=1e-9)


def test_order_of_lines_does_not_matter(tmp_path):
    first = read_morphology(write_swc(tmp_path / "a.swc", with_dendrites(SOMATA["chain"])))
    lines = (tmp_path / "a.swc").read_text().splitlines()
    (tmp_path / "b.swc").write_text("\n".join(reversed(lines)))
    second = read_morphology(tmp_path / "b.swc")
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.parent_section, second.parent_section)


def test_ids_in_any_order_make_the_same_tree(tmp_path):
    rows = with_dendrites(SOMATA["one point"])
    (tmp_path / "a.swc").write_text(
        "".join(
            f"{100 - i} {' '.join(map(str, r[:5]))} {-1 if r[5] < 0 else 100 - r[5]}\n"
            for i, r in enumerate(rows, 1)
        )
    )
    ours, plain = (
        read_morphology(tmp_path / "a.swc"),
        read_morphology(write_swc(tmp_path / "b.swc", rows)),
    )
    assert sorted(ours.areas) == pytest.approx(sorted(plain.areas))


def test_details_of_the_swc_format(tmp_path):
    path = tmp_path / "CELL.SWC"
    path.write_bytes(
        b"\xef\xbb\xbf# caf\xe9\r\n\r\n  1\t1 0 0 0 6. -1 # soma\r\n"
        b"2 3 1e1 0 0 1 1\r\n3 3 30 0 0 1 2"
    )
    morph = read_morphology(str(path))
    assert morph.name == ("soma[0]", "dend[0]")
    np.testing.assert_array_equal(morph.section_points("dend[0]")[:, 0], [10, 30])
    np.testing.assert_array_equal(morph.samples, [1, 1, 1, 2, 3])


def test_ten_thousand_points_take_less_than_a_second(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(1, 0, 0, 0, 6, -1)]
    for i in range(1, 10_000):
        p = i if i % 40 else int(rng.integers(1, i + 1))
        xyz = (np.array(rows[p - 1][1:4]) + rng.standard_normal(3)).round(4)
        rows.append((3, *xyz, 0.5, p))
    write_swc(tmp_path / "cell.swc", rows)
    start = time.perf_counter()
    morph = read_morphology(tmp_path / "cell.swc")
    discretise(morph, ncomp_from_max_length(morph, 5.0))
    assert time.perf_counter() - start < 1.0
