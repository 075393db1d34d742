"""Recordings: what they can do, and files of them, good and bad."""

import contextlib
import string
from datetime import UTC, datetime

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import jaxdend as jd
from jaxdend import RecordingError
from jaxdend.channels import Leak
from jaxdend.io import save_traces
from jaxdend.recordings import Recording, read_recordings, write_recordings

T = np.arange(2000) * 0.05


def sweep(seed: int = 0, **changes) -> Recording:
    rng = np.random.default_rng(seed)
    v = -60 + rng.normal(size=(len(T), 2))
    current = 0.1 * rng.normal(size=(len(T), 1))
    fields = {"name": f"step {seed}", "labels": ("soma", "trunk"), "meta": {"animal": "none"}}
    return Recording(**{"ts": T, "v": v, "current": current} | fields | changes)


def same(a: Recording, b: Recording) -> None:
    assert (a.name, a.labels) == (b.name, b.labels)
    np.testing.assert_array_equal(a.v, b.v)
    np.testing.assert_array_equal(a.current, b.current)
    np.testing.assert_allclose(a.ts, b.ts, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("suffix", ["csv", "npz", "nwb"])
def test_round_trip(tmp_path, suffix):
    if suffix == "nwb":
        pytest.importorskip("pynwb")
    written = [sweep(0), sweep(1), sweep(2)]
    path = write_recordings(written, tmp_path / "new" / f"cell.{suffix}")
    assert [p.name for p in path.parent.iterdir()] == [f"cell.{suffix}"]
    for a, b in zip(written, read_recordings(path), strict=True):
        same(a, b)
        if suffix == "npz":
            assert b.meta == {"animal": "none"}
            np.testing.assert_array_equal(a.ts, b.ts)


def test_npz_of_traces_and_of_plain_arrays(tmp_path):
    cell = jd.Cell(jd.ball_and_stick(), max_length=200.0)
    traces = jd.simulate(cell, t1=1.0, dt=0.1, record=[0, 2], v0=-70.0)
    (read,) = read_recordings(save_traces(traces, tmp_path / "run.npz"))
    assert read.labels == ("site 0", "site 2")
    np.testing.assert_array_equal(read.v, traces.v)
    np.savez(tmp_path / "si.npz", t=T * 1e-3, v=sweep().v * 1e-3, i=np.full(len(T), 2e-10))
    (read,) = read_recordings(tmp_path / "si.npz", units=("s", "V", "A"))
    np.testing.assert_allclose(read.v, sweep().v)
    np.testing.assert_allclose(read.current, 0.2)
    with pytest.raises(RecordingError, match=r"si.npz, sweep 'si': samples 5e-05 ms apart"):
        read_recordings(tmp_path / "si.npz")


@pytest.mark.parametrize(
    "text",
    [
        "t (ms),soma (mV),i (nA)\n0,-70,0\n0.5,-69.5,0.25\n1,-69,0.5\n",
        "time [s];soma [V];i [pA]\n0;-0,070;0\n0,0005;-0,0695;250\n0,001;-0,069;500\n",
        "\ufefft (µs)\tsoma (mV)\ti (μA)\r\n0\t-70\t0\r\n500\t-69.5\t.25e-3\r\n1e3\t-69\t5e-4\r\n",
        "# a comment\n# t (ms),soma (mV),i (nA)\n0,-70,0\n\n0.5,-69.5,0.25\n1,-69,0.5",
        'i (nA),"soma (mV)",t (ms)\n0,-70,0\n0.25,-69.5,0.5\n# half\n0.5,-69,1\n',
    ],
)
def test_text_in_many_dialects(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    (read,) = read_recordings(tmp_path / "a.csv")
    np.testing.assert_allclose(read.ts, [0, 0.5, 1])
    np.testing.assert_allclose(read.v[:, 0], [-70, -69.5, -69])
    np.testing.assert_allclose(read.current[:, 0], [0, 0.25, 0.5])
    assert read.labels == ("soma",)


def test_text_without_units(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("0 ,-70,0.1\n1,-69,0.2\n", "t,v,i\n0,-70,.1\n1,-69,.2\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RecordingError, match=r"a.txt, line 1, column 1 .* states no unit"):
            read_recordings(path)
    (read,) = read_recordings(path, units=("ms", "mV", "nA"))
    assert read.v.shape == read.current.shape == (2, 1)
    with pytest.raises(RecordingError, match="expected a unit of voltage .* at place 2"):
        read_recordings(path, units=("ms", "nA", "mV"))


def test_text_of_an_older_windows_program(tmp_path):
    (tmp_path / "a.csv").write_bytes("t (ms),v (µV)\n0,-70000\n1,-69000\n".encode("latin-1"))
    np.testing.assert_allclose(read_recordings(tmp_path / "a.csv")[0].v[:, 0], [-70, -69])


GOOD = "t (ms),soma (mV)\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: the file is empty"),
        ("# nothing\n\n", "a.csv: the file is empty"),
        (GOOD, "a.csv: the file holds no samples"),
        (GOOD + "0,-70\n", "expected at least two samples, got 1"),
        (GOOD + "0,-70\n1,-69\n2", "line 4: expected 2 columns, got 1; was the file cut short?"),
        (GOOD + "0,-70,3\n1,-69\n", "line 2: expected 2 columns, got 3"),
        (GOOD + "0,-70\n1,nan\n2,1\n", "line 3, column 2 ('soma'): 'nan' is not a number"),
        (GOOD + "0,-70\n1,\n2,1\n", "line 3, column 2 ('soma'): '' is not a number"),
        (GOOD + "0,-70\n1,-7O\n2,1\n", "line 3, column 2 ('soma'): '-7O' is not a number"),
        (GOOD + "0,-70\n2,-69\n\n1,-68\n", "line 5: the times must increase, got 1 ms after 2 ms"),
        (GOOD + "0,-0.07\n1,-0.069\n", "voltages of up to 0.07 mV look like a mistaken unit"),
        ("t (s),v (V)\n0,-70\n.1,-69\n", "samples 100 ms apart look like a mistaken unit"),
        ("t (ms),v (V)\n0,-70\n1,-69\n", "voltages of up to 70000 mV look like a mistaken unit"),
        ("t (ms),v (mV),i (nA)\n0,-70,0\n1,-69,200\n", "pA declared as nA"),
        ("t (ms),v (mv)\n0,-70\n1,-69\n", "column 2 ('v (mv)'): unknown unit 'mv'; known are s,"),
        ("t (ms),v\n0,-70\n1,-69\n", "line 1, column 2 ('v') states no unit"),
        ("t (ms),i (nA)\n0,1\n1,1\n", "got 0 of voltage: t, i"),
        ("v (mV),u (mV)\n0,1\n1,1\n", "got 0 of time: v, u"),
        ('t (ms),"v\n', "a.csv: not a table of columns"),
        (
            "sweep,t (ms),v (mV)\na,0,1\na,1,1\nb,0,1\nb,1,1\na,2,1\n",
            "line 6: sweep 'a' comes again",
        ),
    ],
)
def test_wrong_text(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError) as raised:
        read_recordings(tmp_path / "a.csv")
    assert message in str(raised.value)
    assert "a.csv" in str(raised.value)


def test_odd_magnitudes_can_be_meant(tmp_path):
    (tmp_path / "a.csv").write_text(GOOD + "0,0.1\n1,-0.1\n", encoding="utf-8")
    assert read_recordings(tmp_path / "a.csv", check=False)[0].v.max() == 0.1


finite = st.floats(-200, 100).map(lambda x: x + 0.0)  # -0.0 is 0.0 to all but a test
names = st.text(string.ascii_letters + string.digits + " ,;\"'()[]#µ", min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), r=st.integers(1, 3), k=st.integers(0, 2), t=st.integers(2, 6))
def test_text_round_trip_property(tmp_path_factory, data, r, k, t):
    """Whatever the names and numbers are, they come back bit for bit."""
    steps = data.draw(st.lists(st.floats(1e-3, 9), min_size=t, max_size=t))
    table = data.draw(st.lists(finite, min_size=t * (r + k), max_size=t * (r + k)))
    values = np.reshape(table, (t, r + k))
    labels = tuple(name.strip() or "v" for name in data.draw(st.tuples(*[names] * (r + k))))
    sweep_name = data.draw(names).strip() or "s"
    fields = {"labels": labels[:r], "current_labels": labels[r:]}
    current = values[:, r:] if k else None
    a = Recording(np.cumsum(steps), values[:, :r], current, sweep_name, **fields)
    b = Recording(a.ts, a.v - 1.0, current, sweep_name + "2", **fields)
    path = write_recordings([a, b], tmp_path_factory.mktemp("text") / "x.csv")
    for old, new in zip((a, b), read_recordings(path, check=False), strict=True):
        assert (old.name, old.labels, old.current_labels) == (
            new.name, new.labels, new.current_labels
        )  # fmt: skip
        np.testing.assert_array_equal(old.ts, new.ts)
        np.testing.assert_array_equal(old.v, new.v)
        if k:
            np.testing.assert_array_equal(old.current, new.current)


@settings(deadline=None, max_examples=100)
@given(text=st.text(string.digits + ',;\t\n.-e"()mVst #n', max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    """Nothing but recordings and `RecordingError`s comes out."""
    path = tmp_path_factory.mktemp("text") / "x.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with contextlib.suppress(RecordingError):
        for read in read_recordings(path, units=("ms", "mV", "nA")):
            assert np.isfinite(read.v).all()


def test_files_cut_short_and_others(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_recordings(tmp_path / "none.csv")
    pytest.importorskip("pynwb")
    pytest.importorskip("pyabf")
    for suffix in ("npz", "nwb"):
        path = write_recordings(sweep(), tmp_path / f"a.{suffix}")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RecordingError, match=f"a.{suffix}: not a complete"):
            read_recordings(path)
    np.savez(tmp_path / "b.npz", x=T)
    with pytest.raises(RecordingError, match="needs arrays t .* it has x"):
        read_recordings(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", t=T, v=np.full(len(T), np.nan))
    with pytest.raises(RecordingError, match=r"c.npz: 2000 samples of v \(mV\) are not numbers"):
        read_recordings(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", t=T, v=T[:-1])
    with pytest.raises(RecordingError, match=r"d.npz: expected ts \(t,\) and v"):
        read_recordings(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", header=np.array('{"format": "jaxdend-recordings-9"}'))
    with pytest.raises(RecordingError, match="has format 'jaxdend-recordings-9', this version"):
        read_recordings(tmp_path / "e.npz")
    (tmp_path / "f.mat").write_text("x", encoding="utf-8")
    with pytest.raises(RecordingError, match="expected a .csv"):
        read_recordings(tmp_path / "f.mat")
    (tmp_path / "g.abf").write_bytes(b"ABF2" + bytes(100))
    with pytest.raises(RecordingError, match="g.abf: not a complete .abf file"):
        read_recordings(tmp_path / "g.abf")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(RecordingError, match=r"written to .csv, .npz or .nwb"):
        write_recordings(sweep(), tmp_path / "a.abf")
    with pytest.raises(RecordingError, match="no recordings"):
        write_recordings([], tmp_path / "a.csv")
    with pytest.raises(RecordingError, match="other traces than"):
        write_recordings([sweep(), sweep(1, labels=("a", "b"))], tmp_path / "a.csv")
    with pytest.raises(RecordingError, match="names that differ"):
        write_recordings([sweep(), sweep()], tmp_path / "a.csv")
    with pytest.raises(RecordingError, match="meta must be numbers"):
        write_recordings(sweep(meta={"f": len}), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def nwb_file(path, pairs, *, table=False, unit_factor=1.0):
    """A file as a lab may write it: integers with a conversion and an offset, two sweeps."""
    pynwb = pytest.importorskip("pynwb")
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries, VoltageClampSeries

    nwb = pynwb.NWBFile("test", "test", datetime(2020, 1, 1, tzinfo=UTC))
    device = nwb.create_device(name="amp")
    electrode = nwb.create_icephys_electrode(name="e0", description="patch", device=device)
    for number, (response, stimulus) in enumerate(pairs):
        common = {"electrode": electrode, "rate": 20000.0, "starting_time": 5.0 + number}
        sweep_number = None if table else np.uint32(number)
        a = CurrentClampSeries(
            name=f"v{number}", data=response, gain=1.0, conversion=unit_factor * 1e-4, offset=0.01,
            sweep_number=sweep_number, bias_current=1e-11, **common,
        )  # fmt: skip
        nwb.add_acquisition(a)
        b = None
        if stimulus is not None:
            b = CurrentClampStimulusSeries(
                name=f"i{number}", data=stimulus, gain=1.0, conversion=1e-12,
                sweep_number=sweep_number, **common,
            )  # fmt: skip
            nwb.add_stimulus(b)
        if table:
            nwb.add_intracellular_recording(
                electrode=electrode, response=a, stimulus=b,
                response_start_index=2, response_index_count=6,
                stimulus_start_index=2, stimulus_index_count=6,
            )  # fmt: skip
    nwb.add_acquisition(
        VoltageClampSeries(name="vc", data=np.zeros(9), electrode=electrode, gain=1.0, rate=1e4)
    )
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)


RESPONSE = np.arange(-800, -790, dtype=np.int16)  # -80 mV + 10 mV offset, 0.1 mV a count
STIMULUS = np.arange(10, dtype=np.int16) * 10  # pA


def test_nwb_units_offsets_and_sweep_numbers(tmp_path):
    nwb_file(
        tmp_path / "a.nwb", [(RESPONSE, STIMULUS), (RESPONSE + 5, -STIMULUS), (RESPONSE, None)]
    )
    one, two, three = read_recordings(tmp_path / "a.nwb")
    np.testing.assert_allclose(one.v[:, 0], -70 + 0.1 * np.arange(10))
    np.testing.assert_allclose(two.v[:, 0], -69.5 + 0.1 * np.arange(10))
    np.testing.assert_allclose(two.current[:, 0], -0.01 * np.arange(10))
    np.testing.assert_allclose(one.ts, 0.05 * np.arange(10), atol=1e-9)
    assert three.current is None
    assert (one.name, two.meta["start_s"], one.meta["bias_current"]) == ("0", 6.0, 1e-11)
    assert one.labels == ("e0",)


def test_nwb_tables_that_name_a_part(tmp_path):
    nwb_file(tmp_path / "a.nwb", [(RESPONSE, STIMULUS), (RESPONSE, None)], table=True)
    one, two = read_recordings(tmp_path / "a.nwb")
    np.testing.assert_allclose(one.v[:, 0], -69.8 + 0.1 * np.arange(6))
    np.testing.assert_allclose(one.current[:, 0], 0.02 + 0.01 * np.arange(6))
    assert two.current is None


def test_wrong_nwb(tmp_path):
    nwb_file(tmp_path / "a.nwb", [])
    with pytest.raises(RecordingError, match="no CurrentClampSeries; .* holds VoltageClampSeries"):
        read_recordings(tmp_path / "a.nwb")
    nwb_file(tmp_path / "b.nwb", [(RESPONSE, STIMULUS)], unit_factor=1e3)
    with pytest.raises(RecordingError, match="millivolts declared as volts"):
        read_recordings(tmp_path / "b.nwb")
    nwb_file(tmp_path / "c.nwb", [(RESPONSE, STIMULUS[:4])])
    with pytest.raises(RecordingError, match=r"sweep 0 \(v0\): stimulus i0 covers .* do not fit"):
        read_recordings(tmp_path / "c.nwb")
    nwb_file(tmp_path / "d.nwb", [(np.where(RESPONSE == -795, np.nan, RESPONSE), None)])
    with pytest.raises(RecordingError, match=r"sweep 0 \(v0\): 1 samples of v \(mV\) are not"):
        read_recordings(tmp_path / "d.nwb")


def test_uneven_times_through_nwb(tmp_path):
    pytest.importorskip("pynwb")
    ts = np.cumsum(np.linspace(0.05, 0.1, len(T)))
    (read,) = read_recordings(write_recordings(sweep(ts=ts), tmp_path / "a.nwb"))
    np.testing.assert_allclose(read.ts, ts - ts[0], atol=1e-9)


def test_abf(tmp_path):
    writer = pytest.importorskip("pyabf.abfWriter")
    v = np.stack([sweep(i).v[:, 0] for i in range(2)])
    writer.writeABF1(v, str(tmp_path / "a.abf"), 20000, units="mV")
    for i, read in enumerate(read_recordings(tmp_path / "a.abf")):
        np.testing.assert_allclose(read.v[:, 0], v[i], atol=0.04)  # 16 bit
        np.testing.assert_allclose(read.ts, T, atol=1e-9)
        assert read.name == str(i)
    writer.writeABF1(v, str(tmp_path / "b.abf"), 20000, units="pA")
    with pytest.raises(RecordingError, match="sweep 0: no channel of voltages"):
        read_recordings(tmp_path / "b.abf")


def test_rate_window_delay():
    a = sweep()
    assert a.dt == pytest.approx(0.05)
    assert a.rate == pytest.approx(20000.0)
    cut = a.window(10.0, 20.0)
    assert (cut.ts[0], cut.ts[-1], cut.v.shape) == (10.0, 20.0, (201, 2))
    assert cut.delayed(-10.0).ts[0] == 0.0
    with pytest.raises(RecordingError, match="has 0 samples there; it covers 0 to 99.95 ms"):
        a.window(200.0, 300.0)
    with pytest.raises(RecordingError, match="sampled unevenly, every 0.0.* to 0.1 ms"):
        _ = sweep(ts=np.cumsum(np.linspace(0.05, 0.1, len(T)))).dt


def test_resample_keeps_the_mean_and_does_not_alias():
    wave = np.sin(2 * np.pi * T / 50)[:, None]
    fine = sweep(v=np.concatenate([wave, (-1.0) ** np.arange(len(T))[:, None]], axis=1))
    coarse = fine.resample(0.5)
    assert coarse.dt == pytest.approx(0.5)
    np.testing.assert_allclose(coarse.v[1:-1, 0], wave[::10, 0][1:-1], atol=1e-3)
    assert np.abs(coarse.v[1:-1, 1]).max() < 0.06  # every tenth sample alone would give 1
    finer = fine.resample(0.025)
    np.testing.assert_allclose(finer.v[::2], fine.v)
    np.testing.assert_allclose(fine.resample(0.05).v, fine.v, atol=1e-9)
    with pytest.raises(RecordingError, match="expected 0 < dt"):
        fine.resample(0.0)


def test_junction_potential():
    corrected = sweep().correct_junction(12.0).correct_junction(2.0)
    np.testing.assert_allclose(corrected.v, sweep().v - 14.0)
    assert corrected.meta["junction_potential_mV"] == 14.0


def test_recorded_current_as_an_input():
    step = np.where((T >= 10) & (T < 50), 0.1, 0.0)
    cell = jd.Cell(jd.ball_and_stick(), max_length=200.0).insert(Leak(g=1e-4, e=-65.0))
    given_, made = (
        jd.simulate(cell, i, t1=60.0, dt=0.05, record=[0]).v
        for i in (sweep(current=step).to_input(0), jd.Step(0, 10.0, 40.0, 0.1))
    )
    assert jnp.abs(given_ - made).max() < 0.2  # half a sample of the edges
    two = sweep(current=np.stack([step, -step], axis=1))
    assert two.to_input([0, 3]).values.shape == (2, len(T))
    with pytest.raises(RecordingError, match=r"has 2 currents \(i0, i1\)"):
        two.to_input(0)
    with pytest.raises(RecordingError, match="no recorded current"):
        sweep(current=None).to_input(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ts": T[::-1]}, "the times must increase: sample 1"),
        ({"ts": T[:5]}, "expected ts"),
        ({"current": np.zeros(5)}, r"expected current \(2000, k\)"),
        ({"labels": ("a",)}, "labels: expected 2 names"),
        ({"v": np.full((2000, 2), np.inf)}, "4000 samples of v"),
    ],
)
def test_wrong_recordings(changes, message):
    with pytest.raises(RecordingError, match=message):
        sweep(**changes)


def test_a_bit_turned_or_an_archive_cut_short_is_one_error(tmp_path):
    one = Recording(np.arange(50.0), np.sin(np.arange(50.0)), name="a")
    path = write_recordings([one], tmp_path / "x.npz")
    data, rng = path.read_bytes(), np.random.default_rng(0)
    noticed = 0
    for _ in range(60):
        turned = bytearray(data)
        turned[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(turned)
        try:
            (found,) = read_recordings(path)
        except RecordingError:
            noticed += 1
        else:
            np.testing.assert_array_equal(found.v, one.v)
    assert noticed > 30
    path.write_bytes(data[:-30])
    with pytest.raises(RecordingError, match=r"x\.npz: not a complete \.npz file"):
        read_recordings(path)
