"""The cells that are driven: what is in them, what they answer, and that they are causal."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import REFERENCE
from jaxdend.emulator import data
from jaxdend.emulator._spikes import SAMPLES, crossings_of


@pytest.fixture(scope="module")
def reduced():
    return {name: data.SETUPS["reduced"](receptors=name) for name in data.RECEPTORS}


def channels(cell, region):
    """Names of the channels in a region."""
    where = np.flatnonzero(cell.region(region))
    return {
        name
        for name, item in cell.mechanisms.items()
        if np.isin(where, item.at.index).any() and name != "CalciumShell"
    }


def test_the_small_cells_differ_in_receptors_and_dendrites_alone(reduced):
    nmda, ampa, passive = (reduced[name] for name in data.RECEPTORS)
    assert nmda.cell.n == 51
    assert nmda.k == 96
    assert [len(s.inputs(jnp.zeros((3, s.k), bool))) for s in (nmda, ampa, passive)] == [3, 2, 2]
    for other in (ampa, passive):
        assert other.sampling.header() == nmda.sampling.header()
        np.testing.assert_array_equal(other.sites, nmda.sites)
        assert channels(other.cell, "soma") == channels(nmda.cell, "soma")
    assert channels(passive.cell, "dendrite") == {"Leak"}
    assert len(channels(ampa.cell, "dendrite")) > 5
    soma = ampa.cell.mechanisms["NaTa"].mechanism.gbar[0]
    assert passive.cell.mechanisms["NaTa"].mechanism.gbar[0] == soma
    with pytest.raises(ValueError, match="receptors must be one of"):
        data.SETUPS["reduced"](receptors="kainate")
    with pytest.raises(ValueError, match="divide 1/8 ms"):
        data.SETUPS["reduced"](dt=0.1)
    with pytest.raises(ValueError, match="not be negative"):
        data.SETUPS["reduced"](gaba=-1e-3)


def test_what_is_said_of_a_setup_is_json(reduced):
    meta = json.loads(json.dumps(reduced["nmda"].meta()))
    assert meta["exc"] * 2 == meta["k"] == len(meta["region"]) == len(meta["distance"])
    assert set(meta["region"]) <= {"basal", "apical", "oblique", "trunk", "tuft"}
    assert len(meta["dendrites"]["site"]) == reduced["nmda"].recorded == 20
    json.dumps(data.SETUPS["integrate_and_fire"]().meta())


def test_the_answer_is_causal(reduced):
    """What comes in a bin changes what is said of this bin and later ones only."""
    setup, bins, at = reduced["nmda"], 60, 40
    x = np.random.default_rng(0).random((bins, setup.k)) < 0.03
    x[20:40, : setup.k // 2] |= np.random.default_rng(1).random((20, setup.k // 2)) < 0.2
    changed = x.copy()
    changed[at:, : setup.k // 2] = True
    out = jax.jit(jax.vmap(setup.simulate))(jnp.stack([x, changed]))
    v, spikes = np.asarray(out["v"]), np.asarray(out["spikes"])
    assert not np.any(out["failed"])
    assert v.shape == spikes.shape == (2, bins)
    assert out["dendrites"].shape == (2, bins, 20)
    np.testing.assert_array_equal(v[0, :at], v[1, :at])
    np.testing.assert_array_equal(spikes[0, :at], spikes[1, :at])
    assert abs(v[0, at] - v[1, at]) > 1e-3
    assert spikes[1].sum() > spikes[0].sum()
    assert np.all(v > -100)
    assert np.all(v < 60)


def test_spikes_are_local_maxima():
    rng = np.random.default_rng(0)
    v = rng.normal(-30.0, 20.0, 8 * 50 + 1)
    bins = np.zeros(50, bool)
    for i in range(1, len(v) - 1):
        if v[i] > -25 and v[i] > v[i - 1] and v[i] >= v[i + 1]:
            bins[(i - 1) // SAMPLES] = True
    np.testing.assert_array_equal(data.spikes_of(jnp.asarray(v)), bins)
    ramp = jnp.linspace(-80.0, 40.0, 17)  # no maximum yet
    assert not data.spikes_of(ramp).any()


def test_integrate_and_fire_step_by_step():
    setup = data.SETUPS["integrate_and_fire"]()
    x = np.random.default_rng(0).random((200, 100)) < 0.02
    out = setup.simulate(jnp.asarray(x))
    v = -75.0
    for t in range(200):
        v = -75.0 + (v + 75.0) * np.exp(-1 / 20) + 2.0 * (x[t, :80].sum() - float(x[t, 80:].sum()))
        assert out["v"][t] == pytest.approx(min(v, -55.0))
        assert bool(out["spikes"][t]) == (v >= -55.0)
        v = -75.0 if v >= -55.0 else v
    assert 2 < int(out["spikes"].sum()) < 20
    assert data.SETUPS["integrate_and_fire"](tau=10.0).tau == 10.0


def test_the_published_cell_has_its_numbers():
    path = REFERENCE / "hay2011_cell1.asc"
    if not path.exists():
        pytest.skip("needs shared/reference/hay2011_cell1.asc, ModelDB 139653")
    setup = data.SETUPS["hay"](path)
    assert setup.cell.n == 642
    assert setup.sampling.exc == 639
    assert setup.k == 1278
    assert np.bincount(setup.sampling.tree[:639]).tolist() == [262, 377]
    assert setup.sampling.totals == (0.0, 800.0)
    assert int(setup.sampling.cluster.max()) == 63
    other = data.SETUPS["hay"](path, receptors="ampa", ampa=3e-4)
    assert other.sampling.totals == (0.0, (1900.0, 2000.0))
    assert other.ampa == 3e-4
    assert other.nmda == 0.0


def test_a_layer_5_cell():
    setup = data.SETUPS["l5pc"](receptors="ampa")
    assert setup.k == 2 * setup.sampling.exc == 720


@pytest.fixture(scope="module")
def branch():
    """The setup, and its answer to 1 to 9 inputs at once from the tip on, `(9, ...)`, and without
    NMDA."""
    x = np.zeros((9, 120, 9), bool)
    for n in range(9):
        x[n, 10, 8 - n :] = True
    setups = [data.SETUPS["branch"](), data.SETUPS["branch"](nmda=0.0)]
    return setups[0], *(jax.jit(jax.vmap(s.simulate))(jnp.asarray(x)) for s in setups)


def test_a_branch_has_excitation_alone_and_says_so(branch):
    setup = branch[0]
    assert (setup.k, setup.sampling.exc) == (9, 9)
    assert [type(s).__name__ for s in setup.inputs(jnp.zeros((3, 9), bool))] == ["AMPA", "NMDA"]
    meta = json.loads(json.dumps(setup.meta()))
    np.testing.assert_allclose(np.diff(meta["distance"]), 20.0)
    assert meta["inward"] == list(range(8, -1, -1))
    assert meta["crossing"] == [1, -40.0]
    assert set(meta["region"]) == {"basal"}
    with pytest.raises(ValueError, match="receptors must be one of"):
        data.SETUPS["branch"](receptors="kainate")
    with pytest.raises(ValueError, match="one of 3 dendrites; got 3"):
        data.SETUPS["branch"](crossing=(3, -40.0))


def test_other_cells_have_no_order_of_inputs(reduced):
    assert not {"inward", "crossing"} & set(reduced["nmda"].meta())


def test_a_branch_has_nmda_spikes(branch):
    """Regenerative, with a plateau: neither without NMDA."""
    setup, full, bare = branch
    peak, without = (np.asarray(out["v"]).max(axis=1) - setup.v0 for out in (full, bare))
    assert peak[0] == pytest.approx(without[0], rel=0.15)
    assert np.diff(peak).max() > 1.6 * peak[0]
    assert np.diff(without).max() < 1.25 * without[0]
    ms = [np.sum(out["dendrites"][:, :, 1] > -40.0, axis=1) for out in (full, bare)]
    assert ms[0].max() > 15
    assert ms[1].max() < 6
    spikes = np.sum(full["spikes"], axis=1)
    assert spikes[0] == 0
    assert spikes[-1] == 1


def test_crossings():
    v = jnp.asarray([-50.0] * 5 + [-30.0] * 8 + [-50.0] * 2 + [-40.0] + [-39.0] * 9)
    assert crossings_of(v, -40.0).tolist() == [True, True, False]
    assert not crossings_of(jnp.full(17, -30.0), -40.0).any()
