"""Axons, bare and myelinated, and how fast spikes run along them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import HH, Leak
from jaxdend.mechanisms.base import AbstractMechanism
from jaxdend.morphology import single_compartment
from jaxdend.protocols.measure import known_sites, numbers
from jaxdend.simulate import simulate
from jaxdend.stimuli import Step
from jaxdend.traces import spike_times

AXON = 2  # SWC type
DOWN = (0.0, 1.0, 0.0)  # away from the root, on which a cylinder grows at x = 1


def bare_axon(
    length: float = 3000.0,
    diameter: float = 1.0,
    *,
    max_length: float = 20.0,
    ra: ArrayLike = 35.4,
    cm: ArrayLike = 1.0,
    celsius: ArrayLike = 6.3,
    mechanisms: Sequence[AbstractMechanism] | None = None,
) -> Cell:
    """A uniform axon, a cylinder (µm) with the same channels all along, squid's by default.

    It grows on a piece of itself `max_length` long that plays the soma, compartment 0, from which
    distances count. `max_length` in µm, `ra` Ω·cm, `cm` µF/cm², `celsius` °C.

    **Raises:** `ValueError` for sizes that are not positive, as `Morphology.with_cylinder` and
    `Cell`.
    **Source:** Hodgkin & Huxley 1952, J Physiol 117:500 (the membrane and its 6.3 °C).
    """
    morph = single_compartment(max_length, diameter).with_cylinder(
        AXON, length, diameter, "soma[0]", 1.0, DOWN
    )
    cell = Cell(morph, max_length=max_length, ra=ra, cm=cm, celsius=celsius)
    for mechanism in (HH(),) if mechanisms is None else mechanisms:
        cell = cell.insert(mechanism)
    return cell


def myelinated_axon(
    internodes: int = 20,
    diameter: float = 1.0,
    *,
    internode_length: float = 150.0,
    node_length: float = 1.0,
    max_length: float = 20.0,
    ra: ArrayLike = 70.0,
    cm: ArrayLike = 1.0,
    myelin_cm: ArrayLike = 0.01,
    celsius: ArrayLike = 6.3,
    node: Sequence[AbstractMechanism] | None = None,
    myelin: Sequence[AbstractMechanism] | None = None,
) -> Cell:
    """Nodes of Ranvier joined by myelinated cylinders, with the regions `"node"`, `"internode"`.

    The single cable: axon and myelin are one membrane of low capacitance and leak, without a space
    between them. By default the nodes have ten times the conductances of squid axon, and myelin
    has the capacitance of a hundred membranes in series.

    **Arguments:** lengths and `diameter` (of the axon) µm; `cm` at nodes and `myelin_cm` between
    them, µF/cm²; `max_length` of compartments, µm. The first node, compartment 0, plays the soma.

    **Raises:** `ValueError` for `internodes` that is not a whole number of at least 1.
    """
    if internodes < 1 or internodes != int(internodes):
        raise ValueError(
            "myelinated_axon: internodes must be a whole number of at least 1 (bare_axon has none);"
            f" got {internodes!r}."
        )
    morph, last = single_compartment(node_length, diameter), "soma[0]"
    for i in range(2 * internodes):
        length = node_length if i % 2 else internode_length
        morph = morph.with_cylinder(AXON, length, diameter, last, 1.0, DOWN)
        last = f"axon[{i}]"
    nodes = np.arange(morph.n_sections) % 2 == 0
    labels = morph.labels | {"node": nodes, "internode": ~nodes}
    morph = dataclasses.replace(morph, labels=labels, source="myelinated_axon")
    cell = Cell(morph, max_length=max_length, ra=ra, cm=cm, celsius=celsius)
    cell = cell.set("internode", cm=myelin_cm)
    if node is None:
        node = (HH(gnabar=1.2, gkbar=0.36, gl=0.003),)  # type: ignore[arg-type]
    if myelin is None:
        myelin = (Leak(g=1e-6, e=-65.0),)  # type: ignore[arg-type]
    for region, mechanisms in (("node", node), ("internode", myelin)):
        for mechanism in mechanisms:
            cell = cell.insert(mechanism, region)
    return cell


class Conduction(NamedTuple):
    """A spike that runs from one site to another."""

    velocity: Array  # () m/s; NaN unless it passes both
    times: Array  # (2,) ms, when it passes each; inf if it does not, NaN if the run blew up


def conduction_velocity(
    cell: Cell,
    first: int,
    second: int,
    *,
    site: ArrayLike = 0,
    amplitude: ArrayLike = 1.0,
    width: ArrayLike = 0.5,
    onset: float = 0.5,
    t1: float = 20.0,
    level: ArrayLike = 0.0,
    distance: ArrayLike | None = None,
    **options: Any,
) -> Conduction:
    """The velocity of a spike between two compartments on one path from the soma; differentiable.

    **Arguments:** `first` and `second`, far enough from the ends of the axon that the spike runs
    evenly; a pulse of `amplitude` nA and `width` ms at `site` starts it; `level` mV that it
    crosses; `distance` between the two in µm, by default from their distances to the soma.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    pair = known_sites(cell, [first, second], "first and second")
    if distance is None:
        distance = abs(float(cell.distance[second] - cell.distance[first]))
    pulse = Step(known_sites(cell, site, "site"), onset, width, amplitude)  # type: ignore[arg-type]
    return _conduction_velocity(
        cell, pulse, pair, jnp.asarray(distance, float), jnp.asarray(level), t1, numbers(options)
    )


@eqx.filter_jit
def _conduction_velocity(
    cell: Cell, pulse: Step, pair: Array, distance: Array, level: Array, t1: float, options: dict
) -> Conduction:
    traces = simulate(cell, pulse, t1=t1, record=pair, **options)
    times = jnp.concatenate(
        [spike_times(traces, level, c, max_spikes=1) for c in (0, 1)]  # type: ignore[arg-type]
    )
    times = unless_blown_up(times, traces.v)  # type: ignore[arg-type]
    passed = jnp.all(jnp.isfinite(times)) & (times[0] != times[1])
    lag = jnp.where(passed, times[1] - jnp.where(passed, times[0], 0.0), 1.0)
    return Conduction(jnp.where(passed, 1e-3 * distance / lag, jnp.nan), times)
