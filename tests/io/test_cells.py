"""Cells saved, loaded and tabulated."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HCN, HH, KA, CalciumShell, Leak, Na
from jaxdend.io.cells import load_cell, save_cell
from jaxdend.io.tables import cell_table, write_table
from jaxdend.mechanisms.base import AbstractChannel, param
from jaxdend.models import ca1, l5pc, l23_human


class Own(AbstractChannel):
    g: jax.Array = param(1e-4, unit="S/cm2")
    weights: tuple = ()
    options: dict | None = None

    def current(self, v, x, env):
        return self.g * (v + 60.0)


def graph_cell(**more) -> jd.Cell:
    """A soma of a NEURON export, a joint without membrane, two dendrites."""
    cell = jd.Cell.from_compartments(
        parent=[-1, 0, 1, 1],
        axial_resistance=[0.0, 3.0, 5.0, 7.0],
        area=[900.0, 0.0, 300.0, 200.0],
        **more,
    )
    return cell.insert(Leak(g=1e-4, e=-70.0)).insert(HH(gnabar=0.2), [0])


def variants() -> jd.Cell:
    """A static setting, variants, compartments of no area."""
    cell = jd.Cell(jd.ball_and_stick(), max_length=100.0, end_nodes=True)
    cell = cell.insert(Na(gbar=0.1, table=True), "soma")
    cell = cell.insert(Na(gbar=np.linspace(0.0, 0.01, cell.n), table=True), "dendrite")
    cell = cell.insert(KA.distal(gbar=0.01)).insert(HCN.proximal())
    return cell.insert(CalciumShell.destexhe()).set(cm=1.5, celsius=jnp.asarray(35))


NAMES = ["soma[0]", "dend[0]", "dend[0]", "dend[1]"]
CELLS = {
    "l5pc": lambda: l5pc(max_length=150.0),
    "ca1": lambda: ca1(max_length=150.0),
    "l23_human": lambda: l23_human(max_length=150.0),
    "graph": graph_cell,
    "graph with names": lambda: graph_cell(
        section=NAMES, distance=[0.0, 9.0, 20.0, 30.0], length=[20.0, 0.0, 20.0, 20.0]
    ),
    "variants": variants,
}


@pytest.fixture(scope="module")
def cells():
    return {name: make() for name, make in CELLS.items()}


@pytest.mark.parametrize("name", CELLS)
def test_round_trip(cells, tmp_path, name):
    cell = cells[name]
    path = save_cell(cell, tmp_path / "new" / "cell")
    assert [p.name for p in path.parent.iterdir()] == ["cell.npz"]
    loaded = load_cell(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(cell)
    assert hash(loaded.host) == hash(cell.host)
    for a, b in zip(jax.tree.leaves(cell), jax.tree.leaves(loaded), strict=True):
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, b.weak_type)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert (loaded.morph is None) == (cell.morph is None)
    assert loaded.regions == cell.regions
    handed = [loaded.kind, loaded.xyz, *loaded.host["regions"].values(), loaded.tree.parent]
    if loaded.morph is not None:
        handed += [loaded.morph.points, *loaded.morph.labels.values()]
    assert not any(array.flags.writeable for array in handed)


@pytest.mark.parametrize("name", ["l5pc", "graph"])
def test_simulates_the_same_in_the_same_program(cells, tmp_path, name):
    traces, compiled = [], 0

    @jax.jit
    def run(cell):
        nonlocal compiled
        compiled += 1
        return jd.simulate(cell, jd.Step(0, 0.2, 2.0, 1.5), t1=2.0, dt=0.1, v0=-75.0).v

    for cell in (cells[name], load_cell(save_cell(cells[name], tmp_path / "cell.npz"))):
        traces.append(np.asarray(run(cell)))
    assert compiled == 1
    assert np.array_equal(*traces)
    assert np.ptp(traces[0]) > 5.0


def test_own_channels(tmp_path):
    options = {"on": True, "table": jnp.ones((2, 3))}
    channel = Own(g=2e-4, weights=(jnp.arange(3.0), 2.5, "a"), options=options)
    cell = jd.Cell(jd.ball_and_stick(), max_length=200.0)
    cell = eqx_insert(cell, channel)
    path = save_cell(cell, tmp_path / "cell.npz")
    with pytest.raises(ValueError, match=r"the mechanism 'Own', .*\(path, channels=\[Own"):
        load_cell(path)
    with pytest.raises(TypeError, match="takes classes of mechanisms"):
        load_cell(path, channels=[channel])
    loaded = load_cell(path, channels=[Own]).inserted[0].mechanism
    assert loaded.weights[1:] == (2.5, "a")
    assert loaded.options["on"] is True
    np.testing.assert_array_equal(loaded.options["table"], np.ones((2, 3)))

    changed = type("Own", (AbstractChannel,), {"current": Own.current})
    with pytest.raises(ValueError, match="the class Own has changed since: its fields are"):
        load_cell(path, channels=[changed])
    odd = eqx_insert(cell, Own(weights=(len,)))
    with pytest.raises(ValueError, match=r"Own.weights.0 cannot be saved: it is a builtin"):
        save_cell(odd, tmp_path / "odd.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["cell.npz"]


def eqx_insert(cell: jd.Cell, channel: AbstractChannel) -> jd.Cell:
    """`insert` takes parameters alone; put any other fields in as they are."""
    item = cell.insert(Leak()).inserted[0]
    return cell._replace(inserted=(type(item)(channel, item.at),))


def test_a_class_of_the_users_with_the_name_of_ours(cells, tmp_path):
    fake = type("Leak", (AbstractChannel,), {"current": Own.current})
    path = save_cell(eqx_insert(cells["graph"], fake()), tmp_path / "cell.npz")
    with pytest.raises(ValueError, match="which is not jaxdend's own"):
        load_cell(path)
    assert type(load_cell(path, channels=[fake]).inserted[0].mechanism) is fake


def test_other_precision(cells, tmp_path):
    path = save_cell(cells["graph"], tmp_path / "cell.npz")
    jax.config.update("jax_enable_x64", False)
    try:
        narrow = load_cell(path)
        assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {np.dtype("float32")}
        path = save_cell(narrow, tmp_path / "narrow.npz")
    finally:
        jax.config.update("jax_enable_x64", True)
    assert load_cell(path).area.dtype == np.float64


def test_stacks_and_tracers(cells, tmp_path):
    stack = jax.tree.map(lambda x: jnp.stack([x, x]), cells["graph"])
    with pytest.raises(ValueError, match="save_cell takes one cell, this is a stack"):
        save_cell(stack, tmp_path / "cell.npz")
    with pytest.raises(ValueError, match="cell_table takes one cell"):
        cell_table(stack)
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda cell: save_cell(cell, tmp_path / "cell.npz"))(cells["graph"])


def rewritten(path, change) -> None:
    """The file with another header."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("header")))
    change(header, arrays)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def test_files_that_are_no_cells(cells, tmp_path):
    path = save_cell(cells["graph"], tmp_path / "cell.npz")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cell.npz is not a complete cell file"):
            load_cell(path)
    path.write_bytes(whole)
    rewritten(path, lambda header, arrays: header.update(format="jaxdend-cell-9"))
    with pytest.raises(ValueError, match="has format 'jaxdend-cell-9', of another version"):
        load_cell(path)
    path.write_bytes(whole)
    rewritten(path, lambda header, arrays: arrays.pop("area"))
    with pytest.raises(ValueError, match="not a complete cell file: KeyError.*area"):
        load_cell(path)
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match="not a complete cell file"):
        load_cell(path)
    np.savez(path, a=np.array([{}], object), header=np.array({}, object))
    with pytest.raises(ValueError, match="not a complete cell file.*allow_pickle"):
        load_cell(path)
    with pytest.raises(FileNotFoundError):
        load_cell(tmp_path / "none.npz")


def test_table_by_compartment(cells, tmp_path):
    cell = cells["l5pc"]
    rows = cell_table(cell)
    assert len(rows) == cell.n
    soma = cell.locate("soma")
    assert rows[soma]["section"] == "soma[0]"
    assert rows[soma]["regions"] == "soma"
    assert rows[soma]["NaTa.gbar (S/cm2)"] == 2.04
    basal = int(np.flatnonzero(cell.region("basal"))[0])
    assert rows[basal]["NaTa.gbar (S/cm2)"] is None
    assert rows[basal]["cm (uF/cm2)"] == 2.0
    with write_table(cell, tmp_path / "cell.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [float(row["area (um2)"]) for row in read] == np.asarray(cell.area).tolist()
    assert read[basal]["NaTa.gbar (S/cm2)"] == ""


def test_table_by_region(cells):
    rows = {
        (row["region"], row["mechanism"], row["parameter"]): row
        for row in cell_table(cells["l5pc"], by="region")
    }
    assert rows["soma", "NaTa", "gbar"]["mean"] == pytest.approx(2.04)
    assert rows["apical", "Ih", "gbar"]["min"] < rows["apical", "Ih", "gbar"]["mean"]
    assert ("basal", "NaTa", "gbar") not in rows
    assert rows["basal", "cell", "cm"]["unit"] == "uF/cm2"
    with pytest.raises(ValueError, match="by= must be"):
        cell_table(cells["l5pc"], by="section")


def test_table_of_variants_and_of_nameless_sections(cells):
    cell = cells["variants"]
    site = cell.locate("dendrite")
    row = cell_table(cell)[site]
    assert row["Na.gbar (S/cm2)"] == pytest.approx(0.01 * site / (cell.n - 1))
    assert cell_table(cells["graph"])[0]["distance (um)"] is None
