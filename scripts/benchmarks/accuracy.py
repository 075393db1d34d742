"""`accuracy`: error of spike times and voltages against wall time, by solver and step."""

import argparse

import numpy as np

from benchmarks.common import Contest, crossings, median
from benchmarks.models import Neuron, hh_neuron
from benchmarks.timing import Ratio, ratio
from benchmarks.workers import Pool

FINE = 1e-3  # ms, step of the reference
STEPS = (0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125, 0.0015625)  # ms
LOOSE = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)  # absolute tolerances of CVODE
WANTED = (2e-2, 5e-3, 2e-3, 5e-4, 2e-4, 5e-5, 1e-5)  # ms, tolerances of jaxdend
DEFAULT = "jaxdend CN 0.025"
GRID = 0.025  # ms, where adaptive solvers of jaxdend report
TARGETS = (1e-2, 1e-3)  # ms of spike-time error
# what is compared at which error: of the peer's family to ours
PAIRS = {
    0.01: (("jaxley CN", "jaxdend CN"), ("neuron CN", "jaxdend CN")),
    0.001: (("neuron CVODE", "jaxdend Rodas4P"), ("neuron CVODE", "jaxdend Rodas5P"),
            ("jaxley CN", "jaxdend CN")),
}  # fmt: skip


def cases(quick: bool) -> dict[str, tuple[Neuron, float]]:
    """Name -> neuron and ms to simulate."""
    if quick:
        return {"30 compartments, 20 ms": (hh_neuron(30), 20.0)}
    return {
        "200 compartments, 60 ms": (hh_neuron(200, duration=15.0), 60.0),
        "1,000 compartments, 60 ms": (hh_neuron(1000, duration=15.0), 60.0),
        "200 compartments, 1 s, one spike": (hh_neuron(200, onset=500.0, duration=2.0), 1000.0),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this sub-command."""
    parser.add_argument("--precision", choices=("float32", "float64"), default="float64",
                        help="of the JAX simulators; NEURON is always double")  # fmt: skip
    parser.add_argument("--only", nargs="+", type=int, help="numbers of the cases, from 0")


def run(args: argparse.Namespace, pool: Pool) -> list[dict]:
    """Measure every case; one row each."""
    chosen = list(cases(args.quick).items())
    return [
        one(args, pool, name, model, t1)
        for i, (name, (model, t1)) in enumerate(chosen)
        if not args.only or i in args.only
    ]


def one(args: argparse.Namespace, pool: Pool, name: str, model: Neuron, t1: float) -> dict:
    """Every solver at every step or tolerance on one case."""
    print(f"{name}", flush=True)
    contest, x64 = Contest.on(pool, model), args.precision == "float64"
    ts, truth, check = reference(contest, t1, args.quick)
    points: dict[str, dict] = {}
    for family, key, setting, case in settings(t1, args.quick):
        if contest.add(key, family.split()[0], x64=x64, **case):
            points[key] = {"family": family, "setting": setting}
    seconds = contest.measure(args.repeats)
    spikes = crossings(ts, truth)
    for key, (t, v) in contest.traces().items():
        points[key] |= errors(t, v, ts, truth, spikes)
    contest.close()
    families: dict[str, list[str]] = {}
    for key, point in points.items():
        point["seconds"] = seconds[key]
        families.setdefault(point["family"], []).append(key)
    reached = {target: {f: times_at(target, [points[k] for k in keys], args.repeats)
                        for f, keys in families.items()} for target in TARGETS}  # fmt: skip
    row = {
        "case": name,
        "n": model.n,
        "t1_ms": t1,
        "precision": args.precision,
        "spikes": spikes,
        "reference_against_cvode_ms": check,
        "points": points,
        "seconds_at_error": reached,
        "ratios": defaults(points, reached[0.01])
        | {
            f"{a} / {b} at {target:g} ms": ratio(reached[target][a], reached[target][b])
            for target, pairs in PAIRS.items()
            for a, b in pairs
            if reached[target].get(a) and reached[target].get(b)
        },
    }
    show(row)
    return row


def defaults(points: dict[str, dict], reached: dict[str, list[float]]) -> dict[str, Ratio]:
    """Peers' default scheme, at the step that reaches 0.01 ms, to jaxdend's default settings."""
    ours = points.get(DEFAULT)
    if ours is None or not ours["spike_error_ms"] <= 0.01:
        return {}
    return {
        f"{peer} BE at 0.01 ms / jaxdend's default": ratio(reached[f"{peer} BE"], ours["seconds"])
        for peer in ("jaxley", "neuron")
        if reached.get(f"{peer} BE")
    }


def settings(t1: float, quick: bool) -> list[tuple[str, str, float, dict]]:
    """Family, name, step or tolerance, and case of everything that is run."""
    out = []
    steps = [dt for dt in STEPS if t1 / dt < 2e5]
    loose = LOOSE[1:5:2] if quick else LOOSE
    for simulator in ("jaxdend", "jaxley", "neuron"):
        for scheme in ("be", "cn"):
            for dt in steps[1:3] if quick else steps:
                case = {"solver": scheme, "dt": dt, "steps": round(t1 / dt), "tables": 0}
                family = f"{simulator} {scheme.upper()}"
                out.append((family, f"{family} {dt:g}", dt, case))
    grid = {"dt": GRID, "steps": round(t1 / GRID), "tables": 0}
    for solver in ("Rodas4P", "Rodas5P"):
        for wanted in WANTED[1:5:2] if quick else WANTED:
            case = grid | {"solver": solver, "tolerance": wanted}
            out.append((f"jaxdend {solver}", f"jaxdend {solver} {wanted:g}", wanted, case))
    for atol in loose:
        case = grid | {"solver": "cvode", "atol": atol}
        out.append(("neuron CVODE", f"neuron CVODE {atol:g}", atol, case))
    return out


def reference(
    contest: Contest, t1: float, quick: bool
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """`t`, `v` by jaxdend's CN, extrapolated from two steps; how far CVODE's spikes are from it."""
    fine = 5 * FINE if quick else FINE
    worker, out = contest.pool.get("jaxdend", True), []
    for dt in (2 * fine, fine):
        case = {"solver": "cn", "dt": dt, "steps": round(t1 / dt)}
        worker.prepare("reference", model=str(contest.path), **case)
        worker.run("reference")
        out.append(worker.trace("reference"))
        worker.forget("reference")
    (_, coarse), (t, v) = out
    truth = v.copy()
    shift = (v[::2] - coarse) / 3
    truth += np.interp(t, t[::2], shift)
    spikes, check = crossings(t, truth), None
    print(f"  reference: spikes at {np.round(spikes, 5).tolist()} ms", flush=True)
    if "neuron" in contest.pool.simulators:
        other = contest.pool.get("neuron")
        case = {"solver": "cvode", "atol": 1e-9, "dt": GRID, "steps": round(t1 / GRID), "tables": 0}
        other.prepare("check", model=str(contest.path), **case)
        other.run("check")
        found = crossings(*distinct(*other.trace("check")))
        other.forget("check")
        if len(found) == len(spikes):
            check = float(np.max(np.abs(found - spikes), initial=0.0))
        print(f"  spike times of NEURON's CVODE at 1e-9 differ by {check} ms", flush=True)
    return t, truth, check


def distinct(t: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last of the samples at equal times, which CVODE writes where an input jumps."""
    keep = np.append(np.diff(t) > 1e-9, True)
    return t[keep], v[keep]


def errors(
    t: np.ndarray, v: np.ndarray, ts: np.ndarray, truth: np.ndarray, spikes: np.ndarray
) -> dict[str, float | int]:
    """Largest error of a spike time (ms; NaN where spikes are missing) and of the voltage (mV)."""
    t, v = distinct(t, v)
    found = crossings(t, v)
    same = len(found) == len(spikes)
    return {
        "spikes": len(found),
        "spike_error_ms": float(np.max(np.abs(found - spikes), initial=0.0)) if same else np.nan,
        "voltage_error_mV": float(np.max(np.abs(v - np.interp(t, ts, truth)))),
    }


def times_at(target: float, points: list[dict], repeats: int) -> list[float]:
    """Seconds of each repeat to reach an error, on the line between the settings around it.

    Errors and seconds are interpolated as logarithms, from the cheapest setting beyond which all
    dearer ones keep the error. Empty where no setting reaches it.
    """
    ranked = sorted(points, key=lambda p: median(p["seconds"]))
    error = np.array([p["spike_error_ms"] for p in ranked])
    good = np.flatnonzero(error <= target)
    if not len(good):
        return []
    i = int(good[0])
    out = []
    for r in range(repeats):
        fast, slow = ranked[max(i - 1, 0)], ranked[i]
        above, below = fast["spike_error_ms"], max(slow["spike_error_ms"], 1e-12)
        part = 1.0
        if i > 0 and np.isfinite(above) and above > target:
            part = np.log(above / target) / np.log(above / below)
        logs = [np.log(p["seconds"][r]) for p in (fast, slow)]
        out.append(float(np.exp(logs[0] + part * (logs[1] - logs[0]))))
    return out


def show(row: dict) -> None:
    """Print one row."""
    for key, point in row["points"].items():
        print(f"    {key:<28} {1e3 * median(point['seconds']):>9.2f} ms, spikes "
              f"{point['spikes']} within {point['spike_error_ms']:.2g} ms, "
              f"max |dV| {point['voltage_error_mV']:.2g} mV")  # fmt: skip
    for target, families in row["seconds_at_error"].items():
        text = ", ".join(f"{k} {1e3 * median(v):.1f}" if v else f"{k} -"
                         for k, v in families.items())  # fmt: skip
        print(f"  ms of wall time to {target:g} ms of error: {text}")
    for name, value in row["ratios"].items():
        print(f"    {name:<46} {value}", flush=True)
