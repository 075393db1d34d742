"""Find a dCaAP made of ordinary channels: random screening, then gradients, from several seeds.

    python scripts/find_dcaap.py --seeds 10 --input step --out dcaap_out

One compartment of human membrane has an inactivating calcium channel, a fast A-type and a slow
potassium channel, with all eighteen densities and kinetic numbers unknown; `--third by_calcium`
puts potassium channels that calcium opens in place of the A-type one. It gets steps, ramps or
volleys of excitatory synapses of many strengths. Wanted is the dCaAP of Gidon et al. (2020) Science
367:83: the first event is largest just above the threshold and shrinks as the input grows.

A seed screens random neurons in batches (`fitting.search`), descends from the best of them by the
gradient through the simulation (`fitting.fit`), and judges what it reached. Found, as it was fixed
before the first search, is a neuron with

    A(2x) < A(1x) / 2   and   peak(2x) <= peak(1x) - 10 mV   and   A(.95x) < 5 mV,

all the same within 1 mV at half the time step. 1x is half a percent above the least strength, on a
grid of half a percent, with an event, which is A of 30 mV or more. A is the height of the first
event above the level where the voltage settles; under a volley, which passes, above the peak
without calcium. With `--returns` the voltage must also be back within 5 mV of rest 150 ms after the
input, at all strengths: many compartments that fulfil the rest stay up for good after a strong one.

Go on with the same command after Ctrl-C or a crash. Writes find_dcaap.json and find_dcaap.png.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

import jaxdend as jd
from jaxdend import fitting
from jaxdend.channels import BK, SK, CaHVAInactivating, CalciumShell, KAFast, KSlow, Leak
from jaxdend.plotting import COLORS, context, savefig
from jaxdend.synapses import AMPA, NMDA

CHANNELS = {c.__name__: c for c in (CaHVAInactivating, KAFast, KSlow, CalciumShell, BK, SK)}
CONDUCTANCE, MILLISECOND = {"unit": "S/cm2"}, {"unit": "ms"}
MILLIVOLT: dict[str, Any] = {"scale": "linear", "unit": "mV"}
RANGES: dict[str, tuple[float, float, dict[str, Any]]] = {
    "CaHVAInactivating.gbar": (5e-4, 2e-2, CONDUCTANCE),
    "CaHVAInactivating.half_m": (-45.0, -5.0, MILLIVOLT),
    "CaHVAInactivating.slope_m": (3.0, 9.0, MILLIVOLT),
    "CaHVAInactivating.tau_m": (0.5, 10.0, MILLISECOND),
    "CaHVAInactivating.half_h": (-65.0, -25.0, MILLIVOLT),
    "CaHVAInactivating.slope_h": (-12.0, -4.0, MILLIVOLT),
    "CaHVAInactivating.tau_h": (5.0, 100.0, MILLISECOND),
    "KSlow.gbar": (1e-4, 1e-2, CONDUCTANCE),
    "KSlow.half_n": (-40.0, 0.0, MILLIVOLT),
    "KSlow.slope_n": (3.0, 12.0, MILLIVOLT),
    "KSlow.tau_n": (5.0, 100.0, MILLISECOND),
}
THIRD: dict[str, dict[str, tuple[float, float, dict[str, Any]]]] = {
    "a_type": {
        "KAFast.gbar": (1e-3, 5e-2, CONDUCTANCE),
        "KAFast.half_a": (-45.0, 0.0, MILLIVOLT),
        "KAFast.slope_a": (3.0, 12.0, MILLIVOLT),
        "KAFast.tau_a": (0.2, 3.0, MILLISECOND),
        "KAFast.half_b": (-85.0, -50.0, MILLIVOLT),
        "KAFast.slope_b": (-10.0, -4.0, MILLIVOLT),
        "KAFast.tau_b": (5.0, 100.0, MILLISECOND),
    },
    "by_calcium": {
        "CalciumShell.decay": (5.0, 200.0, MILLISECOND),
        "CalciumShell.gamma": (1e-3, 1.0, {}),
        "BK.gbar": (1e-4, 0.2, CONDUCTANCE),
        "BK.abar": (0.05, 5.0, {"unit": "1/ms"}),
        "BK.bbar": (0.05, 5.0, {"unit": "1/ms"}),
        "BK.k1": (1e-4, 0.2, {"unit": "mM"}),
        "BK.k2": (1e-7, 1e-2, {"unit": "mM"}),
        "SK.gbar": (1e-5, 2e-2, CONDUCTANCE),
    },
    "none": {},
}
SPACES = {
    third: fitting.ParameterSpace({name: fitting.Parameter(a, b, **more)
                                   for name, (a, b, more) in (RANGES | ranges).items()})
    for third, ranges in THIRD.items()
}  # fmt: skip
V0, CELSIUS = -75.0, 35.0  # mV, °C
ONSET, OFF, END, DT = 10.0, 310.0, 460.0, 0.1  # ms; the input ends at OFF, the run at END
EVENT, SILENT, FALL = 30.0, 5.0, 10.0  # mV
OCTAVE = 8  # strengths of the grid between 1x and 2x
WEAKEST = {"step": 0.008, "ramp": 0.008, "volley": 1.2e-4}  # nA, nA, µS
STRENGTHS = 2.0 ** (
    np.arange(3 * OCTAVE) / OCTAVE
)  # of the weakest; 1x is in the first two octaves
RAMP = 50.0  # ms
VOLLEY = ONSET + np.arange(0.0, 40.0, 2.0)  # ms, the arrivals at each of both kinds of synapse
POPULATION = 256  # random neurons in a batch
RETURNED = 5.0  # mV from rest 150 ms after the input, more than which is a plateau that stays

FIXED = {name: {"ek": -85.0} for name in ("BK", "SK")} | {"CalciumShell": {"cai": 1e-4}}
BARE = jd.Cell(jd.morphology.single_compartment(30.0, 30.0), max_length=100.0, cm=0.45)
BARE = BARE.insert(Leak(g=1.0 / 37000.0, e=V0))


def inputs(kind: str, strength: Any) -> Any:
    """The input of a kind; strength in nA, of a volley the peak conductance of an event in µS."""
    if kind == "step":
        return jd.Step(0, ONSET, OFF - ONSET, strength)
    if kind == "ramp":
        t = np.array([0.0, ONSET, ONSET + RAMP, OFF, OFF + 0.1, END])
        return jd.Waveform(0, t, strength * np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
    at = VOLLEY[None]
    return [
        AMPA.preset("gidon2020", [0], strength, at),
        NMDA.preset("gidon2020", [0], strength, at),
    ]


def neuron(params: dict[str, Any]) -> jd.Cell:
    """The compartment with its channels; `params` in their units, and perhaps `"celsius"`."""
    cell = BARE.set(celsius=params.get("celsius", CELSIUS))
    for name, cls in CHANNELS.items():
        own = {key.split(".")[1]: x for key, x in params.items() if key.startswith(name + ".")}
        if own:
            cell = cell.insert(cls(**FIXED.get(name, {}), **own))
    return cell


def voltage(params: dict[str, Any], kind: str, strength: Any, dt: float = DT) -> jax.Array:
    """Voltage `(t,)` mV from the onset of the input."""
    cell, given = neuron(params), inputs(kind, strength)
    traces = jd.simulate(cell, given, t1=END, dt=dt, record=[0], v0=V0, throw=False)
    assert traces.v is not None
    return traces.v[round(ONSET / dt) :, 0]


def first_peak(v: jax.Array) -> jax.Array:
    """The peak of the first event: the largest voltage before the first fall by 10 mV."""
    highest = jax.lax.cummax(jax.lax.stop_gradient(v))
    fallen = highest - jax.lax.stop_gradient(v) >= FALL
    end = jnp.where(fallen.any(), jnp.argmax(fallen), len(v))
    return v[jnp.argmax(jnp.where(jnp.arange(len(v)) < end, highest, -jnp.inf))]


def measured(params: dict[str, Any], kind: str, strength: Any, dt: float = DT) -> jax.Array:
    """Numbers about one voltage, `(5,)` mV.

    **Returns:** height and peak of the first event, peak of all, the level in the last 100 ms of
    the input, and how far from rest the run ends.
    """
    v = voltage(params, kind, strength, dt)
    off = round((OFF - ONSET) / dt)
    peak, level = first_peak(v), jnp.median(v[off - round(100.0 / dt) : off])
    base = level
    if kind == "volley":
        without = params | {"CaHVAInactivating.gbar": 0.0 * strength}
        base = jnp.max(voltage(without, kind, strength, dt))
    return jnp.stack([peak - base, peak, jnp.max(v), level, v[-1] - V0])


def loss(params: dict[str, Any], kind: str, returns: bool) -> jax.Array:
    """How far a neuron is from events that shrink by more than the criterion asks, 0 at that."""
    strengths = jnp.asarray(WEAKEST[kind] * STRENGTHS)
    still = jax.lax.stop_gradient(params)
    height = jax.vmap(lambda s: measured(still, kind, s)[0])(strengths)[:-OCTAVE]
    fires = height >= EVENT
    at = jnp.where(fires.any(), jnp.argmax(fires), jnp.argmax(height))
    below = jnp.where(at > 0, height[at - 1], 0.0)  # no threshold where the weakest fires already
    one, two = (measured(params, kind, strengths[at + k]) for k in (0, OCTAVE))
    lacks = [
        EVENT + 15.0 - one[0],
        two[0] - 0.2 * one[0],
        two[1] - one[1] + 30.0,
        two[2] - one[1] + 30.0,
    ]
    if returns:
        lacks.append(jnp.abs(two[4]) - RETURNED / 2.0)
    total = sum(jnp.maximum(x, 0.0) / 20.0 for x in lacks)
    none = jnp.where(fires.any() & (at > 0) & (below < EVENT), 0.0, 2.0)
    return jnp.where(jnp.isfinite(total), total + none, jnp.inf)


@partial(jax.jit, static_argnums=(1, 3))
def curve(params: dict[str, Any], kind: str, strengths: Any, dt: float = DT) -> jax.Array:
    """`measured` at every strength, `(k, 5)`."""
    return jax.vmap(lambda s: measured(params, kind, s, dt))(strengths)


def threshold(params: dict[str, Any], kind: str) -> float:
    """Half a percent above the least strength with an event; NaN where there is none."""
    strengths = WEAKEST[kind] * STRENGTHS
    fires = np.asarray(curve(params, kind, jnp.asarray(strengths))[:, 0]) >= EVENT
    if not fires.any() or fires[0]:
        return np.nan
    k = int(np.argmax(fires))
    fine = np.linspace(strengths[k - 1], strengths[k], 19)
    fires = np.asarray(curve(params, kind, jnp.asarray(fine))[:, 0]) >= EVENT
    return 1.005 * float(fine[np.argmax(fires)])


def judge(params: dict[str, Any], kind: str, returns: bool = False) -> dict[str, Any]:
    """The criterion at the head of this file, and the numbers that it takes."""
    one = threshold(params, kind)
    if not np.isfinite(one):
        return {"found": False, "threshold": None}
    at = jnp.asarray(one * np.array([0.95, 1.0, 1.25, 1.5, 2.0, 3.0]))
    whole, half = (np.asarray(curve(params, kind, at, dt), float) for dt in (DT, DT / 2))
    height, first, most, level, left = whole.T
    ok = [
        height[4] < height[1] / 2,
        first[4] <= first[1] - 10.0,
        height[0] < SILENT,
        np.abs(half[:5] - whole[:5])[:, :2].max() < 1.0,
    ]
    back = bool(np.abs(left).max() < RETURNED)
    if returns:
        ok.append(back)
    return {
        "found": bool(np.all(ok)),
        "fulfils": [bool(x) for x in ok],
        "threshold": one,
        "strengths": [0.95, 1.0, 1.25, 1.5, 2.0, 3.0],
        "height_mV": height.round(2).tolist(),
        "first_peak_mV": first.round(2).tolist(),
        "peak_of_all_mV": most.round(2).tolist(),
        "settles_mV": level.round(2).tolist(),
        "returns": back,
        "half_step_changes_mV": np.abs(half - whole)[:5, :2].max(axis=0).round(3).tolist(),
    }


def robustness(params: dict[str, float], kind: str, returns: bool = False) -> dict[str, bool]:
    """Whether the criterion holds at other temperatures and densities, by their own threshold."""
    densities = [name for name in params if name.endswith("gbar")]
    changed = {f"{t:+g} C": params | {"celsius": CELSIUS + t} for t in (-2.0, 2.0)}
    for by in (0.9, 1.1):
        changed |= {f"{d} x {by:g}": params | {d: params[d] * by} for d in densities}
        changed[f"all x {by:g}"] = params | {d: params[d] * by for d in densities}
    return {name: judge(p, kind, returns)["found"] for name, p in changed.items()}


def one_seed(seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Screen, descend, judge; `seed` alone decides what is drawn."""
    run, space = jd.Run(asked.out / f"{title(asked)}_{seed}", resume=True), SPACES[asked.third]
    clock = time.perf_counter()
    goal = partial(loss, kind=asked.input, returns=asked.returns)
    screened = fitting.search(
        goal, space, method="random", population=POPULATION, key=seed,
        evaluations=asked.screened, run=run.within("screen"),
    )  # fmt: skip
    flat = screened.losses.reshape(-1)
    best = np.argsort(np.where(np.isfinite(flat), flat, np.inf))[: asked.starts]
    starts = screened.vectors.reshape(-1, space.size)[best]
    fit = fitting.fit(goal, space, starts=starts, steps=asked.steps, run=run.within("fit"))
    blind = fitting.fit(
        goal, space, starts=asked.starts, key=seed, steps=asked.steps, run=run.within("blind")
    )
    reached = {"screened": starts, "fitted": fit.best_vectors, "unscreened": blind.best_vectors}
    verdicts = {}
    for name, vectors in reached.items():
        every = [plain(space.to_dict(jnp.asarray(z))) for z in vectors]
        verdicts[name] = [(p, judge(p, asked.input, asked.returns)) for p in every]
    pool = [verdicts["fitted"][i] for i in np.argsort(fit.best_losses)] + verdicts["screened"]
    params, verdict = min(pool, key=lambda x: not x[1]["found"])  # the first that is, or the first
    lasting = robustness(params, asked.input, asked.returns) if verdict["found"] else {}
    return {
        "seed": seed,
        "screened": asked.screened,
        "starts": asked.starts,
        "steps": asked.steps,
        **{f"{name}_found": sum(v["found"] for _, v in all_) for name, all_ in verdicts.items()},
        "least_loss_screened": round(float(flat[best[0]]), 4),
        "least_loss_fitted": round(fit.loss, 4),
        "least_loss_unscreened": round(blind.loss, 4),
        "seconds": [round(x.seconds, 1) for x in (screened, fit, blind)],
        "wall_s": round(time.perf_counter() - clock, 1),
        **verdict,
        "holds_changed": f"{sum(lasting.values())} of {len(lasting)}",
        "fails_changed": [name for name, holds in lasting.items() if not holds],
        "params": params,
    }


def title(asked: argparse.Namespace) -> str:
    """What tells a search from the others, in the names of its files."""
    third = "" if asked.third == "a_type" else f"_{asked.third}"
    return f"{asked.input}{third}{'_returns' if asked.returns else ''}"


def plain(params: dict[str, Any]) -> dict[str, float]:
    """Numbers that JSON can hold."""
    return {name: float(f"{float(x):.5g}") for name, x in params.items()}


def draw(rows: list[dict[str, Any]], kind: str) -> Any:
    """Voltages of the first found neuron, and the curves of all seeds."""
    unit = "nA" if kind != "volley" else "µS"
    found = [row for row in rows if row["found"]]
    with context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4), layout="constrained")
        if found:
            params, one = found[0]["params"], found[0]["threshold"]
            for k, q in enumerate((0.95, 1.0, 1.25, 1.5, 2.0)):
                v = np.asarray(voltage(params, kind, one * q))
                label = f"{q:g} x {one:.3g} {unit}" if q == 1 else f"{q:g} x"
                left.plot(DT * np.arange(len(v)), v, color=COLORS[k], label=label)
            left.set_title(f"seed {found[0]['seed']}, strengths from .95 to 2 x", loc="left")
            left.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        left.set(xlabel="time from onset (ms)", ylabel="voltage (mV)")
        q = np.concatenate([[0.9, 0.95, 0.99], np.linspace(1.0, 3.0, 41)])
        for row in rows:
            if row["threshold"] is not None:
                height = curve(row["params"], kind, jnp.asarray(row["threshold"] * q))[:, 0]
                color = COLORS[0] if row["found"] else "0.75"
                right.plot(q, height, color=color, linewidth=1.2, zorder=2 if row["found"] else 1)
        right.axvline(1.0, color="0.3", linewidth=0.8, linestyle=(0, (4, 2)))
        right.set(xlabel="strength / threshold", ylabel="height of the first event (mV)")
        title = f"{len(found)} of {len(rows)} seeds found one"
        right.set_title(title + (" (grey: did not)" if len(found) < len(rows) else ""), loc="left")
    return figure


def main() -> None:
    """Search, seed by seed; everything so far is on disk after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", choices=tuple(WEAKEST), default="step")
    parser.add_argument("--third", choices=tuple(THIRD), default="a_type",
                        help="the channels beside calcium and slow potassium")  # fmt: skip
    parser.add_argument("--returns", action="store_true",
                        help="also ask that it is back at rest 150 ms after the input")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--screened", type=int, default=4096, help="random neurons a seed")
    parser.add_argument("--starts", type=int, default=16, help="of them, to descend from")
    parser.add_argument("--steps", type=int, default=60, help="of gradient descent")
    parser.add_argument("--out", type=Path, default=Path("dcaap_out"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = []
    name = f"find_dcaap_{title(asked)}"
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        rows.append(one_seed(seed, asked))
        shown = {k: v for k, v in rows[-1].items() if k not in ("params", "strengths")}
        print(json.dumps(shown), flush=True)
        about = {"input": asked.input, "seeds": len(rows), "found": sum(r["found"] for r in rows)}
        text = json.dumps(about | {"runs": rows}, indent=1) + "\n"
        (asked.out / f"{name}.json").write_text(text, encoding="utf-8")
    print(f"{about['found']} of {about['seeds']} seeds found one; {name}.json, {name}.png")
    savefig(draw(rows, asked.input), asked.out / f"{name}.png")


if __name__ == "__main__":
    main()
