"""A stack of different cells in one program: each does what it does alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH, SK, CaHVA, CalciumShell, Leak
from jaxdend.dynamics import build_model, vector_field

T1, DT = 8.0, 0.05
SOLVERS = {"CN": jd.CrankNicolson(), "BE": jd.BackwardEuler()}
AMPLITUDES = jnp.asarray([5.0, 0.5, 5.0])  # nA


def pyramid(seed: int, max_length: float) -> jd.Cell:
    """Soma, calcium in the soma and part of the apical tree, leak everywhere."""
    cell = jd.Cell(jd.pyramidal(seed=seed), max_length=max_length, ra=120.0, celsius=20.0 + seed)
    hot = cell.region("apical") & (cell.distance > 200.0)
    density = 0.02 * np.exp(-cell.distance / 100.0) * cell.region("dendrite")
    cell = cell.insert(Leak(g=1e-4 * (1 + seed), e=-70.0)).insert(HH(), "soma")
    cell = cell.insert(HH(gnabar=density), "dendrite")
    cell = cell.insert(CaHVA(gbar=2e-4), hot).insert(CalciumShell(), hot)
    return cell.insert(SK(gbar=1e-3), hot | cell.region("soma"))


def stick(gnabar: float = 0.12) -> jd.Cell:
    """A ball and a stick with a node of area 0 in between and at the end; no calcium."""
    cell = jd.Cell.from_compartments(
        parent=[-1, 0, 1, 2, 3],
        axial_resistance=[1.0, 3.0, 3.0, 40.0, 20.0],
        area=[800.0, 0.0, 300.0, 300.0, 0.0],
        cm=2.0,
    )
    leak = Leak(g=[2e-4, 9e9, 3e-4, 1e-4, np.inf], e=-68.0)
    return cell.insert(leak).insert(HH(gnabar=gnabar), [0])


def fork(gnabar: float = 0.1, calcium: bool = True) -> jd.Cell:
    """A small tree with a branch point, HH in a part of it."""
    cell = jd.Cell(jd.y_tree(), max_length=60.0).insert(HH(gnabar=gnabar), np.arange(2, 6))
    if calcium:
        cell = cell.insert(CaHVA(gbar=1e-4), [3, 4]).insert(CalciumShell(), [4])
    return cell.insert(Leak(g=np.linspace(1e-4, 2e-4, cell.n), e=-65.0))


@pytest.fixture(scope="module")
def singles() -> list[jd.Cell]:
    return [pyramid(0, 200.0), stick(), pyramid(3, 400.0)]


@pytest.fixture(scope="module")
def cells(singles) -> jd.Cell:
    return jd.stack(singles)


@pytest.fixture(scope="module")
def small() -> list[jd.Cell]:
    return [stick(), fork()]


def ends(singles):
    """A stimulated site, a synapse's and a distant one of every cell; the stick's is bare."""
    return jnp.asarray([[0, cell.n // 2, cell.n - 1] for cell in singles])


def run(cell, at, amplitude, solver="CN"):
    inputs = [
        jd.Step(site=at[0], onset=1.0, duration=5.0, amplitude=amplitude),
        jd.Exp2Syn(at[1:], 0.002, [[2.013], [3.4]], tau1=0.4, tau2=2.0),
    ]
    return jd.simulate(cell, inputs, t1=T1, dt=DT, solver=SOLVERS[solver], record=at).v


def brief(cell, site, solver=None, amplitude=0.3):
    stim = jd.Step(site, onset=0.5, duration=2.0, amplitude=amplitude)
    return jd.simulate(cell, stim, t1=3.0, dt=0.1, solver=solver, record=[0, 2, 4]).v


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_cell_does_what_it_does_alone(singles, cells, solver):
    at = ends(singles)
    stacked = jax.jit(jax.vmap(lambda *given: run(*given, solver)))(cells, at, AMPLITUDES)
    for i in (0, 1, 2) if solver == "CN" else (1,):
        alone = run(singles[i], at[i], AMPLITUDES[i], solver)
        assert jnp.ptp(alone[:, 0]) > 50.0  # it spikes
        np.testing.assert_allclose(stacked[i], alone, rtol=0, atol=1e-9)
    assert jnp.ptp(stacked[1, :, 2]) > 50.0  # also at the compartment without membrane


def test_gradients_of_every_number_are_those_of_the_single_cells(small):
    @eqx.filter_jit
    @eqx.filter_grad
    def of_stack(cells, sites):
        return jnp.sum(jax.vmap(brief)(cells, sites) ** 2) / 1e3

    @eqx.filter_jit
    @eqx.filter_grad
    def of_single(cell, site):
        return jnp.sum(brief(cell, site) ** 2) / 1e3

    stacked = of_stack(jd.stack(small), jnp.asarray([0, 3]))
    for leaf in jax.tree.leaves(stacked):
        assert np.all(np.isfinite(leaf))
    cell, single = small[1], of_single(small[1], 3)
    for name in ("area", "cm", "ra", "own", "via", "celsius"):
        whole = np.atleast_1d(getattr(stacked, name)[1])
        part = np.atleast_1d(getattr(single, name))
        assert np.any(part), name
        np.testing.assert_allclose(whole[: len(part)], part, rtol=1e-8, atol=1e-10)
        np.testing.assert_array_equal(whole[cell.tree.n :], 0.0)
    for item, alone in zip(cell.inserted, single.inserted, strict=True):
        batch = stacked.mechanisms[type(item.mechanism).__name__].mechanism
        for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(alone.mechanism), strict=True):
            if a.ndim == 1:
                np.testing.assert_allclose(a[1], b, rtol=1e-8, atol=1e-10)
            else:
                np.testing.assert_allclose(a[1, item.at.index], b, rtol=1e-8, atol=1e-10)
                np.testing.assert_array_equal(np.delete(a[1], item.at.index), 0.0)


def test_other_cells_of_the_same_size_share_the_program(small):
    traces = 0

    @jax.jit
    @jax.vmap
    def respond(cell, site):
        nonlocal traces
        traces += 1
        return brief(cell, site)

    sites = jnp.asarray([2, 2])
    first = respond(jd.stack(small, nodes=15), sites)
    area = [400.0, 200.0, 300.0, 100.0, 200.0, 0.0]
    line = jd.Cell.from_compartments(parent=[-1, 0, 1, 2, 2, 2], axial_resistance=9.0, area=area)
    line = line.insert(Leak(g=1e-4 * np.arange(1, 7), e=-60.0)).insert(HH(gnabar=0.2))
    others = [fork(0.2), line]
    second = respond(jd.stack(others, nodes=15), sites)
    assert traces == 1
    for stacked, cell in ((first[1], small[1]), (second[0], others[0]), (second[1], line)):
        np.testing.assert_allclose(stacked, brief(cell, 2), rtol=0, atol=1e-9)


def test_cells_and_inputs_in_nested_batches_with_recorders(small):
    amplitudes = jnp.asarray([0.0, 0.2, 0.4])

    def one(cell, site, amplitude):
        stim = jd.Step(site, onset=0.5, duration=2.0, amplitude=amplitude)
        record = {"v": [0, 2, 4], "m": jd.Gate("HH", "m", 4), "ca": jd.Inside("ca", 4)}
        return jd.simulate(cell, stim, t1=3.0, dt=0.1, record=record).values

    cells, sites = jd.stack(small), jnp.asarray([0, 2])
    over_amplitudes = jax.vmap(one, (None, None, 0))
    stacked = jax.jit(jax.vmap(over_amplitudes, (0, 0, None)))(cells, sites, amplitudes)
    for name, alone in one(small[1], 2, 0.4).items():
        np.testing.assert_allclose(
            stacked[name][1, 2], alone, rtol=0, atol=1e-11 * np.abs(alone).max()
        )


def test_the_vector_field_is_that_of_the_single_cells(small):
    def field(cell, site):
        grid, stim = jnp.asarray([0.0, 0.025]), jd.Step(site, 0.0, 2.0, 0.3)
        model = build_model(cell, (stim,), start=grid[0], h=grid[1])
        y = model.completed(grid[0], model.initial(jnp.asarray(-50.0), False))
        return y.v, vector_field(grid[1], y, model).v

    stacked = jax.jit(jax.vmap(field))(jd.stack(small), jnp.asarray([1, 3]))
    for i, (cell, site) in enumerate(zip(small, (1, 3), strict=True)):
        for batch, alone in zip(stacked, jax.jit(field)(cell, site), strict=True):
            np.testing.assert_allclose(batch[i, : cell.tree.n], alone, rtol=1e-12, atol=1e-9)
            assert np.all(batch[i, cell.tree.n :] == batch[i, -1])


def test_insert_and_set_in_one_of_the_stack():
    def changed(cell, where):
        cell = cell.insert(HH(gnabar=0.15), where).set(where, cm=1.5, radius=2.0)
        return brief(cell.insert(SK(gbar=1e-3)).set(ra=60.0, celsius=12.0), 0)

    given = [fork(0.12, calcium=False), fork(calcium=False)]
    mask = np.arange(12) < 3
    stacked = jax.jit(jax.vmap(changed))(jd.stack(given), jnp.stack([mask, mask]))
    mask = mask[: given[0].n]
    for v, cell in zip(stacked, given, strict=True):
        np.testing.assert_allclose(v, changed(cell, mask), rtol=0, atol=1e-9)


def test_rest_of_every_cell():
    quiet = [stick(0.02), fork(0.02, calcium=False)]
    states = jax.jit(jax.vmap(jd.rest))(jd.stack(quiet))
    assert np.all(np.isfinite(states.v))
    np.testing.assert_allclose(states.v[0, :5], jd.rest(quiet[0]).v, rtol=0, atol=1e-9)


def test_errors(small):
    stacked = jd.stack(small)
    assert stacked.n == 12
    with pytest.raises(ValueError, match="at least one Cell"):
        jd.stack([])
    with pytest.raises(TypeError, match=r"cells\[1\] is Morphology"):
        jd.stack([small[0], jd.y_tree()])
    with pytest.raises(ValueError, match=r"cells\[0\] comes from a stack"):
        jd.stack(stacked)
    with pytest.raises(ValueError, match=r"nodes=10 is less than the 12 of cells\[1\]"):
        jd.stack(small, nodes=10)
    for use in (
        lambda: stacked.region("soma"),
        lambda: stacked.locate("soma"),
        lambda: stacked.distance,
        lambda: jax.vmap(lambda cell: brief(cell.insert(HH(), "soma"), 0))(stacked),
    ):
        with pytest.raises(ValueError, match="Ask the single"):
            use()
    for use in (lambda: brief(stacked, 0), lambda: stacked.insert(HH()), lambda: jd.rest(stacked)):
        with pytest.raises(ValueError, match="stack of 2 cells.*jax.vmap"):
            use()
    with pytest.raises(ValueError, match=r"where= must be bool \(12,\)"):
        jax.vmap(lambda cell: brief(cell.insert(HH(), [0]), 0))(stacked)
