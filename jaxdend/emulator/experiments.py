"""The published experiments, each scaled to a budget of time: `experiment("depth", "10min")`.

```python
run = experiments.experiment("depth", "10min")
run.data("out") and run.train("out") and run.evaluate("out")
rows = run.rows("out")  # a dict for each network
```

A folder holds one budget and any of its experiments: `data/`, which experiments share, and for each
experiment its networks and `metrics.json`. What is done is skipped, so that calling again goes on
after Ctrl-C or worse. `jaxdend emulate` is the same from the command line.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jaxdend._errors import SavedFileError
from jaxdend.emulator._base import AbstractNetwork
from jaxdend.emulator._emulator import Emulator
from jaxdend.emulator._rows import filled, finite, first_layer, measured, write_json
from jaxdend.emulator._sampling import KINDS, Kind
from jaxdend.emulator._setups import RECEPTORS, SETUPS
from jaxdend.emulator._stored import stored_rows as stored_rows
from jaxdend.emulator.data import Dataset, generate, open_data
from jaxdend.emulator.networks import ELM, TCN, UnitNet
from jaxdend.emulator.training import ELM_PUBLISHED, QUICK, Schedule, train
from jaxdend.runs import Run
from jaxdend.sweep import open_sweep

SOME: tuple[Kind, ...] = ("default", "clustered")  # each kind is a program to compile
TIMED: tuple[Kind, ...] = ("default", "synchronous", "sinusoidal")  # of excitation alone
PARTS = (0.7, 0.1, 0.2)  # of the simulations: to train, to validate, to test
DENDRITES = 10  # components of the dendritic voltages that a TCN predicts as well, at most
ALL_LAYERS = (1, 2, 3, 4, 5, 6, 7)
UNITS = (1, 2, 4, 8)  # of the one layer that predicts a branch


@dataclass(frozen=True)
class Scale:
    """The size of an experiment: its data, its networks and its training."""

    simulations: int  # of every kind of receptors, to train, validate and test
    seconds: float  # of each simulation
    others: int  # simulations of every input out of distribution, and every kind of receptors
    sizes: tuple[int, ...]  # layers of the TCNs, or memory units of the ELM neurons
    seeds: int
    steps: int  # of each training
    channels: tuple[int, ...] = (32,)  # widths of the TCNs
    layers: tuple[int, ...] = ()  # of the TCNs that ELM neurons are compared with
    span: int = 100  # bins that a TCN or unit sees
    kinds: tuple[Kind, ...] = KINDS  # of input to test with, the first also to train with
    batch: int = 8  # crops in a step of a TCN or unit
    crop: int = 400  # bins of each
    rate: float = QUICK.rates[0]  # of learning, of the TCNs


# With NMDA, whose time constant is 70 ms, 200 ms instead of 100 explain 71 instead of 67 % of the
# voltage (7 layers). As many bins are scored as in 8 crops of 500.
_LONG: dict[str, Any] = {"span": 200, "crop": 800, "batch": 4}
_BRANCH = _LONG | {"rate": 0.02, "kinds": TIMED}  # few units, which learn faster

# Measured on two busy cores: a step of a TCN of 32 channels and one layer 50 ms, of more layers 70
# to 150, of an ELM neuron 8 to 12; a second of the reduced cell 35 ms; a kind of input 15 s.
# "smoke" takes seconds of work after compilation: it shows that everything runs, and nothing else.
SCALES: dict[str, dict[str, Scale]] = {
    "integrate_and_fire": {
        "smoke": Scale(40, 2.0, 8, (1,), 1, 20, span=80, kinds=SOME),
        "10min": Scale(170, 6.0, 20, (1,), 3, 1500, span=80),
        "1h": Scale(600, 6.0, 60, (1,), 3, 4000, span=80),
        "gpu": Scale(1200, 6.0, 200, (1,), 3, 8000, span=80),
    },
    "depth": {
        "smoke": Scale(20, 2.0, 4, (1, 2), 1, 4, channels=(4,), span=40, kinds=SOME),
        "10min": Scale(250, 6.0, 12, (1, 3, 7), 1, 800, kinds=SOME, **_LONG),
        "1h": Scale(1500, 6.0, 32, (1, 2, 4, 7), 3, 1500, **_LONG),
        "gpu": Scale(2000, 6.0, 200, ALL_LAYERS, 3, 20_000, channels=(128,), span=153),
    },
    "elm": {
        "smoke": Scale(
            20, 2.0, 4, (1, 2), 1, 4, channels=(4,), layers=(1,), span=40, kinds=SOME
        ),
        "10min": Scale(
            400, 6.0, 12, (1, 2, 5, 15), 1, 2000, channels=(8, 32), layers=(3,), kinds=SOME,
            **_LONG,
        ),
        "1h": Scale(
            1500, 6.0, 32, (1, 2, 5, 10, 15), 3, 2000, channels=(4, 16), layers=(1, 4), **_LONG
        ),
        "gpu": Scale(
            2000, 6.0, 200, (1, 2, 3, 5, 7, 10, 15, 20, 25, 50), 3, 20_000,
            channels=(8, 16, 32, 64, 128), layers=(1, 3, 7), span=153,
        ),
    },
    "branch": {
        "smoke": Scale(20, 2.0, 4, (1,), 1, 4, channels=(1, 4), span=40, kinds=TIMED[:2]),
        "10min": Scale(400, 6.0, 40, (1,), 1, 2500, channels=UNITS, **_BRANCH),
        "1h": Scale(1500, 6.0, 80, (1,), 3, 8000, channels=UNITS, **_BRANCH),
        "gpu": Scale(4000, 6.0, 200, (1,), 3, 40_000, channels=UNITS, **_BRANCH),
    },
}  # fmt: skip
EXPERIMENTS = tuple(SCALES)
BUDGETS = ("10min", "1h", "gpu", "smoke")
ABOUT = {
    "integrate_and_fire": "An integrate-and-fire neuron is a network of one unit",
    "depth": "How many layers predict a neuron with NMDA, AMPA only, and passive dendrites",
    "elm": "How much memory an ELM neuron needs, and how many parameters beside a TCN",
    "branch": "How many units predict one dendrite with NMDA, and whether they know the direction",
}


@dataclass(frozen=True)
class Plan:
    """One network of an experiment, before it is built."""

    network: str  # "unit", "tcn" or "elm"
    receptors: str
    size: int  # layers of a TCN, units of memory of an ELM neuron, 1
    seed: int
    channels: int = 0  # width of a TCN

    @property
    def name(self) -> str:
        """The name of the network, which is also the name of its folder."""
        width = f"x{self.channels}" if self.channels else ""
        return f"{self.receptors}-{self.network}{self.size}{width}-seed{self.seed}"

    def build(self, data: Dataset, span: int) -> AbstractNetwork:
        """The network before training, for the inputs and dendrites of `data`."""
        if self.network == "unit":
            return UnitNet(data.k, span=span, key=self.seed)
        if self.network == "elm":
            exc = int(data.meta["exc"])
            branches = min(45, max(2, data.k // 4))
            return ELM(
                data.k, memory=self.size, branches=branches, excitatory=exc, key=self.seed
            )  # fmt: skip
        dendrites = min(DENDRITES, int(data.dendrites.shape[-1]))
        return TCN(
            data.k, channels=self.channels, depth=self.size, span=span, dendrites=dendrites,
            key=self.seed,
        )  # fmt: skip

    def schedule(self, scale: Scale) -> Schedule:
        """The schedule of the network's training, in thousands of steps."""
        if self.network == "elm":
            return replace(ELM_PUBLISHED, rates=(1e-2,))
        quick = replace(QUICK, batch=scale.batch, crop=scale.crop)
        if self.network == "unit":  # more weight on spikes shortens the excitatory filter
            one = {"weights": QUICK.weights[:1], "begins": (0.0,)}
            return replace(quick, rates=(3e-2,), **one)
        return replace(quick, rates=(scale.rate,))


@dataclass(frozen=True)
class Experiment:
    """Data, networks and measurements of one published experiment, in a folder."""

    name: str
    budget: str
    setup: str  # of `SETUPS`
    receptors: tuple[str, ...]
    scale: Scale
    plans: tuple[Plan, ...]  # those of equal receptors beside one another

    def data(
        self, out: str | Path, *, progress: bool = True, say: Callable[[str], None] | None = None
    ) -> bool:
        """Simulate what is missing of the data.

        **Arguments:** `out`, the folder; `progress`, a bar; `say(text)`, told what comes next.
        **Returns:** whether all is there; `False` after Ctrl-C.
        **Raises:** `ValueError` for a folder of another budget; what `generate` raises.
        """
        self._claim(Path(out))
        for receptors in self.receptors:
            setup = SETUPS[self.setup](receptors=receptors)
            for i, kind in enumerate(self.scale.kinds):
                store = self.store(out, receptors, kind)
                n = self.scale.others if i else self.scale.simulations
                if _left(store) == 0:
                    continue
                if say:
                    say(f"data: {receptors}, input {kind}, {n} x {self.scale.seconds:g} s")
                summary = generate(
                    setup, n, store, seconds=self.scale.seconds, seed=i, sampling=kind,
                    resume=True, progress=progress,
                )  # fmt: skip
                if summary.interrupted:
                    return False
        return True

    def train(
        self, out: str | Path, *, progress: bool = True, say: Callable[[str], None] | None = None
    ) -> bool:
        """Train the networks that are not, from where they were.

        Arguments, result and errors are those of `data`; also `ValueError` where data are missing.
        """
        out = Path(out)
        self._check(out)
        todo = [plan for plan in self.plans if not self.emulator(out, plan).exists()]
        for receptors in dict.fromkeys(plan.receptors for plan in todo):
            learn, valid, _ = self.parts(out, receptors)
            learn, valid = learn.load(), valid.load()
            for plan in (plan for plan in todo if plan.receptors == receptors):
                if say:
                    say(f"network {self.plans.index(plan) + 1} of {len(self.plans)}: {plan.name}")
                if not self._train(out, plan, learn, valid, progress):
                    return False
        return True

    def evaluate(self, out: str | Path, *, say: Callable[[str], None] | None = None) -> bool:
        """Test the networks that are trained and write `metrics.json`.

        **Returns:** whether all networks are trained and measured.
        **Raises:** `ValueError` where no network is trained, or data are missing.
        """
        out = Path(out)
        self._check(out)
        trained = [plan for plan in self.plans if self.emulator(out, plan).exists()]
        if not trained:
            raise ValueError(f"no network is trained yet in {out}; first: {self.command('train')}")
        found = self._metrics(out)
        todo = [plan for plan in trained if plan.name not in found["networks"]]
        for receptors in dict.fromkeys(plan.receptors for plan in todo):
            tests = self.tests(out, receptors)
            found["data"][receptors] = {
                kind: {"simulations": test.n, "seconds": self.scale.seconds, "rate_hz": test.rate}
                for kind, test in tests.items()
            }
            for plan in (plan for plan in todo if plan.receptors == receptors):
                if say:
                    say(f"test {plan.name}")
                found["networks"][plan.name] = self._measure(out, plan, tests)
                write_json(self.folder(out) / "metrics.json", found)
        return len(trained) == len(self.plans)

    def rows(self, out: str | Path) -> list[dict[str, Any]]:
        """What `evaluate` has measured: a dict for each network, missing numbers NaN.

        The network (`name, network, receptors, size, channels, seed, parameters, steps, seconds`
        of training), the test (`auc, v_rmse, v_explained`, both also `_realigned`, `hits`, `ece`
        and more, see `Metrics`), `auc_<kind>` and `v_explained_<kind>` of input out of
        distribution; of the first layer `tuft_mass` and `tuft_share` where there is a tuft, on a
        single branch `direction` (of the filter with the largest index), `selective` (how many
        filters have one of 0.2 or more) of `filters` that carry weight, and of one unit `tau_exc,
        tau_inh` (ms), `amplitude_exc, amplitude_inh` (mV).

        **Raises:** `ValueError` where nothing is measured.
        """
        self._check(Path(out))
        rows = self._metrics(out)["networks"]
        if not rows:
            raise ValueError(
                f"nothing of {self.name!r} is measured in {out}; first: {self.command('evaluate')}"
            )
        named = [rows[plan.name] for plan in self.plans if plan.name in rows]
        return [filled(row) for row in named]

    def tested(self, out: str | Path) -> dict[str, dict[str, dict[str, float]]]:
        """What `evaluate` tested with: receptors -> input -> simulations, seconds, rate_hz."""
        return self._metrics(out)["data"]

    def folder(self, out: str | Path) -> Path:
        """The folder below `out` with the networks and the results of this experiment."""
        return Path(out) / self.name

    def store(self, out: str | Path, receptors: str, kind: str = "default") -> Path:
        """The store of the simulations, whichever experiment made them."""
        size = self.scale.simulations if kind == self.scale.kinds[0] else self.scale.others
        return Path(out) / "data" / f"{self.setup}-{receptors}-{kind}-{size}.zarr"

    def emulator(self, out: str | Path, plan: Plan) -> Path:
        """The file of a trained network, which `Emulator.load` reads."""
        return self.folder(out) / "networks" / f"{plan.name}.npz"

    def parts(self, out: str | Path, receptors: str) -> tuple[Dataset, Dataset, Dataset]:
        """The simulations to train with, to validate with and to test with.

        **Raises:** `ValueError` where they are missing.
        """
        learn, valid, test = self._open(out, receptors, self.scale.kinds[0]).split(PARTS)
        return learn, valid, test

    def tests(self, out: str | Path, receptors: str) -> dict[str, Dataset]:
        """The simulations to test with, in memory, by the kind of their input."""
        inside = {self.scale.kinds[0]: self.parts(out, receptors)[2].load()}
        return inside | {k: self._open(out, receptors, k).load() for k in self.scale.kinds[1:]}

    def command(self, what: str) -> str:
        """What to type for `data`, `train`, `evaluate` or `report`."""
        return f"jaxdend emulate {what} --experiment {self.name} --budget {self.budget} --out DIR"

    def _train(self, out: Path, plan: Plan, learn: Dataset, valid: Dataset, progress: bool) -> bool:
        folder = self.folder(out) / "checkpoints" / plan.name
        net = plan.build(learn, self.scale.span)
        result = train(
            net, learn, valid, steps=self.scale.steps, schedule=plan.schedule(self.scale),
            seed=plan.seed, run=Run(folder, resume=True, progress=progress),
        )  # fmt: skip
        if result.interrupted or result.metrics is None:
            return False
        about = asdict(plan) | {
            "name": plan.name, "parameters": net.parameters, "steps": result.steps,
            "seconds": result.seconds,
        }  # fmt: skip
        twin = Emulator(result.net, result.metrics.threshold, learn.meta | {"training": about})
        twin.save(self.emulator(out, plan))
        return True

    def _measure(self, out: Path, plan: Plan, tests: Mapping[str, Dataset]) -> dict[str, Any]:
        twin = Emulator.load(self.emulator(out, plan))
        row: dict[str, Any] = dict(twin.meta["training"])
        row |= measured(twin.net, tests[self.scale.kinds[0]])
        for kind in self.scale.kinds[1:]:
            found = measured(twin.net, tests[kind])
            row |= {f"{name}_{kind}": found.get(name) for name in ("auc", "v_explained")}
        return finite(row | first_layer(twin))

    def _open(self, out: str | Path, receptors: str, kind: str) -> Dataset:
        store = self.store(out, receptors, kind)
        left = _left(store)
        if left is None:
            raise ValueError(
                f"{out} has no data of {self.name!r} ({store.name}); first: {self.command('data')}"
            )
        if left:
            raise ValueError(
                f"{left} simulations are missing in {store}; go on with: {self.command('data')}"
            )
        return open_data(store)

    def _metrics(self, out: str | Path) -> dict[str, Any]:
        path = self.folder(out) / "metrics.json"
        if not path.exists():
            return {"experiment": self.name, "budget": self.budget, "data": {}, "networks": {}}
        try:
            found = json.loads(path.read_bytes())
            if not all(isinstance(found[name], dict) for name in ("data", "networks")):
                raise TypeError("data and networks must be dicts")
            return found
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SavedFileError(
                f"{path} is damaged ({error!r}); delete it and evaluate again"
            ) from None

    def _claim(self, out: Path) -> None:
        """Mark the folder as one of this budget."""
        if out.is_dir() and any(out.iterdir()) and not (out / _RECORD).exists():
            raise ValueError(f"{out} holds something else; give an empty or a new folder")
        self._check(out)
        self.folder(out).mkdir(parents=True, exist_ok=True)
        if not (out / _RECORD).exists():
            write_json(out / _RECORD, {"budget": self.budget})

    def _check(self, out: Path) -> None:
        """Refuse the folder of another budget."""
        budget = recorded_budget(out)
        if budget not in (None, self.budget):
            raise ValueError(
                f"{out} holds the budget {budget!r}, not {self.budget!r}: give that one, or "
                "another folder"
            )


_RECORD = "emulate.json"


def experiment(name: str, budget: str) -> Experiment:
    """The experiment of `EXPERIMENTS` called `name`, in one of `BUDGETS`.

    - `"integrate_and_fire"`: one unit (`UnitNet`).
    - `"depth"`: TCNs of 1 to 7 layers, for the reduced cell with each kind of receptors.
    - `"elm"`: ELM neurons of 1 memory unit and more, and TCNs of several widths and depths, for
      the reduced cell with NMDA.
    - `"branch"`: TCNs of one layer and 1 to 8 units, for the NMDA spikes of one dendrite.

    Budgets are for two CPU cores, `"gpu"` for about two hours of a large one.

    **Raises:** `ValueError` for another name or budget.
    """
    if name not in SCALES:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}; got {name!r}")
    if budget not in BUDGETS:
        raise ValueError(f"budget must be one of {', '.join(BUDGETS)}; got {budget!r}")
    scale = SCALES[name][budget]
    seeds = range(scale.seeds)
    if name == "integrate_and_fire":
        plans = [Plan("unit", "none", 1, seed) for seed in seeds]
        return Experiment(name, budget, name, ("none",), scale, tuple(plans))
    if name == "elm":
        plans = [Plan("elm", "nmda", size, seed) for size in scale.sizes for seed in seeds]
        grid = [(depth, width) for depth in scale.layers for width in scale.channels]
        plans += [Plan("tcn", "nmda", d, seed, width) for d, width in grid for seed in seeds]
        return Experiment(name, budget, "reduced", ("nmda",), scale, tuple(plans))
    if name == "branch":
        plans = [Plan("tcn", "nmda", 1, seed, units) for seed in seeds for units in scale.channels]
        return Experiment(name, budget, name, ("nmda",), scale, tuple(plans))
    (width,) = scale.channels
    plans = [
        Plan("tcn", receptors, depth, seed, width)
        for receptors in RECEPTORS
        for seed in seeds  # all depths of a seed first: half of the work is a figure already
        for depth in scale.sizes
    ]
    return Experiment(name, budget, "reduced", tuple(RECEPTORS), scale, tuple(plans))


def recorded_budget(out: str | Path) -> str | None:
    """The budget of what a folder holds, `None` for a folder that holds nothing of this kind."""
    path = Path(out) / _RECORD
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_bytes())["budget"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SavedFileError(f"{path} is damaged: delete it, or give another folder") from None


def _left(store: Path) -> int | None:
    """Simulations that are not done, `None` where nothing was begun."""
    if not store.exists():
        return None
    return int((open_sweep(store)["status"].values == 0).sum())
