"""Every channel of the registry: its published formula, ranges, singularities, gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from channels.formulas import CURRENT, GATES
from helpers import close
from jaxdend import channels
from jaxdend.channels import CHANNELS, CalciumShell, CaT, Kv, Na, NaTa, Traub, pospischil
from jaxdend.mechanisms.base import AbstractChannel, AbstractPool, Env
from jaxdend.mechanisms.ions import IONS

# Every integer voltage is on the grid; these are the removable singularities between them.
FRACTIONS = [-154.9, -64.4, 13.1 - 50, 40.1 - 50, 35.1 - 50, 19.88, 81.5]
EXACT = np.concatenate([np.linspace(-200, 200, 401), FRACTIONS])
STEP = 1e-3
GRID = EXACT[:, None] + [-STEP, -1e-6, 0.0, 1e-6, STEP]
KINKED = {-60.0, -82.0}  # where the published tau of KPst and CaTGHK changes branch
PEAKS = {"Izhikevich": {30.0}, "AdEx": {0.0, 20.0}}  # where these neurons are reset
SOMEWHERE = np.linspace(-149.63, 99.37, 250)  # away from every singularity
CELSIUS, CALCIUM, E_CA = 31.0, 3e-4, 118.0

NO_GATES = ("CalciumShell", "DCaAP")  # tested on their own
NAMES = [name for name in CHANNELS if not name.startswith(NO_GATES)]
every_channel = pytest.mark.parametrize("name", NAMES)


def surroundings(v, dtype=jnp.float64, calcium=CALCIUM) -> Env:
    def full(x):
        return jnp.full(v.shape, x, dtype)

    outside = {"ca": full(IONS["ca"].outside)}
    return Env(jnp.asarray(CELSIUS, dtype), {"ca": full(E_CA)}, {"ca": full(calcium)}, outside)


@functools.cache
def make(name):
    return CHANNELS[name]()


def some_state(channel, v, env):
    gates = {name: 0.2 + 0.6 * inf for name, (inf, _) in channel.gates(v, env).items()}
    return channel.initial(v, env) | gates


def smooth_at(name):
    return ~np.isin(EXACT, list(KINKED | PEAKS.get(name.split(".")[0], set())))


def currents(channel, v, x, env):
    found = channel.current(v, x, env)
    return list(found.values()) if isinstance(found, dict) else [found]


def everything(channel, v, env):
    """Gates and currents."""
    return channel.gates(v, env), currents(channel, v, some_state(channel, v, env), env)


def measure(channel, v, env):
    """Values, their slopes in voltage, and the gradient of their sum by every parameter."""

    def total(channel):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(everything(channel, v, env)))

    values, slopes = jax.jvp(lambda v: everything(channel, v, env), (v,), (jnp.ones_like(v),))
    return values, slopes, jax.grad(total)(channel)


@functools.cache
def measured(name, dtype, rounded=False):
    """`measure` on the whole grid, in `dtype`; `rounded` to float32 voltages."""
    v = jnp.asarray(GRID.astype(np.float32) if rounded else GRID, dtype)
    channel = jax.tree.map(lambda leaf: leaf.astype(dtype), make(name))
    run = jax.jit(measure) if dtype == jnp.float32 else measure
    return run(channel, v, surroundings(v, dtype))


def test_the_registry():
    assert len(CHANNELS) >= 40
    assert set(NAMES) == set(GATES) == set(CURRENT)
    made = {type(make(name)) for name in CHANNELS}
    public = {c for c in vars(channels).values() if isinstance(c, type)}
    classes = {c for c in public if issubclass(c, (AbstractChannel, AbstractPool))}
    assert made >= classes


@every_channel
def test_parameters_have_units_and_docs(name):
    for field in dataclasses.fields(make(name)):
        if not field.metadata.get("static"):
            assert field.metadata["unit"]
            assert field.metadata["doc"]


@every_channel
def test_gates_are_the_published_ones(name):
    v = SOMEWHERE
    got = make(name).gates(jnp.asarray(v), surroundings(v))
    want = GATES[name](v, CALCIUM, CELSIUS)
    assert got.keys() == want.keys()
    for gate, (inf, tau) in want.items():
        close(got[gate][0], inf, rtol=1e-9, atol=1e-15, err_msg=gate)
        close(got[gate][1], tau, rtol=1e-9, err_msg=gate)


@every_channel
def test_current_is_the_published_one(name):
    v = SOMEWHERE
    x = {gate: 0.1 + 0.8 * np.random.rand(len(v)) for gate in GATES[name](v, CALCIUM, CELSIUS)}
    env = surroundings(v)
    got = make(name).current(jnp.asarray(v), make(name).initial(jnp.asarray(v), env) | x, env)
    want = CURRENT[name](v, x, CALCIUM, CELSIUS, E_CA)
    assert isinstance(got, dict) == isinstance(want, dict)
    if not isinstance(got, dict):
        got, want = {make(name).ion: got}, {make(name).ion: want}
    assert got.keys() == want.keys()
    for ion, i in want.items():
        close(got[ion], i, rtol=1e-9, atol=1e-18)


@every_channel
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
def test_finite_and_in_range_everywhere(name, dtype):
    values, slopes, by_parameter = measured(name, dtype)
    for inf, tau in values[0].values():
        if name.split(".")[0] not in PEAKS:  # their second variable is not a fraction
            assert (inf >= 0).all()
            assert (inf <= 1).all()
        assert (tau > 0).all()
    for leaf in jax.tree.leaves((values, slopes, by_parameter)):
        assert leaf.dtype == dtype
        assert np.isfinite(leaf).all()


WIDE = np.unique(np.concatenate([np.linspace(-1e3, 1e3, 2001), np.linspace(-1e3, 1e3, 977)]))


@pytest.mark.parametrize("name", [n for n in CHANNELS if not n.startswith("CalciumShell")])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
def test_finite_wherever_a_run_has_not_blown_up(name, dtype):
    """Values, and slopes forward and backward, from -1000 to 1000 mV at 0 to 50 °C."""
    v = jnp.asarray(WIDE, dtype)
    channel = jax.tree.map(lambda leaf: leaf.astype(dtype), make(name))

    def equations(v, celsius, channel):
        env = dataclasses.replace(surroundings(v, dtype), celsius=celsius)
        x = {key: 0.6 * value + 0.1 for key, value in channel.initial(v, env).items()}
        advanced = channel.advance(v, x, env, jnp.asarray(0.025, dtype))
        rates = channel.gates(v, env), channel.derivative(v, x, env)
        return rates, advanced, currents(channel, v, x, env)

    @jax.jit
    @jax.vmap
    def measured(celsius):
        values, slopes = jax.jvp(
            lambda v: equations(v, celsius, channel), (v,), (jnp.ones_like(v),)
        )
        back = jax.vjp(equations, v, celsius, channel)[1](jax.tree.map(jnp.ones_like, values))
        return values, slopes, back

    for path, leaf in jax.tree.leaves_with_path(measured(jnp.asarray([0.0, 36.0, 50.0], dtype))):
        assert leaf.dtype == dtype
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)


@every_channel
def test_slopes_are_right_at_every_voltage(name):
    """Against central differences, removable singularities included."""
    smooth = smooth_at(name)
    values, slopes, _ = measured(name, jnp.float64)
    for value, slope in zip(jax.tree.leaves(values), jax.tree.leaves(slopes), strict=True):
        value, slope = np.asarray(value)[smooth], np.asarray(slope)[smooth, 2]
        error = np.abs(slope - (value[:, 4] - value[:, 0]) / (2 * STEP))
        assert (error <= 1e-5 * np.abs(slope) + 1e-7 * np.abs(value[:, 2])).all()


@every_channel
def test_float32_slopes_are_close_to_float64(name):
    """At the very same voltages; float32 may take the other branch of a kink, within 1e-3 mV."""
    smooth = smooth_at(name)
    got, want = measured(name, jnp.float32)[1], measured(name, jnp.float64, rounded=True)[1]
    for single, double in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        single, double = np.asarray(single, np.float64)[smooth], np.asarray(double)[smooth]
        error = np.abs(single - double)
        assert (error <= 2e-4 * np.abs(double) + 1e-5 * np.abs(double).max()).all()


@every_channel
def test_rest_and_exact_advance(name):
    channel, v, h = make(name), jnp.asarray(SOMEWHERE), 0.31
    env = surroundings(v)
    x = channel.initial(v, env)
    for rate in channel.derivative(v, x, env).values():
        close(rate, 0, atol=1e-12)
    x = some_state(channel, v, env)
    moved = channel.advance(v, x, env, h)
    for gate, (inf, tau) in channel.gates(v, env).items():
        want = inf + (x[gate] - inf) * np.exp(-h / tau)
        close(moved[gate], want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("calcium", [0.0, 1e-9, 1e-7, 1e-1])
@pytest.mark.parametrize("name", ["SK", "BK.migliore", "KAhp", "SlowAhp", "KCa", "CaLCA1"])
def test_any_calcium_concentration(name, calcium):
    v = jnp.asarray([-80.0, 0.0, 40.0])
    channel = make(name)

    def total(calcium):
        env = surroundings(v, calcium=calcium)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(everything(channel, v, env)))

    assert all(np.isfinite(f(calcium)) for f in (total, jax.grad(total)))


def test_sk_lifts_very_low_calcium():
    v = jnp.zeros(2)
    inf, _ = make("SK").gates(v, surroundings(v, calcium=5e-8))["z"]
    close(inf, 1 / (1 + (4.3e-4 / 1.5e-7) ** 4.8), rtol=1e-10)


def table(f, v, low, high, intervals):
    """NEURON's look-up: linear in a table of `intervals`, clamped."""
    grid = np.linspace(low, high, intervals + 1)
    return np.interp(v, grid, f(grid))


@pytest.mark.parametrize(
    ("channel", "name", "shift", "grid"),
    [
        (Traub(table=True), "Traub", 0.0, (-100, 70, 1000)),
        (Na(table=True), "Na", -5.0, (-120, 100, 199)),
        (Kv(table=True), "Kv", 0.0, (-120, 100, 199)),
        (CaT(table=True), "CaT", 0.0, (-120, 100, 199)),
    ],
    ids=["Traub", "Na", "Kv", "CaT"],
)
def test_tables_interpolate_as_neuron_does(channel, name, shift, grid):
    v = np.linspace(-170, 130, 2003)
    got = channel.gates(jnp.asarray(v), surroundings(v))
    for gate in got:
        for i in range(2):
            want = table(
                lambda u, gate=gate, i=i: GATES[name](u - shift, CALCIUM, CELSIUS)[gate][i],
                v + shift,
                *grid,
            )
            close(got[gate][i], want, rtol=1e-9)


def test_the_t_channels_table_holds_steps():
    v, h = np.linspace(-130, 110, 1001), 0.025
    x = {"m": jnp.full(len(v), 0.3), "h": jnp.full(len(v), 0.7)}
    got = CaT(table=True).advance(jnp.asarray(v), x, surroundings(v), jnp.asarray(h))
    for gate in x:

        def values(u, gate=gate):
            return GATES["CaT"](u, CALCIUM, CELSIUS)[gate]

        inf = table(lambda u: values(u)[0], v, -120, 100, 199)
        part = table(lambda u: -np.expm1(-h / values(u)[1]), v, -120, 100, 199)
        close(got[gate], x[gate] + part * (inf - x[gate]), rtol=1e-12)


def test_variants_are_data_of_one_class():
    distal = CHANNELS["KA.distal"](gbar=0.02, nmin=0.3)
    assert type(distal) is type(CHANNELS["KA.proximal"]())
    assert float(distal.gbar) == 0.02
    assert float(distal.nmin) == 0.3
    assert float(distal.vhalfn) == -1.0
    assert float(NaTa(half_m=-40).half_m) == -40


def test_hh_against_neuron():
    n = pytest.importorskip("neuron")
    n.h.load_file("stdrun.hoc")
    section = n.h.Section(name="hh")
    section.insert("hh")
    n.h.usetable_hh = 0
    n.h.celsius = 12.0
    channel = make("HH")
    for v in (-90.0, -65.0, -40.0, -12.3, 30.0):
        n.h.finitialize(v)
        there = section(0.5).hh
        gates = channel.gates(jnp.asarray([v]), Env(jnp.asarray(12.0), {}, {}, {}))
        for gate in "mhn":
            want = (getattr(there, gate + "inf"), getattr(there, gate + "tau"))
            close(np.ravel(gates[gate]), want, rtol=1e-7)


@pytest.mark.parametrize("made", [CalciumShell(460.0, 5.01e-4), CalciumShell.destexhe()])
def test_calcium_shell(made):
    v, current = jnp.zeros(3), jnp.asarray([0.0, -1e-3, -5e-3])
    close(made.start(v), np.full(3, made.cai))
    rest = made.pool_derivative(made.minCai, jnp.zeros(()))
    assert float(rest) == 0.0
    rate = made.pool_derivative(made.start(v), current)
    influx = -10000 * np.asarray(current) * float(made.gamma) / (2 * 96485.33212331 * 0.1)
    want = influx - (float(made.cai) - float(made.minCai)) / float(made.decay)
    close(rate, want, rtol=1e-12)


@pytest.mark.parametrize("kind", ["RS", "FS", "IB", "IBR", "LTS"])
def test_pospischil_cells(kind):
    found = [type(m).__name__ for m in pospischil(kind)]
    assert found[:3] == ["Leak", "PospischilNa", "PospischilK"]
    assert ("PospischilM" in found) == (kind != "FS")
    assert ("CalciumShell" in found) == (kind in ("IB", "IBR", "LTS"))


def test_pospischil_knows_its_cells():
    with pytest.raises(ValueError, match="RS, FS, IB, IBR, LTS; got 'XX'"):
        pospischil("XX")
