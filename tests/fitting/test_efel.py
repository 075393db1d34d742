"""Features against eFEL on fifty simulated traces, on its own samples and on finer ones."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.cell import Cell
from jaxdend.channels import HH, Ih, Leak, PospischilK, PospischilM, PospischilNa
from jaxdend.fitting import features
from jaxdend.fitting.features import FEATURES
from jaxdend.morphology import ball_and_stick
from jaxdend.simulate import simulate
from jaxdend.stimuli import Step

efel = pytest.importorskip("efel", reason="eFEL is not installed: pip install 'jaxdend[test]'")
from efel.pyfeatures.multitrace import bpap_attenuation  # noqa: E402

DT = 1 / 32  # ms, exact in binary, so that eFEL's own grid is ours to the last bit
START, END, T1 = 50.0, 200.0, 250.0  # ms
# name, celsius, HH, Pospischil sodium, potassium, M, Ih (S/cm²), leak (S/cm²), amplitudes (nA)
KINDS = (
    ("squid", 6.3, 0.12, 0.0, 0.0, 0.0, 0.0, 3e-5, (0.15, 0.2, 0.3, 0.45, 0.7, 1.0)),
    ("warm squid", 18.0, 0.12, 0.0, 0.0, 0.0, 0.0, 3e-5, (0.2, 0.3, 0.5, 0.8, 1.2)),
    ("subthreshold", 6.3, 0.12, 0.0, 0.0, 0.0, 0.0, 3e-5, (-0.2, -0.05, -0.01, 0.02, 0.05)),
    ("regular", 36.0, 0.0, 0.056, 0.006, 8e-5, 0.0, 1e-4, (0.15, 0.2, 0.25, 0.3, 0.45, 0.6)),
    ("cool regular", 24.0, 0.0, 0.056, 0.006, 8e-5, 0.0, 1e-4, (0.2, 0.3, 0.45, 0.6)),
    ("fast", 36.0, 0.0, 0.058, 0.0039, 0.0, 0.0, 4e-5, (0.1, 0.2, 0.4, 0.7, 1.2, 2.0)),
    ("sag", 34.0, 0.0, 0.0, 0.0, 0.0, 8e-4, 1e-4, (-0.5, -0.3, -0.2, -0.1, -0.05, 0.1)),
    ("sag and spikes", 36.0, 0.0, 0.056, 0.006, 0.0, 3e-4, 1e-4, (-0.4, -0.2, 0.3, 0.5, 0.8)),
    ("block", 36.0, 0.0, 0.03, 0.001, 0.0, 0.0, 1e-4, (0.5, 1.0, 2.0, 4.0)),
    ("passive", 20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2e-4, (-0.3, -0.02, 0.3)),
)
ROWS = [(name, *numbers, amplitude) for name, *numbers, amps in KINDS for amplitude in amps]
# eFEL's names of what it has under another name, or for two of ours
ABSENT = {"soft_spike_count", "soft_spike_count_stimint", "spike_times", "ISI_mean"}
COMPARED = [name for name in FEATURES if name not in ABSENT]
IN_TIME = {name for name in COMPARED if FEATURES[name].unit == "ms"}


def response(numbers):
    celsius, hh, na, k, m, ih, leak, amplitude = numbers
    cell = Cell(ball_and_stick(), ncomp=lambda _: 2, celsius=celsius)
    cell = cell.insert(HH(gnabar=hh, gkbar=0.3 * hh, gl=0.0025 * hh))
    cell = cell.insert(PospischilNa(gbar=na)).insert(PospischilK(gbar=k))
    cell = cell.insert(PospischilM(gbar=m)).insert(Ih(gbar=ih)).insert(Leak(g=leak, e=-68.0))
    step = Step(0, START, END - START, amplitude)
    return simulate(cell, step, t1=T1, dt=DT, record=jnp.array([0, cell.n - 1]), v0=-68.0).v


@pytest.fixture(scope="module")
def traces():
    """`ts (t,)` and the voltages `(50, t)` of the soma and of the dendrite's end."""
    numbers = jnp.asarray([row[1:] for row in ROWS])
    v = np.asarray(jax.jit(jax.vmap(response))(numbers))
    assert len(v) == 50
    return np.arange(v.shape[1]) * DT, v[..., 0], v[..., 1]


def ours(ts, v, refine):
    @jax.jit
    @jax.vmap
    def table(v, current):
        arguments = {"stim_start": START, "stim_end": END, "current": current}
        return features.extract(ts, v, COMPARED, **arguments, max_spikes=64, refine=refine)

    rows = table(v, jnp.asarray([row[-1] for row in ROWS]))
    return {name: np.asarray(x) for name, x in rows.items()}


def theirs(ts, v, interp_step):
    efel.reset()
    efel.set_setting("interp_step", interp_step)
    runs = [
        {
            "T": ts,
            "V": trace,
            "stim_start": [START],
            "stim_end": [END],
            "stimulus_current": [row[-1]],
            "decay_start_after_stim": [1.0],
            "decay_end_after_stim": [10.0],
        }
        for trace, row in zip(v, ROWS, strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # at names that it still offers
        return efel.get_feature_values(runs, COMPARED, raise_warnings=False)


def pairs(mine, other):
    """`(name, trace, ours, eFEL's)` of every feature that a trace has; both have the same ones."""
    for name in COMPARED:
        for i, row in enumerate(other):
            a = np.atleast_1d(mine[name][i])
            a = a[~np.isnan(a)]
            b = np.asarray([] if row[name] is None else row[name], float)
            if name == "AP_width":
                a = a[: len(b)]  # eFEL gives none to a last spike without a trough
            if name == "sag_ratio2" and abs(row["voltage_base"] - row["minimum_voltage"]) < 0.01:
                continue  # nothing over nothing
            assert a.shape == b.shape, f"{name} of trace {i} {ROWS[i]}: {a} against {b}"
            if name in ("AP_width", "spike_half_width"):
                keep = bracketed(row, name)
                a, b = a[keep], b[keep]
            if len(a):
                yield name, i, a, b


def bracketed(row, name):
    """Spikes between troughs below the level at which a width is taken.

    eFEL takes the first notch after a peak for its trough. Where that is the edge of the current,
    above the level, its widths belong to the spike before or are negative; ours are not.
    """
    trough, peak = row["min_AHP_values"], row["peak_voltage"]
    if trough is None:
        return []
    level = -20.0 if name == "AP_width" else (trough + peak[: len(trough)]) / 2
    return (trough < level) & (np.append(-np.inf, trough[:-1]) < level)


def worst(mine, other):
    """Feature -> worst absolute difference, over all spikes of all traces."""
    out = {}
    for name, _, a, b in pairs(mine, other):
        out[name] = max(out.get(name, 0.0), float(np.max(np.abs(a - b))))
    return out


def clean(rows):
    """Traces whose spikes have no notches, where one sample more or less decides what is what."""
    return [
        i
        for i, row in enumerate(rows)
        if row["min_AHP_values"] is None
        or (np.all(row["min_AHP_values"] < -40) and not row["depol_block_bool"][0])
    ]


@pytest.fixture(scope="module")
def same_samples(traces):
    return theirs(*traces[:2], DT)


@pytest.fixture(scope="module")
def sampled(traces):
    return ours(*traces[:2], refine=False)


@pytest.fixture(scope="module")
def refined(traces):
    return ours(*traces[:2], refine=True)


def test_the_traces_are_varied(sampled, same_samples):
    counts = [int(row["spike_count"][0]) for row in same_samples]
    assert sum(c == 0 for c in counts) >= 10
    assert sum(0 < c < 5 for c in counts) >= 5
    assert sum(c >= 20 for c in counts) >= 10
    assert (
        sum(
            row["sag_amplitude"] is not None and row["sag_amplitude"][0] > 5 for row in same_samples
        )
        >= 4
    )
    assert sum(int(row["depol_block_bool"][0]) for row in same_samples) >= 4
    assert {name for name, *_ in pairs(sampled, same_samples)} == set(COMPARED)


def test_on_efels_samples_the_values_are_efels(sampled, same_samples):
    found = worst(sampled, same_samples)
    for name, difference in found.items():
        assert difference <= (1e-6 if name == "decay_time_constant_after_stim" else 1e-9), name


def allowed(name, value, step):
    """By how much a feature may differ if time is known to one `step` (ms)."""
    unit = FEATURES[name].unit
    by_unit = {
        "ms": 1.05 * step,
        "Hz": 1.05e-3 * step * value**2,  # of one interval
        "mV": 35.0 * step,  # spikes are steep: 35 mV/ms at most where they begin or peak
        "MΩ": 2.0,
        "": 0.15 * step,
        "spikes": 0.0,
    }
    return by_unit[unit] + 1e-9


def agree(mine, other, step, good):
    """Features of the spikes in traces that spike cleanly, the others where nothing spikes."""
    seen = set()
    subthreshold = COMPARED[COMPARED.index("voltage_base") :]
    for name, i, a, b in pairs(mine, other):
        if name == "decay_time_constant_after_stim" and ROWS[i][0] != "passive":
            continue  # the logarithm of what passes through 0 depends on the very samples
        if i in good and (name not in subthreshold or not other[i]["spike_count"][0]):
            seen.add(name)
            difference = np.max(np.abs(a - b) - allowed(name, b, step))
            assert difference <= 0, f"{name} of trace {i}: {a} against {b}"
    assert seen == set(COMPARED)


def test_between_samples_times_move_by_less_than_a_step(refined, same_samples):
    agree(refined, same_samples, DT, clean(same_samples))


def test_efel_at_its_own_step(traces, refined, same_samples):
    agree(refined, theirs(*traces[:2], 0.1), 0.1, clean(same_samples))


def test_attenuation_is_efels(traces):
    ts, soma, dendrite = traces
    for i in (2, 18, 44):
        runs = [
            {"T": ts, "V": v[i], "stim_start": [START], "stim_end": [END]} for v in (soma, dendrite)
        ]
        efel.reset()
        efel.set_setting("interp_step", DT)
        both = np.stack([soma[i], dendrite[i]], axis=1)
        found = features.attenuation(ts, both, START)
        np.testing.assert_allclose(found, [1.0, bpap_attenuation(*runs)], rtol=1e-12)
