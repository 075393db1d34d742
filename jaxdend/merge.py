"""Synapses that share their kinetics and their compartment, carried as one.

Their traces are linear, so the sum over a compartment is all that its voltage feels: ten thousand
synapses cost as much as there are compartments, without a gather or a scatter.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.dynamics import Model, State
from jaxdend.synapses import AbstractSynapse


class Merge:
    """Which groups of a model are carried by compartment: large ones with the same kinetics."""

    def __init__(self, model: Model):
        nodes = len(model.area)
        self.sites: tuple[Array | None, ...] = tuple(
            group.site if _fits(group, nodes) else None for group in model.inputs
        )
        self.nodes = nodes

    def model(self, model: Model) -> Model:
        """`model` with these groups spread over all nodes; their events go to the node."""
        inputs = tuple(
            group if site is None else eqx.tree_at(lambda g: g.site, group, slice(0, self.nodes))
            for group, site in zip(model.inputs, self.sites, strict=True)
        )
        events = tuple(
            table if site is None else table.at_nodes(site, self.nodes)
            for table, site in zip(model.events, self.sites, strict=True)
        )
        return eqx.tree_at(lambda m: (m.inputs, m.events), model, (inputs, events))

    def arranged(self, state: State) -> State:
        """`state` with the traces of every merged group summed by node."""
        zero = jnp.zeros(self.nodes, state.v.dtype)
        return self._mapped(state, lambda z, site: zero.at[site].add(z))

    def presented(self, state: State) -> State:
        """`state` with the traces of a node shared out equally among its synapses."""
        zero = jnp.zeros(self.nodes, state.v.dtype)
        return self._mapped(
            state, lambda z, site: (z / jnp.maximum(zero.at[site].add(1.0), 1.0))[site]
        )

    def _mapped(self, state: State, f: Callable[[Array, Array], Array]) -> State:
        inputs = [
            x if site is None else jax.tree.map(lambda z, site=site: f(z, site), x)
            for x, site in zip(state.inputs, self.sites, strict=True)
        ]
        return State(state.v, state.mechanisms, inputs)


def _fits(group: object, nodes: int) -> bool:
    if not isinstance(group, AbstractSynapse) or group.explicit or 2 * len(group.site) < nodes:
        return False
    rest = eqx.tree_at(lambda g: (g.site, g.weight, g.times), group, (None, None, None))
    return all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(rest))
