"""Networks by their description."""

from collections.abc import Mapping
from typing import Any

from jaxdend.emulator._base import AbstractNetwork
from jaxdend.emulator.networks import ELM, TCN, UnitNet

NETWORKS: dict[str, Any] = {"TCN": TCN, "UnitNet": UnitNet, "ELM": ELM}


def build(about: Mapping[str, Any]) -> AbstractNetwork:
    """A new network of the structure that `describe` tells.

    **Raises:** `ValueError` for a network that this version does not have.
    """
    options = dict(about)
    name = options.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; those are {', '.join(NETWORKS)}")
    return NETWORKS[name](**options)
