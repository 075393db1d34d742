"""`Cell`: a discretised neuron with its mechanisms, an immutable pytree.

Every leaf is an array and every number a leaf; topology, masks and names are static and hashed by
content, so that a new number never recompiles and two equal cells share one program.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Never

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend import places
from jaxdend._subset import HostData, Mask, Subset, is_concrete
from jaxdend.cable import TracedTree, Tree
from jaxdend.cable.compartments import Compartments, counts_by_rule, discretise
from jaxdend.cable.graph import compartments_from_graph
from jaxdend.described import AbstractDescribed
from jaxdend.inserted import (
    Chosen,
    Inserted as Inserted,
    added,
    changed,
    number_array,
    positive,
    removed,
)
from jaxdend.mechanisms.base import AbstractMechanism
from jaxdend.morphology import Morphology
from jaxdend.places import Place
from jaxdend.regions import label_regions, with_group

Where = Place | None

COLDEST, HOTTEST = -10.0, 100.0  # °C
STACKED = (
    "this is a stack of {} cells, for which every array has a leading axis. Map over it: "
    "jax.vmap(lambda cell: ...)(cells)."
)


class Cell(AbstractDescribed):
    """A neuron cut into `n` isopotential compartments joined by axial resistances.

    **Arguments:** `morph`, a `Morphology`; one of `max_length` (µm; the smallest odd number of
    compartments per section not longer than this), `d_lambda` (fraction of the length constant at
    100 Hz, NEURON's rule) or `ncomp` (compartments per section: a number, one for each section, or
    a callable, section length µm -> number); `cm` µF/cm², `ra` Ω·cm, `celsius` °C. `end_nodes=True`
    adds every section's distal end as a compartment of area 0, so that a synapse can sit at x = 1
    exactly as in NEURON.

    Instances are immutable: `insert`, `set`, `remove` and `group` return new cells. The arrays that
    describe compartments (`distance`, `kind`, ...) are read-only.

    A *place* on a cell is the name of a region, group or section, a compartment number, a boolean
    array `(n,)`, or a list of these.
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
        ncomp: ArrayLike | Callable[[float], int] | None = None,
        cm: ArrayLike = 1.0,
        ra: ArrayLike = 100.0,
        celsius: ArrayLike = 6.3,
        end_nodes: bool = False,
        section_names: tuple[str, ...] = (),
        **unknown: Never,
    ):
        if unknown:
            raise TypeError(
                f"Cell takes max_length=, d_lambda= or ncomp=, and cm=, ra=, celsius=, end_nodes=; "
                f"got {', '.join(unknown)}=."
            )
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
        whole = Chosen.all_of(n)
        self.area = number_array("area", comps.area)
        self.radius = number_array("radius", np.nan_to_num(comps.radius, nan=1.0))
        self.cm = whole.spread(positive("cm", cm, whole))
        self.ra = whole.spread(positive("ra", ra, whole))
        self.own = number_array("own", comps.own)
        self.via = number_array("via", comps.via)
        self.celsius = _temperature(celsius)
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
        if not is_concrete(ra):
            raise ValueError(
                "from_compartments: ra= must be known, as axial_resistance is taken as measured at "
                "it. Give a traced one to set(ra=...) afterwards."
            )
        ra = positive("ra", ra, Chosen.all_of(np.size(parent)))
        comps, names = compartments_from_graph(
            parent=parent, axial_resistance=axial_resistance, area=area, ra=ra, **described
        )
        cm = number_array("cm", cm)
        if cm.shape == comps.area.shape:  # exports hold 0 where there is no membrane
            where = np.where if is_concrete(cm) else jnp.where
            cm = where(comps.area > 0, cm, 1.0)
        return cls(comps, cm=cm, ra=ra, celsius=celsius, section_names=names)

    @property
    def mechanisms(self) -> dict[str, Inserted]:
        """The mechanisms as inserted, by name, with the compartments they sit in."""
        return {item.name: item for item in self.inserted}

    def group(self, name: str, where: Place) -> "Cell":
        """A new cell that knows the compartments `where` by `name`, as it knows its regions.

        A cell with another group is another program. In a stack of cells names do not exist.

        **Raises:** `ValueError` for a name that a region, group or section has already, or for a
        `where` without compartments.
        """
        index = places.compartments(where, self.n, self.region, f"group {name!r}: where")
        return self._replace(host=with_group(self.host, name, index))

    def insert(self, mechanism: AbstractMechanism, where: Where = None) -> "Cell":
        """A new cell with `mechanism` in the compartments `where`.

        **Arguments:** `mechanism`, whose parameters are numbers, `(n,)` with one value for every
        compartment of the cell, or one value for each compartment of `where`, in its order;
        `where`, a place, or `None` for everywhere.

        Inserting a mechanism that is there already changes it and extends it, as in NEURON: a
        parameter that the call `HH(gnabar=0.2)` names has its value in all of `where`, the others
        stay as they are and have the class's default where the mechanism is new. (One that was
        mapped, copied or passed into `jax.jit` counts as naming all of its parameters.)

        **Raises:** `ValueError` for a place that is not there or without membrane, a parameter of
        the wrong shape, that is no array or NaN somewhere in `where`, and for a mechanism that is
        there already with another static setting, or of another class of the same name.
        """
        if not isinstance(mechanism, AbstractMechanism):
            raise TypeError(
                f"insert needs a mechanism such as Leak(g=..., e=...); got {mechanism!r:.80}. "
                "Stimuli and synapses go to jd.simulate."
            )
        chosen = self._chosen(where, type(mechanism).__name__)
        return self._replace(inserted=added(self.inserted, mechanism, chosen))

    def remove(self, name: str, where: Where = None) -> "Cell":
        """A new cell without the mechanism whose class has this name, in `where` or everywhere.

        **Raises:** `ValueError` where the cell has no such mechanism, or none in `where`.
        """
        at = None if where is None else self._chosen(where, "remove").at
        return self._replace(inserted=removed(self.inserted, name, at))

    def set(
        self,
        where: Where = None,
        *,
        cm: ArrayLike | None = None,
        ra: ArrayLike | None = None,
        radius: ArrayLike | None = None,
        celsius: ArrayLike | None = None,
        **mechanisms: Mapping[str, ArrayLike],
    ) -> "Cell":
        """A new cell with other numbers in `where`.

        ```python
        cell.set("apical", cm=2.0, HH={"gnabar": 0.02})  # nothing else changes
        cell.set([7, 3], HH={"gnabar": [0.1, 0.2]})  # 0.1 in compartment 7, 0.2 in 3
        ```

        **Arguments:** `where`, a place, or `None` for everywhere; `cm` µF/cm²; `ra` Ω·cm; `radius`
        µm, which scales the compartment's area in proportion and its axial resistance by the
        inverse square (exact for cylinders; the length is kept); `celsius` °C, one for the whole
        cell. A mechanism, by the name of its class, takes its parameters, which change in `where`,
        or with `where=None` in all compartments that have it. Values are numbers, `(n,)`, or one
        for each compartment of `where`, in its order.

        **Raises:** `ValueError` for numbers that are not finite and > 0 (parameters of mechanisms:
        NaN), a temperature outside -10 to 100 °C, a place, mechanism or parameter that is not
        there, and a mechanism that some compartment of `where` does not have.
        """
        out: dict[str, Any] = {}
        chosen = self._chosen(where, "set", membrane_only=False)
        if cm is not None:
            out["cm"] = chosen.at.put(self.cm, positive("cm", cm, chosen))
        if ra is not None:
            out["ra"] = chosen.at.put(self.ra, positive("ra", ra, chosen))
        if radius is not None:
            out |= self._resized(chosen, positive("radius", radius, chosen))
        if celsius is not None:
            if where is not None:
                raise ValueError(
                    "set: celsius= holds for the whole cell: set it in a call without where=."
                )
            out["celsius"] = _temperature(celsius)
        inserted = self.inserted
        for name, values in mechanisms.items():
            inserted = changed(inserted, name, values, lambda x: self._within(x, where))
        return self._replace(**out, inserted=inserted)

    def _within(self, item: Inserted, where: Where) -> Chosen:
        """The compartments `where`, or all those of an inserted mechanism."""
        if where is None:
            return Chosen(item.at, item.at.index, self.n)
        chosen = self._chosen(where, f"set: {item.name}")
        if isinstance(item.at, Mask):
            inside = item.at.inside & chosen.at.mask(self.n)
            return Chosen(Mask(inside), chosen.order, self.n)
        return chosen

    def _resized(self, chosen: Chosen, radius: Array) -> dict[str, Array]:
        if not self.host["has_radius"]:
            raise ValueError(
                "set(radius=...) needs the present radii: give radius= or length= to "
                "Cell.from_compartments."
            )
        new = chosen.at.put(self.radius, radius)
        scale = new / self.radius
        padded = jnp.concatenate([scale, jnp.ones(self.tree.n - self.n, scale.dtype)])
        via = self.via / padded[self.tree.above] ** 2
        return {"radius": new, "area": self.area * scale, "own": self.own / padded**2, "via": via}

    def _chosen(self, where: Where, what: str, membrane_only: bool = True) -> Chosen:
        if isinstance(self.membrane, Mask):
            inside = self.membrane.inside if membrane_only else True
            return Chosen(self._mask(where, what, inside), np.arange(self.n), self.n)
        order = places.compartments(where, self.n, self.region, f"{what}: where")
        keep = np.zeros(self.n, bool)
        keep[order] = True
        if membrane_only:
            keep &= self.host["membrane"]
        if not keep.any():
            raise ValueError(f"{what}: where= selects no compartment with membrane.")
        return Chosen(Subset(np.flatnonzero(keep)), order, self.n)

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


def _temperature(celsius: ArrayLike) -> Array:
    """`()` °C, one at which there is life where it is known: far from it rates overflow."""
    out = number_array("celsius", celsius)
    if out.shape != ():
        raise ValueError(f"celsius must be one number for the whole cell; got shape {out.shape}.")
    if is_concrete(out) and not COLDEST <= float(out) <= HOTTEST:
        raise ValueError(
            f"celsius must be finite and from {COLDEST:g} to {HOTTEST:g} °C (it is not in kelvin); "
            f"got {float(out)}."
        )
    return out


def _compartment_parents(parent: np.ndarray, n: int) -> np.ndarray:
    """Skip the hidden branch points: nearest compartment towards the root."""
    out = np.asarray(parent[:n]).copy()
    while np.any(out >= n):
        out = np.where(out >= n, parent[np.minimum(out, len(parent) - 1)], out)
    return out
