"""A fresh process of `startup`: `python -m benchmarks.startup_child SIMULATOR SWC NCOMP CORES`.

Prints one line of JSON: seconds of every stage, and the time of day of the first result.
"""

import json
import os
import sys
import time
from typing import Any

DT, STEPS, AMPLITUDE = 0.025, 800, 0.5  # ms, 20 ms, nA


def main() -> None:
    """Run one simulator."""
    simulator, swc, ncomp, cores = sys.argv[1:]
    os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    times, n, v = {"jaxdend": jaxdend, "jaxley": jaxley, "neuron": neuron}[simulator](
        swc, int(ncomp)
    )
    up = [i for i in range(len(v) - 1) if v[i] < 0 <= v[i + 1]]
    answer = times | {"n": n, "spike_ms": DT * up[0] if up else float("nan")}
    print("\n" + json.dumps(answer))


def compile_times() -> dict[str, float]:
    """A dict that fills with what JAX spends on tracing and compiling."""
    from jax import monitoring

    spent = {"trace": 0.0, "compile": 0.0}

    def listen(event: str, duration: float, **_: Any) -> None:
        if event.endswith(("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration")):
            spent["trace"] += duration
        elif event.endswith("backend_compile_duration"):
            spent["compile"] += duration

    monitoring.register_event_duration_secs_listener(listen)
    return spent


def staged(import_: float, read: float, build: float, run: Any, spent: Any) -> tuple[dict, Any]:
    """Time the first and the second run; `spent` at most as long as the first run took."""
    before = dict(spent)
    start = time.perf_counter()
    result = run()
    first, at = time.perf_counter() - start, time.time()
    trace, compile_ = (spent[k] - before[k] for k in ("trace", "compile"))
    start = time.perf_counter()
    run()
    return {
        "import": import_, "read": read, "build": build, "trace": trace, "compile": compile_,
        "rest of first run": max(0.0, first - trace - compile_),
        "second run": time.perf_counter() - start, "first_result_at": at,
    }, result  # fmt: skip


def jaxdend(swc: str, ncomp: int) -> tuple[dict, int, Any]:
    """The library as a user writes it."""
    t = [time.perf_counter()]
    import numpy as np

    import jaxdend as jd
    from jaxdend.channels import HH

    t.append(time.perf_counter())
    spent = compile_times()
    morphology = jd.read_morphology(swc)
    t.append(time.perf_counter())
    cell = jd.Cell(morphology, ncomp=lambda length: ncomp, ra=100.0).insert(HH())
    soma = cell.locate("soma", x=0.5) if ncomp % 2 == 0 else cell.locate(section=0, x=0.5)
    stimulus = jd.Step(site=soma, onset=1.0, duration=100.0, amplitude=AMPLITUDE)
    t.append(time.perf_counter())

    def run() -> np.ndarray:
        traces = jd.simulate(
            cell, stimulus, t1=STEPS * DT, dt=DT, solver=jd.BackwardEuler(), record=[soma]
        )
        return np.asarray(traces.v)[:, 0]

    times, v = staged(t[1] - t[0], t[2] - t[1], t[3] - t[2], run, spent)
    return times, cell.n, v.tolist()


def jaxley(swc: str, ncomp: int) -> tuple[dict, int, Any]:
    """Jaxley as its tutorials write it."""
    t = [time.perf_counter()]
    import jax
    import jaxley as jx
    import numpy as np
    from jaxley.channels import HH

    t.append(time.perf_counter())
    spent = compile_times()
    cell = jx.read_swc(swc, ncomp=ncomp)
    t.append(time.perf_counter())
    cell.insert(HH())
    cell.set("axial_resistivity", 100.0)
    cell.set("v", -65.0)
    cell.init_states()
    soma = cell.soma.branch(0).loc(0.5)
    current = jx.step_current(1.0, 100.0, AMPLITUDE, DT, STEPS * DT)
    soma.stimulate(current[:STEPS], verbose=False)
    soma.record(verbose=False)
    t.append(time.perf_counter())
    integrate = jax.jit(lambda: jx.integrate(cell, delta_t=DT))
    times, v = staged(
        t[1] - t[0], t[2] - t[1], t[3] - t[2], lambda: np.asarray(integrate())[0], spent
    )
    return times, int(cell.cumsum_ncomp[-1]), v.tolist()


def neuron(swc: str, ncomp: int) -> tuple[dict, int, Any]:
    """NEURON with Import3d."""
    t = [time.perf_counter()]
    from neuron import h

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    t.append(time.perf_counter())
    reader = h.Import3d_SWC_read()
    reader.quiet = 1
    reader.input(swc)
    h.Import3d_GUI(reader, False).instantiate(None)
    t.append(time.perf_counter())
    for section in h.allsec():
        section.nseg, section.Ra = ncomp, 100.0
        section.insert("hh")
    soma = h.soma[0](0.5) if hasattr(h, "soma") else next(iter(h.allsec()))(0.5)
    clamp = h.IClamp(soma)
    clamp.delay, clamp.dur, clamp.amp = 1.0, 100.0, AMPLITUDE
    v = h.Vector().record(soma._ref_v)
    n = sum(section.nseg for section in h.allsec())
    t.append(time.perf_counter())

    def run() -> list[float]:
        h.dt, h.steps_per_ms = DT, 1.0 / DT
        h.finitialize(-65.0)
        h.continuerun(STEPS * DT)
        return list(v)

    none = {"trace": 0.0, "compile": 0.0}
    times, trace = staged(t[1] - t[0], t[2] - t[1], t[3] - t[2], run, none)
    return times, n, trace


if __name__ == "__main__":
    main()
