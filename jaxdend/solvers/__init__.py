"""Solvers for the cable; any solver of diffrax works on the same vector field."""

from jaxdend.solvers.staggered import (
    AbstractStaggered as AbstractStaggered,
    BackwardEuler as BackwardEuler,
    CrankNicolson as CrankNicolson,
)
