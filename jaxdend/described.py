"""What a cell knows of its compartments beside their numbers: names, coordinates and places."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from jaxdend import places
from jaxdend._subset import HostData, is_concrete
from jaxdend.morphology import Morphology
from jaxdend.places import Place, Places
from jaxdend.regions import locate, region_mask


class AbstractDescribed(eqx.Module):
    """Compartments with a description, all of it known, static and read-only."""

    area: eqx.AbstractVar[Float[Array, " n"]]  # (n,) µm²
    radius: eqx.AbstractVar[Float[Array, " n"]]  # (n,) µm
    host: eqx.AbstractVar[HostData]  # names, coordinates, regions

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
        """Names of the sections, NEURON style."""
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
        """Names of regions and groups; `section_names` are places as well."""
        return tuple(sorted(self.host["regions"]))

    def region(self, name: str) -> np.ndarray:
        """`(n,)` bool, the compartments of a region such as `"soma"`, a group or a section.

        **Raises:** `ValueError` for a name that is none of them, listing those that there are.
        """
        return region_mask(self.host, name)

    def sites(
        self, place: Place | Places, *, padding: bool = False
    ) -> Int[np.ndarray, " k"] | Int[Array, " k"]:
        """`(k,)` compartment numbers of a place: what inputs and recordings take as their sites.

        A name is the one compartment that `locate(name)` gives, a boolean array all where it is
        true, a list its entries one after the other. Traced numbers come back as they are.

        **Arguments:** `padding`, whether -1 is allowed, which for an input means that none is
        there.

        **Raises:** `ValueError` for what is no place of this cell.
        """
        return places.sites(place, self.n, self.locate, padding=padding)

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

        **Arguments:** a `region` (or group) alone gives its compartment nearest to the soma, and
        the name of a section the one at its middle; with `distance` (path from the soma, µm) the
        thickest of its compartments that contain that distance; `section` (number or name) with `x`
        in [0, 1]; or the one nearest to `xyz` (µm).

        **Raises:** `ValueError` where nothing fits, saying what the cell has.
        """
        radius = self.radius if is_concrete(self.radius) else self.host["radius"]
        return locate(self.host, np.asarray(radius), region, distance, section, x, xyz)
