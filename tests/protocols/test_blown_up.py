"""A run that blew up has no spike count, threshold or peak in any protocol: all is NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend import protocols
from jaxdend.channels import HH, DCaAP, Leak
from jaxdend.mechanisms.base import AbstractChannel, param

LOOSE = {"throw": False, "dt": 0.1}


class Spoils(AbstractChannel):
    """`1e6 log(kind)` mA/cm²."""

    kind: jax.Array = param(1.0, unit="1")

    def current(self, v, x, env):
        return 1e6 * jnp.log(self.kind) + 0.0 * v


@pytest.fixture(scope="module")
def neuron():
    cell = jd.Cell(jd.ball_and_stick(20.0, 100.0, 1.0), max_length=50.0).insert(HH(), "soma")
    return cell.insert(Leak(), "dendrite")


PROTOCOLS = {
    "response": lambda c: protocols.response(c, jd.Step(0, 0.0, 1.0, 0.1), [0], t1=2.0, **LOOSE),
    "fi_curve": lambda c: protocols.fi_curve(c, 0, [0.1], duration=2.0, **LOOSE)[1:],
    "spike_threshold": lambda c: protocols.spike_threshold(c, 0, t1=3.0, rounds=2, **LOOSE),
    "refractory_period": lambda c: protocols.refractory_period(
        c, 0, [2.0, 3.0], first=1.0, high=2.0, tail=2.0, rounds=2, **LOOSE
    )[1:],
    "bac_firing": lambda c: protocols.bac_firing(
        c, 2, [0.0], pairing=protocols.Pairing(onset=1.0, t1=4.0), **LOOSE
    )[1:],
    "calcium_threshold": lambda c: (
        protocols.calcium_threshold(
            c, 2, pairing=protocols.Pairing(onset=1.0, t1=4.0), rounds=2, **LOOSE
        ).alone
    ),
    "nmda_curve": lambda c: protocols.nmda_curve(c, 2, [1.0], t1=3.0, **LOOSE)[1:],
    "step_response": lambda c: protocols.step_response(c, 0, duration=2.0, **LOOSE)[2:],
    "conduction_velocity": lambda c: protocols.conduction_velocity(c, 0, 2, t1=3.0, **LOOSE),
    "dcaap_curve": lambda c: protocols.dcaap_curve(
        c.insert(DCaAP(), [2]), 2, [0.1], onset=1.0, duration=2.0, **LOOSE
    )[1:],
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_all_is_nan(neuron, name):
    for kind in (-1.0, np.exp(1.0), np.exp(-1.0)):
        found = PROTOCOLS[name](neuron.insert(Spoils(kind)))
        assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(found))


def test_one_run_that_blew_up_leaves_no_threshold():
    def peak(x):
        return jnp.where(x > 5.0, jnp.nan, jnp.where(x > 3.0, 1.0, 0.0))

    known = protocols.threshold(peak, 0.0, 5.0, level=0.5)
    assert float(known.value) == pytest.approx(3.0, abs=2e-3)
    assert all(np.isnan(x) for x in protocols.threshold(peak, 0.0, 10.0, level=0.5))
