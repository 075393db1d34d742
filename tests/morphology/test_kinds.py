"""The kinds of file that labs have: each is read as NEURON reads it, or refused with a cure.

Resistances are live NEURON's with a leak of 1e-4 S/cm², Ra 100 Ω·cm, cut at 40 µm.
"""

import gzip
import io
import re
import time
import warnings

import jax
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as nrn
from jaxdend import MorphologyError
from jaxdend.channels import Leak
from jaxdend.morphology import MorphologyWarning, read_morphology

CLOSE = 1e-7 if jax.config.jax_enable_x64 else 1e-4
SOMA = '("CellBody"\n (CellBody)\n (5 0 0 0.1)\n (1 3 0 0.1)\n (-6 0 0 0.1)\n (0 -4 0 0.1)\n)\n'
SOMA_2 = (
    '("CellBody"\n (CellBody)\n (305 0 0 .1)\n (301 3 0 .1)\n (294 0 0 .1)\n (300 -4 0 .1)\n)\n'
)
SWC = """\
1 1 0 0 0 5 -1
2 3 5 0 0 1 1
3 3 55 0 0 1 2
4 3 90 30 0 0.5 3
5 3 90 -30 0 0.5 3
6 4 0 5 0 1.5 1
7 4 0 105 0 1.2 6
"""
SECOND = "8 1 300 0 0 5 -1\n9 3 310 0 0 1 8\n10 3 350 0 0 1 9\n"


def tree(label, side=1, shift=0):
    x = [5 * side + shift, 50 * side + shift, 90 * side + shift]
    return (
        f"({label}\n ({x[0]} 0 0 2)\n ({x[1]} 0 0 2)\n (\n  ({x[2]} 30 0 1)\n |\n"
        f"  ({x[2]} -30 0 1)\n )\n)\n"
    )


def read(tmp_path, text, name="cell.swc", warned=None, **options):
    """The morphology; exactly the warnings that match `warned`, a word or several, are given."""
    path = tmp_path / name
    path.write_text(text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        morph = read_morphology(path, **options)
    wanted = [warned] if isinstance(warned, str) else warned or []
    said = [str(w.message) for w in caught]
    assert len(said) == len(wanted), said
    for text, words in zip(said, wanted, strict=True):
        assert re.search(words, text), text
        assert text.startswith(str(path))
        assert text in morph.report
    for w in caught:
        assert issubclass(w.category, MorphologyWarning)
        assert w.filename == __file__
    return morph


def resistance(morph):
    cell = jd.Cell(morph, max_length=40.0, ra=100.0).insert(Leak(g=1e-4, e=-65.0))
    site = cell.locate(section=morph.name[morph.soma], x=0.5)
    return float(jd.protocols.resistances(cell, [site]).input[0])


LABELS = {
    "(Basal)": r"line 8: 1 tree with \(Basal\).*type 0.*types=\{0: 'basal'\}",
    "(Custom)": r"line 8: 1 tree with \(Custom\)",
    "(Glia)": r"line 8: 1 tree with \(Glia\).*leave it out",
    "": "line 8: 1 tree with no label",
    "(Color Red)": "line 8: 1 tree with no label",
}


@pytest.mark.parametrize("label", LABELS)
def test_trees_with_other_labels_are_kept(label, tmp_path):
    morph = read(tmp_path, SOMA + tree(label), "cell.asc", LABELS[label])
    assert morph.name == ("soma[0]", "dend_0[0]", "dend_0[1]", "dend_0[2]")
    assert morph.region("dend_0").sum() == 3
    assert resistance(morph) == pytest.approx(1331.6643, rel=CLOSE)
    named = read(tmp_path, SOMA + tree(label), "cell.asc", types={0: "basal"}, strict=True)
    assert named.name == ("soma[0]", "dend[0]", "dend[1]", "dend[2]")
    with pytest.raises(MorphologyError, match="strict=True refuses.*\n- .*line 8"):
        read(tmp_path, SOMA + tree(label), "cell.asc", strict=True)


TWO = SOMA + tree("(Dendrite)") + SOMA_2 + tree("(Dendrite)", 1, 300)


def test_two_cells_in_one_asc(tmp_path):
    words = (
        r"lines 1, 17: 2 cells .*soma=0: line 1, centre \(-1\.257, 0\.2048, 0\) µm, 1 trees; "
        r"soma=1: line 17, centre \(298\.7, 0\.2048, 0\) µm, 1 trees"
    )
    first = read(tmp_path, TWO, "cell.asc", words)
    assert resistance(first) == pytest.approx(1331.6643, rel=CLOSE)
    assert first.points[:, 0].max() == 90
    for soma, shift in ((0, 0), (1, 300)):
        one = read(tmp_path, TWO, "cell.asc", soma=soma, strict=True)
        np.testing.assert_allclose(one.points[:, 0] - shift, first.points[:, 0], atol=1e-4)
    with pytest.raises(MorphologyError, match=r"soma=2 is asked for.*2 somata: soma=0: line 1"):
        read(tmp_path, TWO, "cell.asc", soma=2)
    far = SOMA + tree("(Dendrite)") + tree("(Dendrite)", 1, 300)
    read(tmp_path, far, "cell.asc", "line 18: 1 stem starts up to 299 µm.*roots='first'")
    assert read(tmp_path, far, "cell.asc", roots="first", strict=True).name == first.name
    near = read(tmp_path, far, "cell.asc", roots="nearest", strict=True)
    i = near.name.index("dend[3]")
    assert near.name[near.parent_section[i]] in ("dend[1]", "dend[2]")
    assert near.parent_x[i] == 1


def test_two_cells_in_one_swc(tmp_path):
    alone = read(tmp_path, SWC)
    first = read(tmp_path, SWC + SECOND, "cell.swc", r"lines 1, 8: 2 cells.*soma=1: line 8")
    np.testing.assert_array_equal(first.points, alone.points)
    second = read(tmp_path, SWC + SECOND, soma=1, strict=True)
    assert second.name == ("soma[0]", "dend[0]")
    assert second.lengths.tolist() == [10, 40]
    with pytest.raises(MorphologyError, match="soma=1 is asked for, and the file holds 1 soma: "):
        read(tmp_path, SWC, soma=1)


def as_neuron(morph, path):
    cell, sections = nrn.import_file(path)
    assert set(morph.name) == set(sections)
    joints = nrn.joints(sections)
    for i, name in enumerate(morph.name):
        theirs = nrn.points(sections[name])
        np.testing.assert_allclose(morph.section_points(i), theirs, rtol=2e-7, atol=2e-6)
        p = morph.parent_section[i]
        assert joints[name] == (None if p < 0 else (morph.name[p], morph.parent_x[i]))
    del cell


def test_a_stack_of_contours_is_one_soma(tmp_path, capfd):
    """Its boxes overlap; one point for each contour, as in NEURON."""
    stack = SOMA + SOMA.replace(" 0 0.1)", " 2 0.1)") + SOMA.replace(" 0 0.1)", " 5 0.1)")
    morph = read(tmp_path, stack + tree("(Dendrite)"), "cell.asc")
    assert morph.section_points("soma[0]").shape == (3, 4)
    as_neuron(morph, tmp_path / "cell.asc")
    assert any("stack of 3 contours" in text for text in morph.report)
    zigzag = SOMA + SOMA.replace(" 0 0.1)", " 4 0.1)") + SOMA.replace(" 0 0.1)", " 2 0.1)")
    read(tmp_path, zigzag + tree("(Dendrite)"), "cell.asc", "lines 1, 8, 15: .*up and down in z")
    twice = read(tmp_path, SOMA + SOMA + tree("(Axon)"), "cell.asc", "line 8: a contour.*twice")
    assert twice.section_points("soma[0]").shape == (21, 4)


def test_files_without_a_soma(tmp_path, capfd):
    morph = read(tmp_path, tree("(Dendrite)"), "cell.asc", "line 2: no soma: .*type 3, as in NEU")
    as_neuron(morph, tmp_path / "cell.asc")
    assert morph.name[morph.soma] == "dend[0]"
    rows = SWC.replace("1 1 0", "1 3 0").replace("6 4", "6 3").replace("7 4", "7 3")
    morph = read(tmp_path, rows, warned="line 2: no soma")
    as_neuron(morph, tmp_path / "cell.swc")
    assert jd.Cell(morph, max_length=40.0).n > 4
    with pytest.raises(MorphologyError, match="strict=True refuses"):
        read(tmp_path, rows, strict=True)
    pair = tree("(Dendrite)") + tree("(Axon)", -1)
    with pytest.raises(MorphologyError, match="lines 2, 11: no soma: .*2 trees.*roots='soma'"):
        read(tmp_path, pair, "cell.asc")
    for roots, count in {"soma": 6, "nearest": 6, "largest": 3, "first": 3}.items():
        morph = read(tmp_path, pair, "cell.asc", "no soma", roots=roots)
        assert morph.n_sections == count


def test_radius_0_at_tips_and_elsewhere(tmp_path):
    tip = SWC.replace("30 0 0.5 3\n5", "30 0 0 3\n5")
    morph = read(tmp_path, tip, warned="line 4: a sample has no radius; at a tip the limit 0")
    assert resistance(morph) == pytest.approx(546.4296, rel=CLOSE)
    inner = SWC.replace("55 0 0 1 2", "55 0 0 0 2")
    with pytest.raises(MorphologyError, match=r"(?s)> 0 µm.*line 3: .*radius= \(µm"):
        read(tmp_path, inner)
    whole = read(tmp_path, SWC)
    for radius in ("neighbour", 1.0):
        morph = read(tmp_path, inner, radius=radius, strict=True)
        np.testing.assert_array_equal(morph.points, whole.points)
        assert any("line 3: a sample has no radius" in text for text in morph.report)
    none = re.sub(r" \S+ (\S+)\n", r" 0 \1\n", SWC)
    with pytest.raises(
        MorphologyError, match=r"(?s)every radius must be > 0.*line 6: 6 4 0 5 0 0 1"
    ):
        read(tmp_path, none)
    morph = read(tmp_path, none, radius=0.3, strict=True)
    np.testing.assert_allclose(morph.points[3:, 3], 0.6)
    with pytest.raises(ValueError, match="no sample has a radius"):
        read(tmp_path, none, radius="neighbour")


def test_further_roots_join_the_soma(tmp_path, capfd):
    rows = SWC.replace("1.5 1\n7", "1.5 -1\n7")
    morph = read(tmp_path, rows, warned=r"line 6: 1 further root, .*middle of the soma.*roots=")
    np.testing.assert_array_equal(morph.points, read(tmp_path, SWC).points)
    (tmp_path / "cell.swc").write_text(rows)
    as_neuron(morph, tmp_path / "cell.swc")
    quiet = read(tmp_path, rows, roots="soma", strict=True)
    assert quiet.name == morph.name
    rest = read(tmp_path, rows, roots="largest", strict=True)
    assert rest.name == ("soma[0]", "dend[0]", "dend[1]", "dend[2]")
    far = SWC.replace("6 4 0 5 0 1.5 1", "6 4 80 0 0 1.5 -1")
    near = read(tmp_path, far, roots="nearest", strict=True)
    i = near.name.index("apic[0]")
    assert near.name[near.parent_section[i]] == "dend[0]"
    # parent 0 is no sample, and a way to write a root; other missing parents are doubtful
    assert read(tmp_path, SWC.replace("5 -1", "5 0")).name == morph.name
    gone = SWC.replace("2 3 5 0 0 1 1\n", "")
    morph = read(tmp_path, gone, warned=["line 2: 1 sample names parents that do", "further root"])
    as_neuron(morph, tmp_path / "cell.swc")


@pytest.mark.parametrize("number", [".5", "+.5", "0.5e0", "5E-1"])
def test_numbers_of_asc(number, tmp_path):
    morph = read(tmp_path, (SOMA + tree("(Dendrite)")).replace(" 1)", f" {number})"), "cell.asc")
    assert resistance(morph) == pytest.approx(1679.1386, rel=CLOSE)


def test_commas_of_asc(tmp_path):
    plain = SOMA + tree("(Dendrite)")
    commas = re.sub(r"(?<=\d) (?=[-\d])", ", ", plain).replace("(5, 0", "(-.5, 0")
    morph = read(tmp_path, commas, "cell.asc")
    np.testing.assert_array_equal(
        morph.points, read(tmp_path, plain.replace("(5 0", "(-.5 0"), "cell.asc").points
    )
    with pytest.raises(MorphologyError, match="line 12: .*a point of 5 numbers.*decimal comma"):
        read(tmp_path, plain.replace("30 0 1)", "30 0 1,5)", 1), "cell.asc")


def test_a_root_of_one_sample_that_is_no_soma(tmp_path, capfd):
    rows = "1 0 0 0 0 4 -1\n2 2 30 0 0 1 1\n3 0 -30 0 0 4 1\n4 1 -60 0 0 6 3\n"
    morph = read(tmp_path, rows)
    assert resistance(morph) == pytest.approx(460.5836, rel=CLOSE)
    as_neuron(morph, tmp_path / "cell.swc")
    made = "1 3 0 0 0 4 -1\n2 2 30 0 0 1 1\n3 2 60 0 0 1 2\n"
    morph = read(tmp_path, made, warned=["line 1: the root is a single point.*L = d", "no soma"])
    as_neuron(morph, tmp_path / "cell.swc")


@pytest.mark.parametrize("units", ["nm", 1e-3, (1e-3,) * 3, (1e-3,) * 4])
def test_units(units, tmp_path):
    big = re.sub(
        r"(\d+ \d) (\S+) (\S+) (\S+) (\S+)",
        lambda m: " ".join([m[1], *(str(1000 * float(x)) for x in m.groups()[1:])]),
        SWC,
    )
    words = "are these micrometres.*135 mm wide.*units='um'"
    read(tmp_path, big, warned=words)
    morph = read(tmp_path, big, units=units, strict=True)
    np.testing.assert_allclose(morph.points, read(tmp_path, SWC).points, rtol=1e-6)
    read(tmp_path, big, units="um", strict=True)
    read(tmp_path, "# units: 8 nanometer\n" + SWC, warned="a comment says '# units: 8 nanometer")
    asc = read(tmp_path, SOMA + tree("(Axon)"), "cell.asc", units=2.0)
    assert asc.lengths[1] == 90


def test_types_that_shred_a_tree(tmp_path):
    """Forks are type 5 and ends type 6, as in exports of connectomes."""
    rng = np.random.default_rng(0)
    parent = [0, 0, *(int(p) for p in np.maximum(1, np.arange(2, 121) - rng.integers(1, 8, 119)))]
    children = np.bincount(parent, minlength=121)
    lines, plain = ["1 1 0 0 0 5 -1"], ["1 1 0 0 0 5 -1"]
    for i in range(2, 121):
        kind = 5 if children[i] > 1 else 6 if children[i] == 0 else 3
        x, y, z = rng.normal(scale=3, size=3).round(3) + 6
        lines.append(f"{i} {kind} {x} {y} {z} 0.5 {parent[i]}")
        plain.append(f"{i} 3 {x} {y} {z} 0.5 {parent[i]}")
    good = read(tmp_path, "\n".join(plain), units="um")
    words = r"types beyond 4: .*They cut the tree into.*types=\{5: 'parent', 6: 'parent'\}"
    bad = read(tmp_path, "\n".join(lines), warned=words, units="um")
    assert bad.n_sections > good.n_sections
    for types in ({5: 3, 6: 3}, {5: "parent", 6: "parent", 3: "basal"}, {5: "basal", 6: "basal"}):
        mended = read(tmp_path, "\n".join(lines), types=types, units="um")
        np.testing.assert_array_equal(mended.points, good.points)
        assert mended.name == good.name
    cell = jd.Cell(bad, max_length=40.0)
    assert cell.region("dend_5").sum() == np.sum(bad.kind == 5)


def test_types_take_that_of_the_sample_before(tmp_path):
    rows = SWC.replace("3 3 55", "3 5 55").replace("4 3 90", "4 6 90").replace("5 3 90", "5 6 90")
    mended = read(tmp_path, rows, types={5: "parent", 6: "parent"})
    assert mended.name == read(tmp_path, SWC).name
    glia = SWC.replace("6 4 0", "6 7 0").replace("7 4 0", "7 7 0")
    read(tmp_path, glia, warned="Type 7 is glia")


def test_further_columns_gzip_and_open_files(tmp_path):
    plain = read(tmp_path, SWC)
    more = "".join(f"{line} 7 8 9\n" for line in SWC.splitlines())
    wide = read(tmp_path, more, "cell.eswc")
    assert any("3 columns after the seventh are not read" in text for text in wide.report)
    (tmp_path / "cell.swc.gz").write_bytes(gzip.compress(SWC.encode()))
    asc = SOMA + tree("(Axon)")
    (tmp_path / "cell.asc.gz").write_bytes(gzip.compress(asc.encode()))
    opened = io.BytesIO(SWC.encode("utf-16"))
    morphs = [
        wide,
        read_morphology(tmp_path / "cell.swc.gz"),
        read_morphology(io.StringIO(SWC)),
        read_morphology(io.BytesIO(gzip.compress(SWC.encode()))),
        read_morphology(opened),
        read_morphology(io.StringIO("\n# a comment\n" + more)),
    ]
    with (tmp_path / "cell.eswc").open() as file:
        morphs.append(read_morphology(file))
    for morph in morphs:
        np.testing.assert_array_equal(morph.points, plain.points)
    assert read_morphology(io.StringIO("; V3\n" + asc)).n_sections == 4
    assert read_morphology(tmp_path / "cell.asc.gz").source == "cell.asc.gz"
    with pytest.raises(MorphologyError, match="nothing is left to read.*seek"):
        read_morphology(opened)
    (tmp_path / "cell.swc.gz").write_bytes(gzip.compress(SWC.encode())[:30])
    with pytest.raises(MorphologyError, match="cut off gzip"):
        read_morphology(tmp_path / "cell.swc.gz")


def test_repairs_that_neuron_does_not_know(tmp_path):
    plain = read(tmp_path, SWC)
    broken = {
        "lines": SWC + "8 3 9 9\nnonsense\n",
        "duplicates": SWC + "7 4 0 300 0 1 6\n",
    }
    for repair, rows in broken.items():
        with pytest.raises(MorphologyError, match=f"repair='{repair}'"):
            read(tmp_path, rows)
        for asked in (repair, [repair], "all", True):
            morph = read(tmp_path, rows, repair=asked, strict=True)
            np.testing.assert_array_equal(morph.points, plain.points)
            assert len(morph.report) == 1
    lost = SWC.replace("1.5 1\n7", "1.5 99\n7")
    with pytest.raises(MorphologyError, match="parent 99 does not exist.*(?s:.*)repair='parents'"):
        read(tmp_path, lost)
    assert read(tmp_path, lost, repair="parents", roots="soma", strict=True).name == plain.name
    loop = SWC.replace("1.5 1\n7", "1.5 7\n7")
    with pytest.raises(MorphologyError, match="cycle of 2 samples.*(?s:.*)repair='cycles'"):
        read(tmp_path, loop)
    assert read(tmp_path, loop, repair="cycles", roots="soma").name == plain.name
    dot = "1 1 0 0 0 5 -1\n2 1 0 0 0 5 1\n3 3 5 0 0 1 2\n4 3 55 0 0 1 3\n"
    assert read(tmp_path, dot, repair="soma", strict=True).lengths.tolist() == [10, 55]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"soma": "first"}, "soma= is the number of a cell"),
        ({"soma": -1}, "soma= is the number"),
        ({"radius": 0}, "radius= is a radius > 0 in µm or 'neighbour'"),
        ({"radius": "parent"}, "radius= is"),
        ({"roots": "join"}, "roots= is None or one of soma, nearest, largest, first"),
        ({"types": {5: "dendrite"}}, "one of undefined, soma, axon, basal, apical"),
        ({"types": [5]}, "types= says which SWC type"),
        ({"units": "inch"}, "units= is one of um"),
        ({"units": (1, 2)}, "units= is one of um"),
        ({"repair": "everything"}, "repair= is 'all' or any of these: 'lines': lines"),
    ],
)
def test_options_are_checked_and_list_what_they_may_be(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, SWC, **options)


def test_clean_files_have_an_empty_report(tmp_path, reference):
    assert read(tmp_path, SWC, strict=True).report == ()
    assert read(tmp_path, SOMA + tree("(Axon)"), "cell.asc", strict=True).report == ()
    assert read_morphology(reference / "hay2011_cell1.asc", strict=True).report == ()


def test_two_hundred_thousand_samples_take_less_than_two_seconds(tmp_path):
    n = 200_000
    rng = np.random.default_rng(0)
    parent = np.arange(n)
    parent[40::40] = (rng.random(len(parent[40::40])) * parent[40::40]).astype(int) + 1
    parent[0] = -1
    xyz = np.cumsum(rng.normal(size=(n, 3)), axis=0) % 900
    kind = np.append(1, np.full(n - 1, 3))
    table = np.column_stack([np.arange(1, n + 1), kind, xyz, np.full(n, 0.5), parent])
    path = tmp_path / "cell.swc"
    np.savetxt(path, table, fmt="%d %d %.3f %.3f %.3f %.2f %d")
    start = time.process_time()
    morph = read_morphology(path, units="um")
    assert time.process_time() - start < 2.0
    assert morph.n_sections > 5000
