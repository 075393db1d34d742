"""Jaxley as a worker: builds a `Neuron` branch by branch, compiles one case."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
from jax import Array
from jaxley.channels import HH, Leak

from benchmarks.jax_case import Prepared, loss_of, measured, parameters
from benchmarks.models import RA, Neuron, load

SOLVERS = {"be": "bwd_euler", "cn": "crank_nicolson"}
HH_NAMES = {"gnabar": "HH_gNa", "gkbar": "HH_gK", "gl": "HH_gLeak", "ena": "HH_eNa",
            "ek": "HH_eK", "el": "HH_eLeak"}  # fmt: skip
HAY = {  # jaxdend's mechanism -> class of jaxley-mech, jaxdend's parameter -> Jaxley's
    "NaTa": ("NaTaT", {"gbar": "NaTaT_gNaTaT"}),
    "Nap": ("NapEt2", {"gbar": "NapEt2_gNapEt2"}),
    "KPst": ("KPst", {"gbar": "KPst_gKPst"}),
    "KTst": ("KTst", {"gbar": "KTst_gKTst"}),
    "SKv3_1": ("SKv3_1", {"gbar": "SKv3_1_gSKv3_1"}),
    "SK": ("SKE2", {"gbar": "SKE2_gSKE2"}),
    "CaHVA": ("CaHVA", {"gbar": "CaHVA_gCaHVA"}),
    "CaLVA": ("CaLVA", {"gbar": "CaLVA_gCaLVA"}),
    "Ih": ("H", {"gbar": "H_gH"}),
    "Im": ("M", {"gbar": "M_gM"}),
    "Leak": ("Leak", {"g": "Leak_gLeak"}),
    "CalciumShell": ("CaPump CaNernstReversal", {"decay": "CaPump_decay", "gamma": "CaPump_gamma"}),
}


def build(neuron: Neuron) -> Any:
    """The cell with its mechanisms, compartments numbered as in the table."""
    compartment = jx.Compartment()
    kinds = {k: jx.Branch(compartment, ncomp=k) for k in set(neuron.ncomp.tolist())}
    cell = jx.Cell([kinds[k] for k in neuron.ncomp.tolist()], parents=neuron.parent.tolist())
    section = neuron.section
    cell.set("length", (neuron.length / neuron.ncomp)[section])
    cell.set("radius", neuron.diameter[section] / 2)
    cell.set("axial_resistivity", RA)
    cell.set("capacitance", neuron.cm)
    cell.set("v", neuron.v0)
    (_insert_hh if neuron.channels == "hh" else _insert_hay)(cell, neuron)
    cell.init_states()
    return cell


def _insert_hh(cell: Any, neuron: Neuron) -> None:
    cell.insert(HH())
    for name, values in neuron.mechanisms["HH"].items():
        cell.set(HH_NAMES[name], values)


def _insert_hay(cell: Any, neuron: Neuron) -> None:
    from jaxley_mech.channels import l5pc

    classes = vars(l5pc) | {"Leak": Leak}
    for name, densities in neuron.mechanisms.items():
        present = np.flatnonzero(~np.isnan(next(iter(densities.values()))))
        kind, names = HAY[name]
        for channel in kind.split():
            cell.select(nodes=present).insert(classes[channel]())
        for parameter, values in densities.items():
            cell.select(nodes=present).set(names[parameter], values[present])
    cell.set("Leak_eLeak", -90.0)
    cell.set("eNa", 50.0)
    cell.set("eK", -85.0)
    # the reversal potential that the first step uses, as NEURON has it after initialisation
    cell.set("eCa", 8.314 * 279.45 / (2 * 96485.3329) * 1e3 * np.log(2.0 / 5e-5))


def simulation(neuron: Neuron, case: dict[str, Any]) -> tuple[Callable[[Array], Array], Any]:
    """`f(x) -> (steps + 1,)` mV at the soma."""
    cell = build(neuron)
    steps, dt = case["steps"], case["dt"]
    t = dt * np.arange(steps)
    on = (t >= neuron.onset - 1e-9) & (t < neuron.onset + neuron.duration - 1e-9)
    cell.branch(0).comp(0).stimulate(jnp.asarray(neuron.amplitude * on), verbose=False)
    cell.branch(0).comp(0).record("v", verbose=False)
    mechanism, parameter = neuron.parameter.split(".")
    key = HH_NAMES[parameter] if mechanism == "HH" else HAY[mechanism][1][parameter]
    values = neuron.densities[neuron.parameter]
    present = np.flatnonzero(~np.isnan(values))
    view = cell.select(nodes=present)
    by_compartment = parameters(neuron, {"mode": case.get("mode", "forward"), "batch": 1})
    many = case.get("mode") in ("value", "gradient") or by_compartment.shape == present.shape
    (view.comp("all") if many else view).make_trainable(key, verbose=False)

    def run(x: Array) -> Array:
        v = jx.integrate(
            cell,
            params=[{key: x if many else x[None]}],
            delta_t=dt,
            solver=SOLVERS[case.get("solver", "be")],
            checkpoint_lengths=case.get("checkpoints"),
        )
        return v[0]

    return run, cell


def prepare(case: dict[str, Any]) -> Prepared:
    """Build and compile: `mode` is "forward", "value", "batch" or "gradient"."""
    neuron = load(case["model"])
    run, cell = simulation(neuron, case)
    mode = case.get("mode", "forward")
    if mode == "gradient":
        function = jax.jit(jax.value_and_grad(loss_of(run)))
    elif mode == "value":
        function = jax.jit(loss_of(run))
    elif mode == "batch":
        function = jax.jit(jax.vmap(run))
    else:
        function = jax.jit(run)
    prepared = measured(function, (parameters(neuron, case),), neuron, case)
    prepared.info["n"] = int(cell.cumsum_ncomp[-1])
    return prepared
