"""jaxdend as a worker: builds a `Neuron`, compiles one case."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxdend as jd
from benchmarks.jax_case import Prepared, loss_of, measured, parameters
from benchmarks.models import RA, REVERSALS, Neuron, load
from jaxdend import solvers
from jaxdend.cable.compartments import discretise
from jaxdend.channels import CHANNELS
from jaxdend.morphology import Branch, assemble


def bare_cell(neuron: Neuron) -> jd.Cell:
    """The cable without mechanisms, compartments numbered as in the table."""
    branches = [
        Branch(
            np.array([[0.0, 0.0, 0.0, diameter], [length, 0.0, 0.0, diameter]]), int(parent), 1.0,
            int(kind),
        )
        for parent, kind, length, diameter in zip(
            neuron.parent, neuron.kind, neuron.length, neuron.diameter, strict=True
        )
    ]  # fmt: skip
    morphology = assemble(branches, source="benchmark")
    compartments = discretise(morphology, neuron.ncomp)
    return jd.Cell(compartments, cm=neuron.cm, ra=RA, section_names=morphology.name)


def full_cell(neuron: Neuron) -> jd.Cell:
    """The cell with its mechanisms; a density that is the same everywhere is one number."""
    cell = bare_cell(neuron)
    fixed = REVERSALS if neuron.channels == "hay" else {}
    for name, densities in neuron.mechanisms.items():
        present = ~np.isnan(next(iter(densities.values())))
        given = {k: _compact(v[present]) for k, v in densities.items()}
        if name == "Leak":
            given["e"] = -90.0
        known = CHANNELS[name]()
        given |= {k: v for k, v in fixed.items() if hasattr(known, k)}
        cell = cell.insert(CHANNELS[name](**given), np.flatnonzero(present))
    return cell


def _compact(values: np.ndarray) -> float | np.ndarray:
    return float(values[0]) if np.all(values == values[0]) else values


def solver_of(case: dict[str, Any], tolerance: Array | None) -> Any:
    """The solver by name; an adaptive one takes the tolerance, an argument of the program."""
    name = case.get("solver", "be")
    if name in ("be", "cn"):
        return jd.BackwardEuler() if name == "be" else jd.CrankNicolson()
    if not hasattr(solvers, name):
        raise ValueError(f"this jaxdend has no {name}")
    return getattr(solvers, name)(tolerance=tolerance)


def simulation(neuron: Neuron, case: dict[str, Any]) -> Callable[..., Array]:
    """`f(x, tolerance) -> (steps + 1,)` mV at the soma; `x`, scalar or one a compartment."""
    cell = full_cell(neuron)
    mechanism, field = neuron.parameter.split(".")
    place = cell.mechanisms[mechanism]
    keywords = _memory(case)
    stimulus = jd.Step(
        site=0, onset=neuron.onset, duration=min(neuron.duration, 1e6), amplitude=neuron.amplitude
    )
    inputs = [stimulus, *synapses(neuron, case)]
    t1 = case["steps"] * case["dt"]

    def run(x: Array, tolerance: Array | None = None) -> Array:
        changed = cell.insert(_with(place.mechanism, field, x), where=place.at.index)
        traces = jd.simulate(
            changed, inputs, t1=t1, dt=case["dt"], record=[0], v0=neuron.v0,
            solver=solver_of(case, tolerance), **keywords,
        )  # fmt: skip
        return traces.v[:, 0]

    return run


def _with(mechanism: Any, field: str, x: Array) -> Any:
    return eqx.tree_at(lambda m: getattr(m, field), mechanism, x)


def _memory(case: dict[str, Any]) -> dict[str, Any]:
    """`memory=` where asked for."""
    if case.get("memory") is None:
        return {}
    if "memory" not in inspect.signature(jd.simulate).parameters:
        raise ValueError("this jaxdend's simulate has no memory=")
    return {"memory": case["memory"]}


def synapses(neuron: Neuron, case: dict[str, Any]) -> list[Any]:
    """`synapses` groups of exponential synapses with `events` each, spread over cell and run."""
    count, events = case.get("synapses", 0), case.get("events", 0)
    if count == 0:
        return []
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, case["steps"] * case["dt"], (count, max(events, 1))), axis=1)
    if events == 0:
        times = np.full((count, 1), np.inf)
    weight = 1e-4 / (1 + events)
    return [
        jd.Exp2Syn(
            site=rng.integers(0, neuron.n, count), weight=np.full(count, weight), times=times,
            tau1=0.5, tau2=3.0, e_rev=0.0,
        )
    ]  # fmt: skip


def prepare(case: dict[str, Any]) -> Prepared:
    """Build and compile: `mode` is "forward", "value", "batch", "sharded" or "gradient"."""
    neuron = load(case["model"])
    run = simulation(neuron, case)
    mode, x = case.get("mode", "forward"), parameters(neuron, case)
    if mode == "gradient":
        function = jax.jit(jax.value_and_grad(loss_of(run)))
    elif mode == "value":
        function = jax.jit(loss_of(run))
    elif mode == "batch":
        function = jax.jit(jax.vmap(run))
    elif mode == "sharded":
        batch = getattr(jd, "batch", None)
        if batch is None:
            raise ValueError("this jaxdend has no batch()")
        function = batch(run)
    else:
        function = jax.jit(run)
    extra = (jnp.asarray(case["tolerance"], float),) if "tolerance" in case else ()
    prepared = measured(function, (x, *extra), neuron, case)
    if case.get("depth"):
        prepared.info["depth"] = bare_cell(neuron).tree.depth
    return prepared
