"""The fixed part of an exported script: how NEURON is told to build, run and compare."""

CODE = '''

class Model:
    """The neuron; keeps alive what NEURON would otherwise delete."""

    def __init__(self):
        self.sections = {}  # name -> section
        self.inputs = []  # clamps, synapses, their events and vectors


def build():
    """The neuron with its inputs."""
    require_mechanisms()
    model = Model()
    make_sections(model.sections)
    insert_mechanisms(model.sections)
    h.celsius = CELSIUS
    for name, value in GLOBALS.items():
        if hasattr(h, name):
            setattr(h, name, value)
    add_inputs(model)

    def start_gates():
        for suffix, names, gates in GATES:
            for name in names:
                for gate, values in gates.items():
                    assign(model.sections[name], suffix, gate, values)

    model.inputs.append(h.FInitializeHandler(start_gates))
    return model


def require_mechanisms():
    """Stop where a mechanism has not been compiled."""
    probe, missing = h.Section(name="probe"), []
    for suffix, source in MECHANISM_FILES.items():
        try:
            probe.insert(suffix)
        except ValueError:
            missing.append(f"{suffix} ({suffix}.mod or similar, from {source})")
    if missing:
        raise SystemExit(
            "NEURON does not know " + "; ".join(missing) + ". Put the .mod files into the folder "
            "that you start this script from, run nrnivmodl there, and start it again."
        )


def make_sections(sections):
    """Sections with their geometry, joined."""
    for name, *_ in SECTIONS:
        sections[name] = h.Section(name=name)
    for name, parent, parent_x, nseg, ra, cm in SECTIONS:
        section, points = sections[name], POINTS.get(name)
        if points is None:
            section.L, section.diam = CYLINDERS[name]
        elif parent is not None:  # or NEURON would move the points to the parent
            h.pt3dstyle(1, *points[0][:3], sec=section)
        if parent is not None:
            section.connect(sections[parent](parent_x), 0)
        for point in points or ():
            h.pt3dadd(*point, sec=section)
        section.nseg, section.Ra = nseg, ra
        for segment, value in zip(section, spread(cm, nseg)):
            segment.cm = value


def insert_mechanisms(sections):
    """Channels, pools and ions; a value is a number or one for each segment."""
    for suffix, names, parameters in MECHANISMS:
        for name in names:
            sections[name].insert(suffix)
            for parameter, values in parameters.items():
                assign(sections[name], suffix, parameter, values)
    for names, parameters in ION_PARAMETERS:
        for name in names:
            for parameter, values in parameters.items():
                for segment, value in zip(sections[name], spread(values, sections[name].nseg)):
                    setattr(segment, parameter, value)
    for name in CALCIUM_MOVES:  # eca follows cai, which starts at cai0_ca_ion
        h.ion_style("ca_ion", 3, 2, 1, 1, 1, sec=sections[name])
    for name in CALCIUM_STAYS:
        h.ion_style("ca_ion", 1, 1, 0, 0, 0, sec=sections[name])
        sections[name].eca, sections[name].cai, sections[name].cao = CALCIUM


def assign(section, suffix, parameter, values):
    """Set a parameter of a mechanism, by the first of its names that the file has."""
    for choice in parameter.split("|"):
        if hasattr(getattr(section(0.5), suffix), choice):
            for segment, value in zip(section, spread(values, section.nseg)):
                setattr(getattr(segment, suffix), choice, value)
            return
        name = f"{choice}_{suffix}"
        if hasattr(h, name):  # one number for the whole neuron
            wanted = set(spread(values, section.nseg))
            if len(wanted) > 1 or SET.setdefault(name, min(wanted)) != min(wanted):
                raise SystemExit(f"{name} differs along the neuron, but the file has it GLOBAL.")
            setattr(h, name, min(wanted))
            return
    raise SystemExit(f"The mechanism {suffix} has no parameter {parameter}: another version?")


SET = {}  # GLOBAL parameters set so far


def spread(values, count):
    """A number, or one for each segment."""
    return values if isinstance(values, (list, tuple)) else [values] * count


def add_inputs(model):
    """Electrodes and synapses."""
    at = lambda place: model.sections[place[0]](place[1])
    for place, delay, duration, amplitude in STEPS:
        clamp = h.IClamp(at(place))
        clamp.delay, clamp.dur, clamp.amp = delay, duration, amplitude
        model.inputs.append(clamp)
    middles = h.Vector(step_middles()) if PLAYED or PLAYED_CLAMPS else None
    for place, shape, parameters in PLAYED:
        clamp = h.IClamp(at(place))
        clamp.delay, clamp.dur = 0, 1e9
        values = h.Vector([SHAPES[shape](t, **parameters) for t in middles])
        values.play(clamp._ref_amp, middles, True)
        model.inputs += [clamp, values, middles]
    for place, rs, levels in CLAMPS:
        clamp = h.SEClamp(at(place))
        clamp.rs, clamp.dur1, clamp.dur2, clamp.dur3 = rs, 0, 0, 0
        for i, (duration, level) in enumerate(levels, 1):
            setattr(clamp, f"dur{i}", duration)
            setattr(clamp, f"amp{i}", level)
        model.inputs.append(clamp)
    for place, rs, times, levels in PLAYED_CLAMPS:
        clamp = h.SEClamp(at(place))
        clamp.dur1 = 1e9
        command = h.Vector([waveform(t, times, levels, True) for t in middles])
        series = h.Vector([rs if times[0] <= t < times[-1] else 1e12 for t in middles])
        command.play(clamp._ref_amp1, middles, True)
        series.play(clamp._ref_rs, middles, True)
        model.inputs += [clamp, command, series, middles]
    events = []
    for place, kind, parameters, deliveries in SYNAPSES:
        synapse = getattr(h, kind)(at(place))
        for name, value in parameters.items():
            setattr(synapse, name, value)
        model.inputs.append(synapse)
        for weight, times in deliveries:
            connection = h.NetCon(None, synapse)
            connection.weight[0] = weight
            events.append((connection, times))

    def deliver():
        for connection, times in events:
            for t in times:
                connection.event(t)

    model.inputs += [events, h.FInitializeHandler(deliver)]


def step_middles():
    """The middle of every time step, at which NEURON evaluates what is played, ms."""
    out, t = [], 0.0
    for _ in range(STEP_COUNT + 1):
        out.append(t + DT / 2)
        t = t + DT / 2 + DT / 2
    return out


def waveform(t, times, values, hold):
    """Linear between samples."""
    if not hold and not times[0] <= t < times[-1]:
        return 0.0
    right = min(max(bisect.bisect_right(times, t), 1), len(times) - 1)
    span = times[right] - times[right - 1]
    share = min(max((t - times[right - 1]) / span, 0.0), 1.0) if span > 0 else 0.0
    return (1 - share) * values[right - 1] + share * values[right]


def pulse_train(t, onset, period, width, count, amplitude):
    """`count` pulses, nA."""
    begun = min(max(math.floor((t - onset) / period), 0), count - 1)
    return amplitude if 0 <= t - onset - begun * period < width else 0.0


def ramp(t, onset, duration, start, stop):
    """From `start` to `stop`, nA."""
    inside = onset <= t < onset + duration
    return start + (stop - start) * (t - onset) / duration if inside else 0.0


def sine(t, onset, duration, amplitude, frequency, phase, offset):
    """A sine of `frequency` Hz, nA."""
    wave = math.sin(2 * math.pi * frequency * 1e-3 * (t - onset) + phase)
    return offset + amplitude * wave if onset <= t < onset + duration else 0.0


def dual_exponential(t, onset, amplitude, tau_rise, tau_decay):
    """The current of an EPSP, nA."""
    top = math.log(tau_decay / tau_rise) * tau_rise * tau_decay / (tau_decay - tau_rise)
    curve = lambda s: math.exp(-s / tau_decay) - math.exp(-s / tau_rise)
    return amplitude / curve(top) * curve(max(t - onset, 0.0))


SHAPES = {
    "waveform": waveform,
    "pulse_train": pulse_train,
    "ramp": ramp,
    "sine": sine,
    "dual_exponential": dual_exponential,
}


def run(model):
    """Times (ms) and voltages (mV) at the recorded places, column by column."""
    h.dt, h.secondorder = DT, SECOND_ORDER
    h.CVode().active(False)
    time = h.Vector().record(h._ref_t)
    traces = [h.Vector().record(model.sections[name](x)._ref_v) for name, x in RECORD]
    if isinstance(V_INIT, dict):
        for name, values in V_INIT.items():
            section = model.sections[name]
            for segment, value in zip(section, spread(values, section.nseg)):
                segment.v = value
        h.finitialize()
    else:
        h.finitialize(V_INIT)
    for _ in range(STEP_COUNT):
        h.fadvance()
    return list(time), [list(trace) for trace in traces]


def compare(times, traces):
    """Print the largest difference to jaxdend's own traces, if they lie next to this script."""
    if not REFERENCE.exists():
        print(f"There is no {REFERENCE.name} to compare with.")
        return
    with open(REFERENCE, newline="") as file:
        rows = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
    worst = (-1.0, 0.0, 0)
    for t, *theirs in rows:
        step = round(t / DT)
        for column, value in enumerate(theirs):
            worst = max(worst, (abs(traces[column][step] - value), times[step], column))
    difference, t, column = worst
    name, x = RECORD[column]
    print(f"max |\u0394V| = {difference:.3g} mV, at {name}({x:g}) and t = {t:g} ms")


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    times, traces = run(build())
    with open(RESULT, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["t_ms", *(f"{name}({x:g})" for name, x in RECORD)])
        table.writerows(zip(times, *traces))
    print(f"{len(times)} times, {len(traces)} traces -> {RESULT.name}")
    compare(times, traces)
'''
