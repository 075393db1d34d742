"""Ready-made neurons on procedural morphologies: dendritic spikes without any file."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from jaxdend.cell import Cell
from jaxdend.channels import NaTa
from jaxdend.models.hay import hay2011
from jaxdend.morphology import pyramidal


def l5pc(seed: int = 0, max_length: float = 40.0) -> Cell:
    """A thick-tufted layer 5 pyramidal neuron that back-propagates and has calcium and NMDA spikes.

    The channels of `hay2011`, at the compartments' centres, on `jd.pyramidal(seed)`. Its trunk is
    thicker than that of Hay's reconstruction, so apical sodium is lowered from 0.0213 to
    0.012 S/cm², and the calcium channels sit where the tuft begins, 650 to 800 µm. As there, a
    brief somatic pulse (1.9 nA, 5 ms) gives one spike, an EPSP at the end of the trunk (1 nA)
    none, and both within 5 ms a burst with a calcium spike of some 30 ms. A model to play with, not
    a published neuron. Start simulations at `v0=-80`.

    **Arguments:** `seed` of the morphology; `max_length` of compartments, µm.
    """
    cell = Cell(pyramidal(seed), max_length=max_length)
    cell = hay2011(cell, hot=(650.0, 800.0), as_published=False)
    return cell.insert(NaTa(gbar=0.012), "apical")
