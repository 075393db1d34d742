"""Reversal potentials that stay what they are, whatever the concentrations."""

from jax import Array

from jaxdend.mechanisms.base import AbstractMechanism, param


class FixedReversals(AbstractMechanism):
    """Reversal potentials that other mechanisms see here instead of Nernst's.

    Wherever a mechanism of the compartment reads or moves the concentrations of an ion, NEURON and
    this library take its reversal potential from Nernst's equation. Published models often switch
    that off, by `ion_style("ca_ion", 0, 1, 0, 0, 0)`; so does this mechanism, for the ions that are
    given. It carries no current.
    """

    ena: Array | None = param(None, unit="mV", doc="sodium")
    ek: Array | None = param(None, unit="mV", doc="potassium")
    eca: Array | None = param(None, unit="mV", doc="calcium")
    ecl: Array | None = param(None, unit="mV", doc="chloride")

    def reversal_potentials(self) -> dict[str, Array]:
        given = {"na": self.ena, "k": self.ek, "ca": self.eca, "cl": self.ecl}
        return {ion: e for ion, e in given.items() if e is not None}
