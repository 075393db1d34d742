"""Where on the cell: regions as boolean arrays, places as compartment numbers."""

import numpy as np
from jaxtyping import ArrayLike

from jaxdend._subset import HostData

SWC_KINDS = {1: "soma", 2: "axon", 3: "basal", 4: "apical"}
PREFIXES = {"soma": "soma", "axon": "axon", "dend": "basal", "apic": "apical"}


def label_regions(
    kind: np.ndarray, section: np.ndarray, names: tuple[str, ...], labels: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Region name -> `(n,)` bool, from section labels, SWC types and NEURON-style section names."""
    regions = {name: np.asarray(mask, bool)[section] for name, mask in labels.items()}
    for code, name in SWC_KINDS.items():
        if name not in regions and np.any(kind == code):
            regions[name] = kind == code
    if not np.any(kind):
        stem = [name.rpartition(".")[2].split("[")[0] for name in names]
        stems = np.array([PREFIXES.get(s, "") for s in stem])[section]
        for name in PREFIXES.values():
            if name not in regions and np.any(stems == name):
                regions[name] = stems == name
    empty = np.zeros(len(section), bool)
    dendrite = regions.get("basal", empty) | regions.get("apical", empty)
    if dendrite.any():
        regions.setdefault("dendrite", dendrite)
    regions["all"] = np.ones(len(section), bool)
    return regions


def region_mask(host: HostData, name: str) -> np.ndarray:
    """The compartments in the region, group or section `name`, as bool `(n,)`.

    **Raises:** `ValueError` listing the regions that this cell has, and some of its sections.
    """
    regions, sections = host["regions"], host["section_names"]
    if not isinstance(name, str):
        raise ValueError(f'a region is one name, such as "soma"; got {name!r:.80}.')
    if name in regions:
        return regions[name].copy()
    if name in sections:
        return host["section"] == sections.index(name)
    raise ValueError(
        f"no region {name!r} in this cell; it has {', '.join(sorted(regions))}. The names of its "
        f"sections are {_some(sections)}."
    )


def with_group(host: HostData, name: str, index: np.ndarray) -> HostData:
    """`host` with the region `name`, the compartments `index`; see `Cell.group`."""
    regions, sections = host["regions"], host["section_names"]
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'group: a group needs a name, such as "hot"; got {name!r}.')
    if name in regions or name in sections:
        what = "region or group" if name in regions else "section"
        raise ValueError(
            f"group: this cell has a {what} {name!r} already; give the group another name. Taken "
            f"are {', '.join(sorted(regions))} and the sections {_some(sections)}."
        )
    if len(index) == 0:
        raise ValueError(f"group {name!r}: where= selects no compartment.")
    mask = np.isin(np.arange(len(host["section"])), index)
    return HostData(**{**host.data, "regions": {**regions, name: mask}})


def locate(
    host: HostData,
    radius: np.ndarray,
    region: str | None,
    distance: float | None,
    section: int | str | None,
    x: float | None,
    xyz: ArrayLike | None,
) -> int:
    """The one compartment that the arguments describe; see `Cell.locate`."""
    inside = region_mask(host, "all" if region is None else region)
    allowed = inside & host["membrane"]
    if section is not None:
        return _on_section(host, allowed if region else np.ones_like(allowed), section, x)
    if x is not None:
        raise ValueError("locate(x=...) needs section= as well: x runs along one section.")
    if xyz is not None:
        return _nearest(host, allowed, np.asarray(xyz, float))
    if distance is None and region is not None and region not in host["regions"]:
        return _on_section(host, inside, region, None)
    if not allowed.any():
        raise ValueError(f"region {region!r} holds no compartment with membrane.")
    if distance is not None:
        return _at_distance(host, radius, allowed, region, float(distance))
    index = np.flatnonzero(allowed)
    return int(index[_centre(host, index)])


def _centre(host: HostData, index: np.ndarray) -> int:
    """Position in `index` of the compartment in the middle: least path distance from the soma."""
    distance = host["distance"][index]
    if np.all(np.isnan(distance)):
        return 0
    return int(np.nanargmin(distance))


def _at_distance(
    host: HostData, radius: np.ndarray, allowed: np.ndarray, region: str | None, distance: float
) -> int:
    path, length = host["distance"], host["length"]
    if not np.isfinite(distance):
        raise ValueError(f"distance must be a finite number of µm; got {distance}.")
    if np.all(np.isnan(path)):
        raise ValueError(
            "this cell does not know its path distances: give distance= to Cell.from_compartments."
        )
    index = np.flatnonzero(allowed & np.isfinite(path))
    gap = np.abs(path[index] - distance)
    half = np.nan_to_num(length[index]) / 2
    covering = gap <= half * (1 + 1e-9)
    if covering.any():  # several branches pass this distance: the thickest, as in Hay et al. 2011
        inside = index[covering]
        return int(inside[np.lexsort((gap[covering], -radius[inside].round(9)))[0]])
    nearest = int(index[np.argmin(gap)])
    reach = float(np.max(path[index] + half))
    if distance > reach + 1.0 or distance < float(np.min(path[index] - half)) - 1.0:
        raise ValueError(
            f"no compartment of {region or 'the cell'} at distance {distance} µm: it spans "
            f"{float(np.min(path[index] - half)):.1f} to {reach:.1f} µm from the soma."
        )
    return nearest


def _on_section(host: HostData, allowed: np.ndarray, section: int | str, x: float | None) -> int:
    names = host["section_names"]
    if isinstance(section, str):
        if section not in names:
            raise ValueError(f"no section {section!r}; this cell's sections are {_some(names)}.")
        number = names.index(section)
    else:
        number = int(section)
    if not 0 <= number < len(names):
        raise ValueError(f"section must be in 0..{len(names) - 1}; got {number}.")
    x = 0.5 if x is None else float(x)
    if not 0.0 <= x <= 1.0:
        raise ValueError(f"x must lie in [0, 1] along the section; got {x}.")
    index = np.flatnonzero((host["section"] == number) & allowed)
    if len(index) == 0:
        raise ValueError(f"section {names[number]} has no compartment in the region asked for.")
    return int(index[_nearest_x(host, index, x)])


def _nearest_x(host: HostData, index: np.ndarray, x: float) -> int:
    """NEURON's rule: the compartment that contains x, or the end node when there is one."""
    centres = host["x"][index]
    ends = ~host["membrane"][index]
    if x >= 1.0 and ends.any():
        return int(np.argmax(np.where(ends, centres, -np.inf)))
    inner = np.flatnonzero(~ends) if (~ends).any() else np.arange(len(index))
    return int(inner[np.argmin(np.abs(centres[inner] - x) - 1e-9 * centres[inner])])


def _nearest(host: HostData, allowed: np.ndarray, xyz: np.ndarray) -> int:
    if xyz.shape != (3,):
        raise ValueError(f"xyz must be three numbers in µm; got shape {xyz.shape}.")
    if np.all(np.isnan(host["xyz"])):
        raise ValueError("this cell has no coordinates: give xyz= to Cell.from_compartments.")
    gap = np.linalg.norm(host["xyz"] - xyz, axis=1)
    return int(np.nanargmin(np.where(allowed, gap, np.nan)))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
