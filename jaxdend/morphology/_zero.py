"""Points without a radius: at a tip there is a limit, elsewhere one has to be made up."""

import numpy as np

TIP = 5e-10  # µm, radius that stands for 0 at a tip


def filled(
    radius: np.ndarray, parent: np.ndarray, wanted: float | str | None
) -> tuple[np.ndarray, str]:
    """Radii `(n,)` µm with those that are not > 0 replaced, and how that was done, in words.

    `wanted` is a radius in µm, "neighbour" (that of the nearest sample towards the root, else away
    from it), or `None` for the limit at tips. `parent (n,)` comes before its children.

    **Raises:** `ValueError` if no radius at all is there to be a neighbour's.
    """
    out = radius.copy()
    with np.errstate(invalid="ignore"):
        bad = ~((radius > 0) & np.isfinite(radius))
    if wanted is None:
        out[bad] = TIP
        return out, "at a tip the limit 0 is taken, as NEURON does"
    if isinstance(wanted, float):
        out[bad] = wanted
        return out, f"{wanted:g} µm is taken, as radius= says"
    if bad.all():
        raise ValueError("no sample has a radius > 0: radius='neighbour' has none to take")
    rows = np.flatnonzero(bad).tolist()
    for i in rows:  # from the root outwards
        if parent[i] >= 0 and not bad[parent[i]]:
            out[i], bad[i] = out[parent[i]], False
    for i in np.flatnonzero(~bad)[::-1].tolist():  # and back, for those without one before them
        p = int(parent[i])
        while p >= 0 and bad[p]:
            out[p], bad[p] = out[i], False
            p = int(parent[p])
    for i in np.flatnonzero(bad).tolist():
        if parent[i] >= 0:
            out[i], bad[i] = out[parent[i]], bad[parent[i]]
    if bad.any():  # a root tree without any radius, beside others
        out[bad] = np.median(out[~bad])
    return out, "that of the nearest sample with one is taken, as radius= says"
