"""Morphologies grown by rules: textbook trees and a layer-5-like pyramidal cell."""

import dataclasses

import numpy as np

from jaxdend.morphology._morphology import Branch, Morphology, assemble

_SOMA, _AXON, _BASAL, _APICAL = 1, 2, 3, 4  # SWC types
_UP = np.array([0.0, 1.0, 0.0])
_STEP = 10.0  # µm between the points of a grown branch


def single_compartment(length: float = 20.0, diameter: float = 20.0) -> Morphology:
    """A single cylinder as a soma, with `length` and `diameter` in µm."""
    return assemble([_soma(length, diameter)], source="single_compartment")


def ball_and_stick(
    soma_diameter: float = 20.0, dendrite_length: float = 500.0, dendrite_diameter: float = 2.0
) -> Morphology:
    """A soma with L = d and one dendrite, a cylinder on soma(1); all in µm."""
    soma = _soma(soma_diameter, soma_diameter)
    stick = _straight(soma.points[-1, :3], _UP, dendrite_length, dendrite_diameter)
    return assemble([soma, Branch(stick, 0, 1.0, _BASAL)], source="ball_and_stick")


def y_tree(
    parent_length: float = 200.0,
    parent_diameter: float = 2.0,
    child_length: float = 150.0,
    child_diameter: float = 1.26,
) -> Morphology:
    """A dendrite `dend[0]` that forks into two equal ones, without a soma; all in µm.

    By default the children match the parent by Rall's 3/2 power rule.
    """
    parent = _straight(np.zeros(3), _UP, parent_length, parent_diameter)
    branches = [Branch(parent, -1, 1.0, _BASAL)]
    for side in (-1.0, 1.0):
        points = _straight(parent[-1, :3], _turned(_UP, side * 40.0), child_length, child_diameter)
        branches.append(Branch(points, 0, 1.0, _BASAL))
    return assemble(branches, source="y_tree")


def rall_tree(
    depth: int = 4,
    length: float = 100.0,
    diameter: float = 4.0,
    soma_diameter: float | None = 20.0,
) -> Morphology:
    """A symmetric binary tree equivalent to one cylinder (Rall 1962).

    Diameters follow the 3/2 power rule, d_parent^1.5 = 2 d_child^1.5, and lengths fall with the
    square root of the diameter, so that every generation has the electrotonic length of the first.

    **Arguments:** `depth`, generations of branches (2^depth - 1 in all); `length` and `diameter`
    of the first, µm; `soma_diameter` µm, or `None` for a tree without a soma.
    """
    if depth < 1 or depth != int(depth) or depth > 16:
        raise ValueError(f"depth must be a whole number from 1 to 16; got {depth}.")
    branches: list[Branch] = []
    start, parent = np.zeros(3), -1
    if soma_diameter is not None:
        branches.append(_soma(soma_diameter, soma_diameter))
        start, parent = branches[0].points[-1, :3], 0
    tips = [(parent, start, 0.0)]  # branch to grow from, where, direction in degrees
    for level in range(int(depth)):
        thin = 2.0 ** (-2.0 / 3.0 * level)
        spread = 60.0 / 2.0**level
        grown = []
        for parent, start, angle in tips:
            for turn in (0.0,) if level == 0 else (-spread, spread):
                way = angle + turn
                points = _straight(start, _turned(_UP, way), length * thin**0.5, diameter * thin)
                grown.append((len(branches), points[-1, :3], way))
                branches.append(Branch(points, parent, 1.0, _BASAL))
        tips = grown
    return assemble(branches, source="rall_tree")


@dataclasses.dataclass(frozen=True)
class PyramidalShape:
    """The proportions of a pyramidal cell, all lengths and diameters in µm.

    Lengths of `basal`, `oblique` and `tuft` are means, one per generation of branches; diameters
    are those at the beginning of the first, and shrink to 0.7 with every generation, down to 0.5.
    """

    soma: tuple[float, float] = (20.0, 18.0)  # length, diameter
    axon: float = 260.0  # length beyond the initial segment of 40
    stems: int = 7  # basal trees, at least 2, or 0 for none
    basal: tuple[float, ...] = (35.0, 75.0, 120.0)
    basal_diameter: float = 1.5
    trunk: tuple[float, float] = (600.0, 660.0)  # shortest and longest
    trunk_diameter: tuple[float, float] = (5.0, 2.4)  # at the soma, where it forks
    obliques: int = 9
    oblique_range: tuple[float, float] = (60.0, 420.0)  # where they leave the trunk
    oblique: tuple[float, ...] = (50.0, 115.0)
    oblique_diameter: float = 0.9
    tuft: tuple[float, ...] = (140.0, 170.0, 240.0)  # of each of two trees
    tuft_diameter: float = 1.8

    def __post_init__(self) -> None:
        if self.stems < 0 or self.stems == 1 or self.stems != int(self.stems):
            raise ValueError(
                "PyramidalShape: stems, the number of basal trees, must be a whole number of at "
                f"least 2, as they are spread over an angle, or 0; got {self.stems!r}."
            )


SHAPES = {
    "l5": PyramidalShape(),
    "l23_human": PyramidalShape(
        axon=460.0,
        stems=9,
        basal=(45.0, 100.0, 190.0),
        basal_diameter=2.4,
        trunk=(100.0, 140.0),
        trunk_diameter=(5.5, 4.0),
        obliques=5,
        oblique_range=(30.0, 90.0),
        oblique=(60.0, 180.0),
        oblique_diameter=1.5,
        tuft=(180.0, 170.0, 160.0, 220.0),
        tuft_diameter=2.2,
    ),
    "ca1": PyramidalShape(
        soma=(18.0, 15.0),
        stems=6,
        basal=(35.0, 70.0, 130.0),
        basal_diameter=1.3,
        trunk=(300.0, 340.0),
        trunk_diameter=(3.6, 2.2),
        obliques=14,
        oblique_range=(40.0, 280.0),
        oblique=(40.0, 110.0),
        tuft=(90.0, 110.0, 140.0),
        tuft_diameter=1.5,
    ),
}


def pyramidal(seed: int = 0, shape: str | PyramidalShape = "l5") -> Morphology:
    """A cell like a pyramidal neuron, the same for the same `seed`.

    A soma, basal trees, a tapering apical trunk with oblique branches that forks into a tuft, and
    an unbranched axon. Besides soma, axon, basal and apical it has the regions trunk, oblique, tuft
    and ais (the axon's initial segment).

    **Arguments:** `shape`, your own `PyramidalShape` or one of

    - `"l5"`: thick-tufted, layer 5; the tuft ends about 1200 µm from the soma; 10 to 11 mm of
      dendrite.
    - `"l23_human"`: human layer 2/3; the trunk forks after 100 to 140 µm, and two large trees end
      about 900 µm from the soma; 17 mm.
    - `"ca1"`: hippocampal; 14 obliques along a trunk of some 320 µm; 10 mm.

    **Raises:** `ValueError` for an unknown `shape`.
    """
    source = f"pyramidal(seed={seed}, shape={shape!r})"
    if isinstance(shape, str):
        if shape not in SHAPES:
            raise ValueError(f"pyramidal: shape must be one of {', '.join(SHAPES)}; got {shape!r}.")
        shape = SHAPES[shape]
    rng = np.random.default_rng(seed)
    length, diameter = shape.soma
    branches = [_soma(length, diameter)]
    _axon(rng, branches, length / 2, shape.axon)
    for i in range(shape.stems):  # all around but for the cone of the trunk
        way = _spread(rng, _turned(_UP, 60.0 + 240.0 / (shape.stems - 1) * i), 8.0)
        root = (0, 0.5, diameter / 2 * way)
        _arbor(rng, branches, root, way, shape.basal, shape.basal_diameter, "")
    sides = np.sort(rng.uniform(*shape.oblique_range, shape.obliques))
    places = np.array([0.0, *sides, rng.uniform(*shape.trunk)])
    joints = _trunk(rng, branches, places, length / 2, shape.trunk_diameter)
    for i, (parent, at) in enumerate(joints[:-1]):
        way = _spread(rng, _turned(_UP, (-1.0) ** i * 65.0), 15.0)
        root = (parent, 1.0, at)
        _arbor(rng, branches, root, way, shape.oblique, shape.oblique_diameter, "oblique")
    for side in (-1.0, 1.0):
        way = _spread(rng, _turned(_UP, side * 28.0), 5.0)
        root = (joints[-1][0], 1.0, joints[-1][1])
        _arbor(rng, branches, root, way, shape.tuft, shape.tuft_diameter, "tuft")
    return assemble(branches, source=source)


def _axon(rng: np.random.Generator, branches: list[Branch], start: float, length: float) -> None:
    ais = _grow(rng, np.array([0.0, -start, 0.0]), -_UP, 40.0, (2.0, 1.2))
    branches.append(Branch(ais, 0, 0.5, _AXON, ("ais",)))
    rest = _grow(rng, ais[-1, :3], -_UP, length, (1.0, 1.0))
    branches.append(Branch(rest, 1, 1.0, _AXON))


def _trunk(
    rng: np.random.Generator,
    branches: list[Branch],
    places: np.ndarray,
    start: float,
    diameters: tuple[float, float],
) -> list[tuple[int, np.ndarray]]:
    """Grow the trunk in sections between `places` (µm); returns each section and where it ends."""
    at, joints = start * _UP, []
    diameter = diameters[0] - (diameters[0] - diameters[1]) * places / places[-1]
    for i, length in enumerate(np.diff(places)):
        points = _grow(rng, at, _UP, length, (diameter[i], diameter[i + 1]))
        parent, x = (0, 0.5) if i == 0 else (len(branches) - 1, 1.0)
        branches.append(Branch(points, parent, x, _APICAL, ("trunk",)))
        at = points[-1, :3]
        joints.append((len(branches) - 1, at))
    return joints


def _arbor(
    rng: np.random.Generator,
    branches: list[Branch],
    root: tuple[int, float, np.ndarray],
    way: np.ndarray,
    lengths: tuple[float, ...],
    diameter: float,
    region: str,
) -> None:
    """A binary tree, one generation per mean length (µm), from `root` = (branch, x, place)."""
    kind, regions = (_APICAL, (region,)) if region else (_BASAL, ())
    parent, x, at = root
    length = lengths[0] * float(np.exp(0.15 * rng.standard_normal()))
    points = _grow(rng, at, way, length, (diameter, 0.85 * diameter))
    branches.append(Branch(points, parent, x, kind, regions))
    if len(lengths) > 1:
        me, turn = len(branches) - 1, rng.uniform(18.0, 32.0)
        for side in (-turn, turn):
            child = _spread(rng, _turned(way, side), 8.0)
            thin = max(0.7 * diameter, 0.5)
            _arbor(rng, branches, (me, 1.0, points[-1, :3]), child, lengths[1:], thin, region)


def _grow(
    rng: np.random.Generator,
    start: np.ndarray,
    way: np.ndarray,
    length: float,
    diameters: tuple[float, float],
) -> np.ndarray:
    """A slightly winding branch `(m, 4)` of exactly this length, tapering between two diameters."""
    steps = max(int(np.ceil(length / _STEP)), 1)
    ways = way + 0.12 * rng.standard_normal((steps, 3))
    ways *= length / steps / np.linalg.norm(ways, axis=1, keepdims=True)
    xyz = np.concatenate([start[None], start + np.cumsum(ways, axis=0)])
    return np.column_stack([xyz, np.linspace(*diameters, steps + 1)])


def _soma(length: float, diameter: float) -> Branch:
    ends = np.array([[0.0, y * length, 0.0, diameter] for y in (-0.5, 0.0, 0.5)])
    return Branch(ends, -1, 1.0, _SOMA)


def _straight(start: np.ndarray, way: np.ndarray, length: float, diameter: float) -> np.ndarray:
    return np.array([[*start, diameter], [*(start + length * way), diameter]])


def _turned(way: np.ndarray, degrees: float) -> np.ndarray:
    """A direction turned clockwise in the x-y plane."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([c * way[0] + s * way[1], -s * way[0] + c * way[1], way[2]])


def _spread(rng: np.random.Generator, way: np.ndarray, degrees: float) -> np.ndarray:
    """A direction shaken by about so many degrees, in depth twice as much."""
    out = way + np.deg2rad(degrees) * rng.standard_normal(3) * np.array([1.0, 1.0, 2.0])
    return out / np.linalg.norm(out)
