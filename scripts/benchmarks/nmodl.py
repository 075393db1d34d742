"""The channels of Hay et al. (2011) for NEURON, written from jaxdend's formulas and compiled.

The published `.mod` files are not redistributed here. These have the same equations, as jaxdend
documents them, in the form that the published ones have: `cnexp` gates, rates computed each step,
no tables. They need a C++ compiler.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from neuron import h

Q34 = 2.3**1.3  # rates measured at 21 °C, frozen at 34 °C

# suffix -> (ion, reversal, conductance without gbar, gates -> lines that set inf and tau)
CHANNELS = {
    "NaTa": ("na", "ena", "m*m*m*h", {
        "m": ("a = 0.182*lin(v + 38, 6)", "b = 0.124*lin(-(v + 38), 6)", "rates"),
        "h": ("a = 0.015*lin(-(v + 66), 6)", "b = 0.015*lin(v + 66, 6)", "rates"),
    }),
    "Nap": ("na", "ena", "m*m*m*h", {
        "m": ("a = 0.182*lin(v + 38, 6)", "b = 0.124*lin(-(v + 38), 6)",
              "infm = 1/(1 + exp(-(v + 52.6)/4.6))", "taum = 6/(a + b)/Q"),
        "h": ("a = 2.88e-6*lin(-(v + 17), 4.63)", "b = 6.94e-6*lin(v + 64.4, 2.63)",
              "infh = 1/(1 + exp((v + 48.8)/10))", "tauh = 1/(a + b)/Q"),
    }),
    "KPst": ("k", "ek", "m*m*h", {
        "m": ("w = v + 10", "infm = 1/(1 + exp(-(w + 1)/12))",
              "if (w < -50) { taum = (1.25 + 175.03*exp(0.026*w))/Q } "
              "else { taum = (1.25 + 13*exp(-0.026*w))/Q }"),
        "h": ("infh = 1/(1 + exp((w + 54)/11))",
              "tauh = (360 + (1010 + 24*(w + 55))*exp(-((w + 75)/48)^2))/Q"),
    }),
    "KTst": ("k", "ek", "m*m*m*m*h", {
        "m": ("w = v + 10", "infm = 1/(1 + exp(-w/19))",
              "taum = (0.34 + 0.92*exp(-((w + 71)/59)^2))/Q"),
        "h": ("infh = 1/(1 + exp((w + 66)/10))", "tauh = (8 + 49*exp(-((w + 73)/23)^2))/Q"),
    }),
    "SKv3_1": ("k", "ek", "m", {
        "m": ("infm = 1/(1 + exp(-(v - 18.7)/9.7))", "taum = 4/(1 + exp(-(v + 46.56)/44.14))"),
    }),
    "SK": ("k", "ek", "m", {
        "m": ("w = cai", "if (w < 1e-7) { w = w + 1e-7 }", "infm = 1/(1 + (4.3e-4/w)^4.8)",
              "taum = 1"),
    }),
    "Im": ("k", "ek", "m", {
        "m": ("a = 3.3e-3*exp(0.1*(v + 35))", "b = 3.3e-3*exp(-0.1*(v + 35))", "rates"),
    }),
    "Ih": ("", "ehcn", "m", {
        "m": ("a = 0.00643*lin(-(v + 154.9), 11.9)", "b = 0.193*exp(v/33.1)",
              "infm = a/(a + b)", "taum = 1/(a + b)"),
    }),
    "CaHVA": ("ca", "eca", "m*m*h", {
        "m": ("a = 0.055*lin(v + 27, 3.8)", "b = 0.94*exp(-(v + 75)/17)",
              "infm = a/(a + b)", "taum = 1/(a + b)"),
        "h": ("a = 4.57e-4*exp(-(v + 13)/50)", "b = 0.0065/(1 + exp(-(v + 15)/28))",
              "infh = a/(a + b)", "tauh = 1/(a + b)"),
    }),
    "CaLVA": ("ca", "eca", "m*m*h", {
        "m": ("infm = 1/(1 + exp(-(v + 40)/6))", "taum = (5 + 20/(1 + exp((v + 35)/5)))/Q"),
        "h": ("infh = 1/(1 + exp((v + 90)/6.4))", "tauh = (20 + 50/(1 + exp((v + 50)/7)))/Q"),
    }),
}  # fmt: skip

POOL = """NEURON {
    SUFFIX jdCalciumShell
    USEION ca READ ica WRITE cai
    RANGE decay, gamma
}
UNITS { (mV) = (millivolt) (mA) = (milliamp) FARADAY = (faraday) (coulombs) (molar) = (1/liter)
    (mM) = (millimolar) (um) = (micron) }
PARAMETER { gamma = 0.05 decay = 80 (ms) depth = 0.1 (um) minCai = 1e-4 (mM) }
ASSIGNED { ica (mA/cm2) }
STATE { cai (mM) }
BREAKPOINT { SOLVE states METHOD cnexp }
DERIVATIVE states {
    cai' = -(10000)*(ica*gamma/(2*FARADAY*depth)) - (cai - minCai)/decay
}
"""

TEMPLATE = """NEURON {{
    SUFFIX jd{name}
    {use}
    RANGE gbar
}}
UNITS {{ (S) = (siemens) (mV) = (millivolt) (mA) = (milliamp) (mM) = (milli/liter) }}
PARAMETER {{ gbar = 1e-5 (S/cm2) ehcn = -45 (mV) Q = {q!r} }}
ASSIGNED {{ v (mV) {e} (mV) {i} (mA/cm2) cai (mM) a b w {assigned} }}
STATE {{ {states} }}
BREAKPOINT {{
    SOLVE gates METHOD cnexp
    {i} = gbar*{open}*(v - {e})
}}
DERIVATIVE gates {{
    rates()
{derivatives}
}}
INITIAL {{
    rates()
{initial}
}}
PROCEDURE rates() {{
    UNITSOFF
{rates}
    UNITSON
}}
FUNCTION lin(x, y) {{
    UNITSOFF
    if (fabs(x/y) < 1e-6) {{ lin = y*(1 + x/y/2) }} else {{ lin = x/(1 - exp(-x/y)) }}
    UNITSON
}}
"""


def text(name: str) -> str:
    """The NMODL of one channel."""
    ion, reversal, opening, gates = CHANNELS[name]
    uses = [f"USEION {ion} READ {reversal} WRITE i{ion}"] if ion else ["NONSPECIFIC_CURRENT i"]
    if name == "SK":
        uses.append("USEION ca READ cai")
    lines = []
    for gate, rules in gates.items():
        for rule in rules:
            pair = (f"inf{gate} = a/(a + b)", f"tau{gate} = 1/(a + b)/Q")
            lines += pair if rule == "rates" else (rule,)
    out = TEMPLATE.format(
        name=name,
        use="\n    ".join(uses),
        q=Q34,
        e=reversal,
        i=f"i{ion}",
        assigned=" ".join(f"inf{g} tau{g}" for g in gates),
        states=" ".join(gates),
        open=opening,
        derivatives="\n".join(f"    {g}' = (inf{g} - {g})/tau{g}" for g in gates),
        initial="\n".join(f"    {g} = inf{g}" for g in gates),
        rates="\n".join(f"    {line}" for line in lines),
    )
    if ion:
        out = out.replace(" ehcn = -45 (mV)", "")
    else:
        out = out.replace(" ehcn (mV) i", " i")
    return out if name == "SK" else out.replace(" cai (mM)", "")


_loaded = False


def load() -> None:
    """Compile the mechanisms once per machine and load them into this process.

    **Raises:** `RuntimeError` with the compiler's words.
    """
    global _loaded  # noqa: PLW0603
    if _loaded:
        return
    files = {f"jd{name}.mod": text(name) for name in CHANNELS} | {"jdCalciumShell.mod": POOL}
    key = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"jaxdend-benchmark-nmodl-{key}"
    libraries = [*folder.glob("*/libnrnmech.so"), *folder.glob("*/libnrnmech.dylib")]
    if not libraries:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_text(content)
        tool = Path(sys.executable).parent / "nrnivmodl"
        done = subprocess.run([str(tool)], cwd=folder, capture_output=True, text=True, check=False)
        libraries = [*folder.glob("*/libnrnmech.so"), *folder.glob("*/libnrnmech.dylib")]
        if not libraries:
            raise RuntimeError(f"nrnivmodl failed: {done.stdout[-600:]} {done.stderr[-600:]}")
    h.nrn_load_dll(str(libraries[0]))
    _loaded = True
