"""`Cell`: a discretised neuron with its mechanisms, an immutable pytree.

Every leaf is an array and every number a leaf; topology, masks and names are static and hashed by
content, so that a new number never recompiles and two equal cells share one program.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend._subset import HostData, Mask, Subset, is_concrete
from jaxdend.cable import TracedTree, Tree
from jaxdend.cable.compartments import Compartments, counts_by_rule, discretise
from jaxdend.cable.graph import compartments_from_graph
from jaxdend.mechanisms.base import AbstractMechanism
from jaxdend.morphology import Morphology
from jaxdend.regions import label_regions, locate, region_mask

Where = str | ArrayLike | None

STACKED = (
    "this is a stack of {} cells, for which every array has a leading axis. Map over it: "
    "jax.vmap(lambda cell: ...)(cells)."
)


class Inserted(eqx.Module):
    """A mechanism and the compartments it sits in; its parameters are scalars or `(k,)`."""

    mechanism: AbstractMechanism
    at: Subset | Mask  # k compartments; static as a `Subset`


class Cell(eqx.Module):
    """A neuron cut into `n` isopotential compartments joined by axial resistances.

    **Arguments:** `morph`, a `Morphology`; one of `max_length` (µm; the smallest odd number of
    compartments per section not longer than this), `d_lambda` (fraction of the length constant at
    100 Hz, NEURON's rule) or `ncomp` (a callable, section length µm -> number of compartments);
    `cm` µF/cm², `ra` Ω·cm, `celsius` °C. `end_nodes=True` adds every section's distal end as a
    compartment of area 0, so that a synapse can sit at x = 1 exactly as in NEURON.

    Instances are immutable: `insert` and `set` return new cells.
    """

    area: Float[Array, " n"]  # (n,) µm², 0 at algebraic compartments
    radius: Float[Array, " n"]  # (n,) µm, length mean
    cm: Float[Array, " n"]  # (n,) µF/cm²
    ra: Float[Array, " n"]  # (n,) Ω·cm
    own: Float[Array, " N"]  # (N,) MΩ/(Ω·cm): edge resistance = ra[i] own[i] + ra[parent] via[i]
    via: Float[Array, " N"]  # (N,) MΩ/(Ω·cm)
    celsius: Float[Array, ""]  # () °C
    inserted: tuple[Inserted, ...]
    tree: Tree | TracedTree  # static; N >= n nodes; those past n are branch points of area 0
    membrane: Subset | Mask  # static; compartments of area > 0
    host: HostData = eqx.field(static=True)  # names, coordinates, regions

    def __init__(
        self,
        morph: Morphology | Compartments,
        *,
        max_length: float | None = None,
        d_lambda: float | None = None,
        ncomp: Callable[[float], int] | None = None,
        cm: ArrayLike = 1.0,
        ra: ArrayLike = 100.0,
        celsius: ArrayLike = 6.3,
        end_nodes: bool = False,
        section_names: tuple[str, ...] = (),
    ):
        labels: dict[str, np.ndarray] = {}
        comps = morph
        if isinstance(morph, Morphology):
            counts = counts_by_rule(
                morph, max_length=max_length, d_lambda=d_lambda, ncomp=ncomp, ra=ra, cm=cm
            )
            comps = discretise(morph, counts, end_nodes=end_nodes)
            section_names, labels = tuple(morph.name), dict(morph.labels)
        if not isinstance(comps, Compartments):
            raise TypeError(
                f"Cell needs a Morphology (jd.read_morphology); got {type(morph).__name__}."
            )
        n, membrane = len(comps.area), comps.area > 0
        self.area = jnp.asarray(comps.area, float)
        self.radius = jnp.asarray(np.nan_to_num(comps.radius, nan=1.0), float)
        self.cm = _per_compartment("cm", cm, n, low=0.0)
        self.ra = _per_compartment("ra", ra, n, low=0.0)
        self.own = jnp.asarray(comps.own, float)
        self.via = jnp.asarray(comps.via, float)
        self.celsius = jnp.asarray(celsius, float)
        self.inserted = ()
        self.tree = Tree(comps.parent)
        self.membrane = Subset(np.flatnonzero(membrane))
        self.host = HostData(
            kind=comps.kind,
            section=comps.section,
            x=comps.x,
            xyz=comps.xyz,
            distance=comps.distance,
            length=comps.length,
            radius=np.nan_to_num(comps.radius, nan=1.0),  # for `locate` while tracing
            parent=_compartment_parents(comps.parent, n),
            membrane=membrane,
            exposed=not membrane.all(),
            has_radius=bool(np.all(np.isfinite(comps.radius))),
            section_names=section_names,
            regions=label_regions(comps.kind, comps.section, section_names, labels),
            morph=morph if isinstance(morph, Morphology) else None,
        )

    @classmethod
    def from_compartments(
        cls,
        *,
        parent: ArrayLike,
        axial_resistance: ArrayLike,
        area: ArrayLike,
        cm: ArrayLike = 1.0,
        ra: ArrayLike = 100.0,
        celsius: ArrayLike = 6.3,
        **described: ArrayLike | None,
    ) -> "Cell":
        """A cell from a compartment graph, for example one exported from NEURON.

        **Arguments:** `parent (n,)`, index of each compartment's parent, -1 at the root;
        `axial_resistance (n,)` MΩ to the parent (the root's is ignored), taken as measured at `ra`,
        so that `set(ra=...)` rescales it; `area (n,)` µm², 0 for an algebraic node without
        membrane; `cm` µF/cm². Optional description, `(n,)` each, for `region`, `locate` and plots:
        `distance` (µm from the soma), `kind` (SWC type), `section` (number or NEURON-style name),
        `x` (along the section), `length` and `radius` (µm), `xyz (n, 3)`.

        **Raises:** `ValueError` for arrays of unequal length, negative areas or resistances,
        or parents that do not form one tree.
        """
        known = {"distance", "kind", "section", "x", "length", "radius", "xyz"}
        if unknown := set(described) - known:
            raise TypeError(
                f"from_compartments: unknown {sorted(unknown)}; it takes {sorted(known)}."
            )
        comps, names = compartments_from_graph(
            parent=parent, axial_resistance=axial_resistance, area=area, ra=ra, **described
        )
        cm = jnp.asarray(cm, float)
        if cm.shape == comps.area.shape:  # exports hold 0 where there is no membrane
            cm = jnp.where(comps.area > 0, cm, 1.0)
        return cls(comps, cm=cm, ra=ra, celsius=celsius, section_names=names)

    @property
    def n(self) -> int:
        """The number of compartments in the cell."""
        return self.area.shape[-1]

    @property
    def exposed(self) -> bool:
        """Whether inputs can sit on a compartment without membrane: such a one has a number."""
        return self.host["exposed"]

    @property
    def distance(self) -> np.ndarray:
        """`(n,)` path distance from the centre of the soma, µm."""
        return self.host["distance"]

    @property
    def length(self) -> np.ndarray:
        """`(n,)` length of each compartment, µm."""
        return self.host["length"]

    @property
    def kind(self) -> np.ndarray:
        """`(n,)` SWC type code: 1 soma, 2 axon, 3 basal, 4 apical."""
        return self.host["kind"]

    @property
    def section(self) -> np.ndarray:
        """`(n,)` number of the section that each compartment belongs to."""
        return self.host["section"]

    @property
    def section_names(self) -> tuple[str, ...]:
        """The names of the sections, as NEURON writes them."""
        return self.host["section_names"]

    @property
    def x(self) -> np.ndarray:
        """`(n,)` relative position along the section."""
        return self.host["x"]

    @property
    def xyz(self) -> np.ndarray:
        """`(n, 3)` centre of each compartment, µm."""
        return self.host["xyz"]

    @property
    def parent(self) -> np.ndarray:
        """`(n,)` nearest compartment towards the root, -1 at the root."""
        return self.host["parent"]

    @property
    def morph(self) -> Morphology | None:
        """The morphology that the cell was cut from, if any."""
        return self.host["morph"]

    @property
    def regions(self) -> tuple[str, ...]:
        """The names that `region` and `where=` accept."""
        return tuple(sorted(self.host["regions"]))

    @property
    def mechanisms(self) -> dict[str, Inserted]:
        """The mechanisms as inserted, by class name, with the compartments they sit in."""
        return {type(item.mechanism).__name__: item for item in self.inserted}

    def region(self, name: str) -> np.ndarray:
        """`(n,)` bool, the compartments of a region such as `"soma"` or `"apical"`."""
        return region_mask(self.host, name)

    def locate(
        self,
        region: str | None = None,
        *,
        distance: float | None = None,
        section: int | str | None = None,
        x: float | None = None,
        xyz: ArrayLike | None = None,
    ) -> int:
        """The compartment at a place, as an int.

        **Arguments:** a `region` alone gives its compartment nearest to the soma; with `distance`
        (path from the soma, µm) the thickest of its compartments that contain that distance;
        `section` (number or name) with `x` in [0, 1]; or the one nearest to `xyz` (µm).

        **Raises:** `ValueError` where nothing fits, saying what the cell has.
        """
        radius = self.radius if is_concrete(self.radius) else self.host["radius"]
        return locate(self.host, np.asarray(radius), region, distance, section, x, xyz)

    def insert(self, mechanism: AbstractMechanism, where: Where = None) -> "Cell":
        """A new cell with `mechanism` in the compartments `where`.

        **Arguments:** `mechanism`, whose parameters are scalars or `(n,)`; `where`, a boolean
        `(n,)`, a region name, compartment numbers, or `None` for everywhere. Inserting a mechanism
        that is there already sets its parameters at `where` and extends it, as NEURON does.

        **Raises:** `ValueError` for a mask or parameter of the wrong shape, an empty mask, or a
        parameter that is NaN somewhere in `where`.
        """
        if not isinstance(mechanism, AbstractMechanism):
            raise TypeError(
                f"insert needs a mechanism such as Leak(g=..., e=...); got {mechanism!r}. "
                "Stimuli and synapses go to jd.simulate."
            )
        at = self._subset(where, type(mechanism).__name__)
        mechanism = jax.tree.map(lambda leaf: _at(leaf, at, self.n, mechanism), mechanism)
        _refuse_nan(mechanism, at)
        new, inserted = Inserted(mechanism, at), list(self.inserted)
        for i, old in enumerate(inserted):
            if _same_kind(old.mechanism, mechanism):
                inserted[i] = _merge(old, new, self.n)
                break
        else:
            inserted.append(new)
        return self._replace(inserted=tuple(inserted))

    def set(
        self,
        where: Where = None,
        *,
        cm: ArrayLike | None = None,
        ra: ArrayLike | None = None,
        radius: ArrayLike | None = None,
        celsius: ArrayLike | None = None,
    ) -> "Cell":
        """A new cell with `cm` (µF/cm²), `ra` (Ω·cm) or `radius` (µm) set in `where`.

        Values are scalars or `(n,)`. A new radius scales the compartment's area in proportion and
        its axial resistance by the inverse square (exact for cylinders; the length is kept).
        `celsius` (°C) holds for the whole cell.
        """
        at = self._subset(where, "set", membrane_only=False)
        out: dict[str, Any] = {}
        if cm is not None:
            out["cm"] = at.put(self.cm, _at(_per_compartment("cm", cm, self.n, 0.0), at, self.n))
        if ra is not None:
            out["ra"] = at.put(self.ra, _at(_per_compartment("ra", ra, self.n, 0.0), at, self.n))
        if radius is not None:
            out |= self._resized(at, _per_compartment("radius", radius, self.n, 0.0))
        if celsius is not None:
            out["celsius"] = jnp.asarray(celsius, float)
        return self._replace(**out)

    def _resized(self, at: Subset | Mask, radius: Array) -> dict[str, Array]:
        if not self.host["has_radius"]:
            raise ValueError(
                "set(radius=...) needs the present radii: give radius= or length= to "
                "Cell.from_compartments."
            )
        new = at.put(self.radius, at.take(radius))
        scale = new / self.radius
        padded = jnp.concatenate([scale, jnp.ones(self.tree.n - self.n, scale.dtype)])
        via = self.via / padded[self.tree.above] ** 2
        return {"radius": new, "area": self.area * scale, "own": self.own / padded**2, "via": via}

    def _subset(self, where: Where, what: str, membrane_only: bool = True) -> Subset | Mask:
        if isinstance(self.membrane, Mask):
            return self._mask(where, what, self.membrane.inside if membrane_only else True)
        if not is_concrete(where):
            raise ValueError(f"{what}: where= must be known when tracing; masks are static.")
        if where is None:
            mask = np.ones(self.n, bool)
        elif isinstance(where, str):
            mask = self.region(where)
        else:
            given = np.asarray(where)
            mask = given if given.dtype == bool else np.zeros(self.n, bool)
            if given.dtype != bool:
                if given.dtype.kind not in "iu" or np.any((given < 0) | (given >= self.n)):
                    raise ValueError(
                        f"{what}: where= must be bool ({self.n},), a region name or compartment "
                        f"numbers in 0..{self.n - 1}; got {given.dtype} {given.tolist()!r:.60}."
                    )
                mask[given] = True
            if mask.shape != (self.n,):
                raise ValueError(f"{what}: where= must have shape ({self.n},); got {mask.shape}.")
        if membrane_only:
            mask = mask & self.host["membrane"]
        if not mask.any():
            raise ValueError(f"{what}: where= selects no compartment with membrane.")
        return Subset(np.flatnonzero(mask))

    def _mask(self, where: Where, what: str, allowed: Array | bool) -> Mask:
        """`where` in one cell of a stack."""
        if self.area.ndim > 1:
            raise ValueError(f"{what}: {STACKED.format(len(self.area))}")
        given = jnp.asarray(
            self.region(where) if isinstance(where, str) else True if where is None else where
        )
        if given.dtype != bool or given.shape not in ((), (self.n,)):
            raise ValueError(
                f"{what}: in a stack where= must be bool ({self.n},), known or traced; "
                f"got {given.dtype} {given.shape}."
            )
        return Mask(jnp.broadcast_to(given, (self.n,)) & allowed)

    def _replace(self, **fields: Any) -> "Cell":
        out = object.__new__(Cell)
        for field in dataclasses.fields(self):
            object.__setattr__(out, field.name, fields.get(field.name, getattr(self, field.name)))
        return out


def _per_compartment(name: str, value: ArrayLike, n: int, low: float) -> Array:
    out = jnp.asarray(value, float)
    if out.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or have shape ({n},); got {out.shape}.")
    if is_concrete(out) and not bool(jnp.all(out > low)):
        worst = np.asarray(jnp.broadcast_to(out, (n,)))
        i = int(np.argmax(~(worst > low)))
        raise ValueError(f"{name} must be > {low:g}; compartment {i} has {worst[i]}.")
    return jnp.broadcast_to(out, (n,))


def _compartment_parents(parent: np.ndarray, n: int) -> np.ndarray:
    """Skip the hidden branch points: nearest compartment towards the root."""
    out = np.asarray(parent[:n]).copy()
    while np.any(out >= n):
        out = np.where(out >= n, parent[np.minimum(out, len(parent) - 1)], out)
    return out


def _at(leaf: Array, at: Subset | Mask, n: int, mechanism: object = None) -> Array:
    """A parameter, scalar, `(n,)` or `(k,)`, as a scalar or `(k,)`."""
    if jnp.ndim(leaf) == 0 or (leaf.shape[0] == len(at) != n and leaf.ndim == 1):
        return leaf
    if leaf.shape[0] != n:
        raise ValueError(
            f"{type(mechanism).__name__}: a parameter must be a number or have shape ({n},), one "
            f"value per compartment, or ({len(at)},), one per compartment of where=; "
            f"got {leaf.shape}."
        )
    return at.take(leaf)


def _refuse_nan(mechanism: AbstractMechanism, at: Subset | Mask) -> None:
    for field in dataclasses.fields(mechanism):
        for leaf in jax.tree.leaves(getattr(mechanism, field.name)):
            if is_concrete(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
                bad = np.isnan(np.asarray(leaf))
                if bad.any():
                    where = f" at compartment {at.index[np.argmax(bad)]}" if bad.ndim else ""
                    raise ValueError(
                        f"{type(mechanism).__name__}: {field.name} is NaN{where}. Leave those "
                        "compartments out with where=~np.isnan(values)."
                    )


def _same_kind(a: AbstractMechanism, b: AbstractMechanism) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b)


def _merge(old: Inserted, new: Inserted, n: int) -> Inserted:
    """One mechanism over the union; where both sit, the new parameters hold."""
    if isinstance(old.at, Subset) and old.at == new.at:
        return new
    union = old.at.union(new.at)

    def join(a: Array, b: Array) -> Array:
        return union.take(new.at.put(old.at.spread(a, n), b))

    return Inserted(jax.tree.map(join, old.mechanism, new.mechanism), union)
