"""Every kind of input under every solver: values and gradients, alone and in batches."""

from functools import lru_cache

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import Leak
from kinds import DT, EVERY, GROUPS, SAMPLES, T1, WEIGHTS, C, E, G, right, slopes

# Each case has its own times: of two jumps at once adaptive solvers give one all the gradient.
APART = 0.0037  # ms
MEMBERS = np.array([[1.0, 0.0], [0.6, 0.043], [1.3, -0.031]])  # scale, ms of delay


def solvers(single: bool) -> dict:
    """Solver and controller by name."""
    tight = 1e-5 if single else 1e-6
    control = diffrax.PIDController(rtol=10 * tight, atol=tight)
    return {
        "BackwardEuler": (jd.BackwardEuler(), None),
        "CrankNicolson": (jd.CrankNicolson(), None),
        "Rodas4P": (jd.Rodas4P(tight), None),
        "Rodas5P": (jd.Rodas5P(tight), None),
        "Tsit5": (diffrax.Tsit5(), control),
        "Kvaerno5": (diffrax.Kvaerno5(), control),
    }


# of the voltage, mV, and of the gradients, as a share of the largest
TOLERANCE = {
    ("BackwardEuler", False): (0.15, 0.03),
    ("CrankNicolson", False): (3e-3, 1e-2),
    ("Rodas4P", False): (2e-4, 1e-3),
    ("Rodas5P", False): (2e-4, 1e-3),
    ("Tsit5", False): (2e-4, 1e-3),
    ("Kvaerno5", False): (2e-4, 1e-3),
    ("BackwardEuler", True): (0.15, 0.03),
    ("CrankNicolson", True): (4e-3, 1e-2),
    ("Rodas4P", True): (2e-3, 3e-3),
    ("Rodas5P", True): (2e-3, 3e-3),
    ("Tsit5", True): (2e-3, 3e-3),
    ("Kvaerno5", True): (2e-3, 3e-3),
}


# Under fixed steps the derivative by event times is that of the steps, right on average over where
# in a step an event lies: a jump lands on a step, a receptor takes one of backward Euler.
BY_STEPS = ("a user's input with events", "NMDAKinetic")


@lru_cache
def expected(group: str) -> tuple[np.ndarray, np.ndarray]:
    """The voltages `(members, samples, cases)` and the gradients `(members, 2, cases)`."""
    cases = list(GROUPS[group].values())
    v, by = (
        [[f(case, a, s + APART * i) for i, case in enumerate(cases)] for a, s in MEMBERS]
        for f in (right, slopes)
    )
    return np.moveaxis(np.array(v), 1, 2), np.moveaxis(np.array(by), 1, 2)


def run(group: str, name: str, single: bool):
    """A function of scales and delays, `(cases,)` each: the sum of all losses, and voltages."""
    names = [n for n in GROUPS[group] if (n, name) not in REFUSED]
    cases = [GROUPS[group][n] for n in names]
    n = len(cases)
    cell = jd.Cell.from_compartments(
        parent=np.arange(n) - 1, axial_resistance=np.full(n, 1e9), area=np.full(n, C / 1e-5)
    ).insert(Leak(g=G / (C / 1e-5) * 1e2, e=E))
    solver, controller = solvers(single)[name]

    def loss(a, s):
        inputs = [case.make(i, a[i], s[i]) for i, case in enumerate(cases)]
        v = jd.simulate(
            cell, inputs, t1=T1, dt=DT, save_every=EVERY, solver=solver, controller=controller
        ).v
        return jnp.sum(jnp.asarray(WEIGHTS, v.dtype) @ v), v

    return names, loss


# combinations that nobody can follow, and what the message names
REFUSED = {
    ("a user's input with events", name): "Kicked" for name in ("Tsit5", "Kvaerno5")
}  # fmt: skip

FAST = {
    ("stimuli", "CrankNicolson", False),
    ("states", "Rodas5P", False), ("states", "CrankNicolson", False),
    ("clamps", "BackwardEuler", False), ("synapses", "BackwardEuler", True),
}  # fmt: skip
NIGHT = (pytest.mark.slow, pytest.mark.nightly)
TABLE = [
    pytest.param(group, name, single, id=f"{group}-{name}-{'float32' if single else 'float64'}",
                 marks=() if (group, name, single) in FAST else NIGHT)
    for group in GROUPS
    for name in solvers(False)
    for single in (False, True)
    if not (group == "clamps" and name == "Tsit5")  # explicit, on a voltage that moves in 10 ns
]  # fmt: skip


@pytest.mark.parametrize(("group", "name", "single"), TABLE)
def test_values_and_gradients(group, name, single):
    """The loss's value and gradient, then both for a batch, and the voltage alone."""
    v_right, slopes_right = expected(group)
    with jax.enable_x64(not single):
        names, loss = run(group, name, single)
        keep = [i for i, n in enumerate(GROUPS[group]) if n in names]
        v_right, slopes_right = v_right[:, :, keep], slopes_right[:, :, keep]
        a, s = (jnp.asarray(np.tile(x[:, None], (1, len(names))), float) for x in MEMBERS.T)
        s = s + APART * jnp.asarray(keep)
        both = jax.value_and_grad(loss, (0, 1), has_aux=True)
        (_, v), by = jax.jit(both)(a[0], s[0])
        (_, v_many), by_many = jax.jit(jax.vmap(both))(a, s)
        plain = loss(a[0], s[0])[1]
        plain_many = jax.jit(jax.vmap(loss))(a, s)[1]
    assert v.dtype == (jnp.float32 if single else jnp.float64)
    volts, share = TOLERANCE[name, single]
    if name == "CrankNicolson" and group in ("states", "clamps"):
        volts, share = 0.1, 0.05  # states that read one another, commands that end: first order
    check_voltages(names, v[None], v_right[:1], volts, "value")
    check_voltages(names, plain[None], v_right[:1], volts, "value without gradient")
    check_voltages(names, v_many, v_right, volts, "vmap")
    check_voltages(names, plain_many, v_right, volts, "vmap without gradient")
    scale = np.max(np.abs(slopes_right), axis=0)
    for k, what in enumerate(("scale", "delay")):
        if what == "delay" and name == "BackwardEuler":
            continue  # rounds times to steps
        for found, title in ((by[k][None], "grad"), (by_many[k], "vmap(grad)")):
            error = np.abs(np.asarray(found) - slopes_right[: len(found), k]) / scale[k]
            if what == "delay" and name == "CrankNicolson":  # those of the steps, see `BY_STEPS`
                error = error * [n not in BY_STEPS for n in names]
            check(names, error, share, f"{title} by {what}")


def check_voltages(names, v, v_right, volts, what):
    assert v.shape == (len(v_right), len(SAMPLES), len(names))
    check(names, np.max(np.abs(np.asarray(v) - v_right), axis=1), volts, what)


def check(names, error, most, what):
    worst = dict(zip(names, np.max(error, axis=0), strict=True))
    print(what, {n: f"{e:.1e}" for n, e in worst.items()})
    bad = {n: f"{e:.2e}" for n, e in worst.items() if not e <= most}
    assert not bad, f"{what}: errors beyond {most}: {bad}"


@pytest.mark.parametrize(("case", "name"), REFUSED)
def test_what_no_solver_can_follow_is_refused_by_name(case, name):
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=E))
    item = GROUPS["states"][case].make(0, jnp.array(1.0), jnp.array(0.0))
    solver, controller = solvers(False)[name]
    with pytest.raises(ValueError, match=REFUSED[case, name]):
        jd.simulate(cell, item, t1=T1, solver=solver, controller=controller)
