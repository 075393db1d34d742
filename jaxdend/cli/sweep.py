"""`jaxdend sweep`: every point of a sweep file into one store, on one machine or many.

The same command runs everywhere. Under Slurm (`srun jaxdend sweep …`) and Open MPI the processes
find one another; elsewhere each is told of the others by `--coordinator`, `--processes` and
`--process-id`. `scripts/sweep_slurm.sh` and `scripts/sweep_hosts.sh` show both.
"""

import json
import math
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer
from rich.table import Table as Grid

from jaxdend.cli.console import ERR, INTERRUPTED, OUT, explain, say_command
from jaxdend.cli.report import load_plotting, write_figure
from jaxdend.config import SweepFile, precision
from jaxdend.sweep import (
    STATUS,
    Store,
    Summary,
    failed_points,
    open_sweep,
    run_sweep,
    said_of_lost,
    start_processes,
)

SHOWN = 10  # failed points in a table
TRIAL = 64  # points that a dry run computes

File = Annotated[
    Path, typer.Argument(metavar="SWEEP", help="A sweep file in TOML.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="The store, a zarr folder.  [default: store of [run], sweep.zarr]"),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the store, or begin it if there is none.")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="With --resume: read all of the store, mend what is bad.")
]
Coordinator = Annotated[
    str | None, typer.Option(help="host:port of process 0, if Slurm or MPI do not tell.")
]
Count = Annotated[int | None, typer.Option("--processes", min=1, help="How many there are.")]
Index = Annotated[int | None, typer.Option("--process-id", min=0, help="Which of them this is.")]
Devices = Annotated[
    int | None,
    typer.Option("--devices", min=1, help="CPU devices to share the work out to; all cores."),
]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Only say how many points, bytes and seconds it takes.")
]


def sweep(
    file: File,
    out: Out = None,
    resume: Resume = False,
    verify: Verify = False,
    dry_run: Dry = False,
    coordinator: Coordinator = None,
    processes: Count = None,
    process_id: Index = None,
    devices: Devices = None,
) -> None:
    """Simulate every point of SWEEP. Ctrl-C or worse loses nothing: --resume goes on."""
    with explain():
        if devices is not None:  # this and the next before anything of JAX runs
            _use_devices(devices)
        start_processes(coordinator, processes, process_id)
        checked = SweepFile.read(file)
        out = out or Path(checked.resolved["run"].get("store", "sweep.zarr"))
        with precision(checked.precision):
            if dry_run:
                _foretell(checked, out)
                raise typer.Exit
            summary = _run(checked, out, resume, verify)
        if jax.process_index() == 0:
            report_sweep(checked, summary)
        if summary.interrupted:
            ERR.print("stopped, nothing is lost; go on with:", highlight=False)
            say_command(ERR, "  ", *_again(file, out, coordinator, processes, process_id))
            raise typer.Exit(INTERRUPTED)


def sweep_status(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The store of a sweep.", show_default=False)
    ],
) -> None:
    """Show how far the sweep in OUT has come, also while it runs."""
    with explain():
        store = Store.open(out)
        OUT.print(_counts({STATUS[code]: n for code, n in store.counts().items()}, store.n))
        if lost := store.lost():
            ERR.print(said_of_lost(store, lost), highlight=False, soft_wrap=True)
        rate = _rate(store)
        if rate is not None:
            OUT.print(rate, highlight=False)
        with warnings.catch_warnings():  # which is said already
            warnings.simplefilter("ignore")
            _show_failed(out)


def _run(checked: SweepFile, out: Path, resume: bool, verify: bool) -> Summary:
    settings = checked.resolved["run"]
    program = {k: v for k, v in checked.resolved.items() if k not in ("run", "design")}
    if jax.process_index() == 0:
        OUT.print(_overview(checked), highlight=False, soft_wrap=True)
    return run_sweep(
        checked.make,
        checked.design,
        out,
        program=json.loads(json.dumps(program)),
        attributes=checked.attributes(),
        chunk=settings.get("chunk"),
        memory=settings.get("memory"),
        resume=resume or verify,
        verify=verify,
    )


def report_sweep(checked: SweepFile, summary: Summary) -> None:
    """Print what became of the points; draw the first output that is one number."""
    OUT.print(_counts(summary.counts, summary.points))
    rate = summary.written / max(summary.seconds, 1e-9)
    count = jax.process_count()
    by = f" by {count} processes" if count > 1 else ""
    OUT.print(
        f"{summary.written:,} points in {summary.seconds:.1f} s ({rate:.3g}/s){by}, "
        f"{summary.lanes:,} at a time on each device",
        highlight=False,
    )
    _show_failed(summary.out)
    figures = _figure(checked, summary.out)
    also = f" (see {', '.join(figures)})" if figures else ""
    OUT.print(f"written to {summary.out}{also}", highlight=False, soft_wrap=True)


def _overview(checked: SweepFile) -> str:
    design = checked.design
    axes = ", ".join(axis.name for axis in design.axes)
    groups = f" in {len(design.groups)} groups" if len(design.groups) > 1 else ""
    return f"{design.n:,} points{groups} over {axes}"


def _foretell(checked: SweepFile, out: Path) -> None:
    """What the sweep would take: nothing is written."""
    OUT.print(_overview(checked), highlight=False, soft_wrap=True)
    f = checked.make(checked.design.groups[0][0])
    shapes = {name: x for name, x in checked.shapes().items() if name != "status"}
    grid = Grid("output", "shape", "bytes a point")
    for name, x in shapes.items():
        grid.add_row(name, str(x.shape), str(x.size * x.dtype.itemsize))
    OUT.print(grid)
    names = len(checked.design.axes)
    each = sum(x.size * x.dtype.itemsize for x in shapes.values()) + 8 * names + 1
    count = min(TRIAL, checked.design.groups[0][2])
    points = checked.design.points(np.arange(count))
    clock = time.perf_counter()
    program = jax.jit(jax.vmap(f)).lower(points).compile()
    compiled = time.perf_counter() - clock
    jax.block_until_ready(program(points))
    clock = time.perf_counter()
    jax.block_until_ready(program(points))
    rate = count / (time.perf_counter() - clock)
    programs = len(checked.design.groups)
    OUT.print(
        f"store: {_size(each * checked.design.n)} before compression, {each} bytes a point, "
        f"at {out}\n"
        f"time: about {_duration(checked.design.n / rate)} on one device of this machine, at "
        f"{rate:.3g} points/s in a batch of {count} (larger batches may be faster), and "
        f"{_duration(compiled * programs)} to compile {programs} program(s)",
        highlight=False,
        soft_wrap=True,
    )


def _counts(counts: dict[str, int], total: int) -> Grid:
    grid = Grid("points", "number", "share")
    for name, count in counts.items():
        grid.add_row(name.replace("_", " "), f"{count:,}", f"{count / total:.1%}")
    return grid


def _rate(store: Store) -> str | None:
    """Points a second, by when the units of the store were written."""
    written = store.times()
    left = store.units - len(written)
    if not written:
        return None
    ago = _duration(time.time() - written[-1])
    recent = written[-100:]
    if left == 0 or len(recent) < 2 or recent[-1] <= recent[0]:
        return f"last written {ago} ago"
    rate = (len(recent) - 1) / (recent[-1] - recent[0])
    return (
        f"{rate * store.lanes:.3g} points/s lately, {_duration(left / rate)} left at that rate; "
        f"last written {ago} ago"
    )


def _show_failed(out: Path) -> None:
    """A table of the first points that failed, with their parameters."""
    rows = failed_points(out, SHOWN)
    if not rows:
        return
    grid = Grid("point", "status", "parameters", title="failed", title_justify="left")
    for row in rows:
        number, status, *values = row.values()
        texts = [f"{x:.6g}" if isinstance(x, float) else str(x) for x in values]
        pairs = zip(list(row)[2:], texts, strict=True)
        grid.add_row(str(number), status.replace("_", " "), ", ".join(f"{k} {x}" for k, x in pairs))
    OUT.print(grid)


def _figure(checked: SweepFile, out: Path) -> list[str]:
    """The first output that is one number over the first axes; written beside the store."""
    plotting = load_plotting()
    dataset = open_sweep(out)
    scalars = [x["name"] for x in checked.resolved["output"] if dataset[x["name"]].ndim == 1]
    if plotting is None or not scalars:
        return []
    some = np.unique(np.linspace(0, checked.design.n - 1, 20_000).astype(np.int64))
    chosen = dataset[[scalars[0]]].isel(point=some).load()
    about = checked.attributes()
    varied = [x for x in checked.design.axes if x.values is None or len(x.values) > 1]
    varied = sorted(varied, key=lambda axis: axis.fixed)  # numbers before texts
    names = [axis.name for axis in varied or checked.design.axes]
    names, others = names[:2], [str(name) for name in names[2:]]
    over = f",\nover all {', '.join(others)}" if others else ""
    axes = plotting.plot_sweep(
        {name: chosen[name].values for name in names},
        chosen[scalars[0]].values,
        label=plotting.literal(_titled(scalars[0], about) + over),
        failed=chosen["status"].values > 1,
        log=[x["name"] for x in checked.resolved["axis"] if x["scale"] == "log"],
        names={name: plotting.literal(_titled(name, about)) for name in names},
    )
    path = out.with_suffix(".png")
    write_figure(plotting, axes, path)
    return [path.name]


def _titled(name: str, about: dict[str, dict[str, Any]]) -> str:
    unit = about.get(name, {}).get("units")
    return f"{name} ({unit})" if unit else name


def _again(
    file: Path, out: Path, coordinator: str | None, processes: int | None, process_id: int | None
) -> list[str]:
    words = ["jaxdend", "sweep", str(file), "--out", str(out), "--resume"]
    given = {"coordinator": coordinator, "processes": processes, "process-id": process_id}
    for name, value in given.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return words


def _use_devices(count: int) -> None:
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        raise ValueError("--devices: JAX has started already, with its devices") from None


def _size(count: float) -> str:
    units = ("bytes", "kB", "MB", "GB", "TB", "PB")
    power = min(int(math.log10(max(count, 1.0)) // 3), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
