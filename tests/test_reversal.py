"""Reversal potentials of ions that nobody moves, compartment by compartment, as in live NEURON."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import SK, CaHVA, CalciumShell, FixedReversals, Leak
from jaxdend.dynamics import build_model

# what a mechanism declares of its ion: NMODL's words, and which of e, inside, outside it looks at
READS = {
    "e": ("{ion}", "e{ion}"),
    "i": ("{ion}", "{ion}i"),
    "o": ("{ion}", "{ion}o"),
    "ei": ("{ion}", "e{ion}, {ion}i"),
}
COMPARTMENTS = [("e",), ("i",), ("o",), ("ei",), ("e", "i"), ("e", "o")]

MOD = """NEURON {{
    SUFFIX {name}
    USEION {ion} READ {words} WRITE i{ion}
    RANGE g
}}
PARAMETER {{ g = 0 }}
ASSIGNED {{ v e{ion} {ion}i {ion}o i{ion} }}
BREAKPOINT {{ i{ion} = g * ({sum}) }}
"""

SCRIPT = """
import json, sys
from neuron import h
compartments = json.loads(sys.argv[1])
out = {}
for celsius in (20.0, 35.0):
    for ion in ("ca", "k", "na"):
        sections = [h.Section(name=f"s{i}") for i in range(len(compartments))]
        for section, kinds in zip(sections, compartments):
            for kind in kinds:
                section.insert(f"read{ion}{kind}")
        h.celsius = celsius
        h.finitialize(-65.0)
        h.fadvance()
        out[f"{celsius:g} {ion}"] = [getattr(s(0.5), "e" + ion) for s in sections]
print("found" + json.dumps(out))
"""


def reader(ion: str, looks: str) -> jd.AbstractChannel:
    """A channel that looks at some of the three numbers of its ion."""

    class Reader(jd.AbstractChannel):
        reads = (ion,)

        def current(self, v, x, env):
            seen = {"e": env.e, "i": env.inside, "o": env.outside}
            return 0.0 * sum(seen[name][ion] for name in looks)

    Reader.__name__ = f"Reader_{ion}_{looks}"
    return Reader()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> dict:
    pytest.importorskip("neuron", reason="live NEURON: pip install 'jaxdend[validation]'")
    folder = tmp_path_factory.mktemp("readers")
    for ion in ("ca", "k", "na"):
        for kind, (_, words) in READS.items():
            words = words.format(ion=ion)
            text = MOD.format(
                name="read" + ion + kind, ion=ion, words=words, sum=words.replace(",", " +")
            )
            (folder / f"{ion}{kind}.mod").write_text(text)
    tool = Path(sys.executable).parent / "nrnivmodl"
    done = subprocess.run([str(tool)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(COMPARTMENTS)],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    return json.loads(done.stdout.split("found")[1])


def test_neurons_rule_for_every_ion_at_every_temperature(theirs):
    n = len(COMPARTMENTS)
    for title, expected in theirs.items():
        celsius, ion = title.split()
        cell = jd.Cell.from_compartments(
            parent=np.arange(n) - 1,
            axial_resistance=np.ones(n),
            area=np.ones(n),
            celsius=float(celsius),
        ).insert(Leak(g=1e-4, e=-65.0))
        for kind in READS:
            where = [i for i, kinds in enumerate(COMPARTMENTS) if kind in kinds]
            cell = cell.insert(reader(ion, kind), where)
        model = build_model(cell, (), start=jnp.zeros(()), h=jnp.ones(()))
        np.testing.assert_allclose(model.e[ion], expected, rtol=1e-7, err_msg=title)
    assert theirs["20 ca"][1] == pytest.approx(133.8446, abs=1e-4)
    assert theirs["20 ca"][0] == pytest.approx(132.458, abs=1e-3)


def test_a_fixed_reversal_potential_holds_against_readers_and_pools():
    """As NEURON's `ion_style(\"ca_ion\", 0, 1, 0, 0, 0)`, where it is inserted and nowhere else."""
    cell = jd.Cell(jd.ball_and_stick(10.0, 100.0, 1.0), max_length=60.0, celsius=20.0)
    cell = cell.insert(CaHVA()).insert(SK()).insert(CalciumShell(), [1])
    fixed = cell.insert(FixedReversals(eca=120.0), [0, 1])
    for solver in (jd.CrankNicolson(), jd.Rodas4P()):
        seen = [
            jd.simulate(
                c, t1=1.0, v0=-20.0, solver=solver, record=jd.ReversalPotential("ca", [0, 1, 2])
            )
            for c in (cell, fixed)
        ]
        free, held = (np.asarray(s["values"]) for s in seen)
        np.testing.assert_allclose(held[:, :2], 120.0)
        np.testing.assert_allclose(held[:, 2], free[:, 2])
        np.testing.assert_allclose(free[0, 0], 133.8446, atol=1e-3)
        assert abs(seen[0].final.v[0] - seen[1].final.v[0]) > 1e-4
