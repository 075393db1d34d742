"""Solvers for the cable; any solver of diffrax works on the same vector field."""

from jaxdend.solvers.rosenbrock import (
    AbstractRosenbrock as AbstractRosenbrock,
    Rodas4P as Rodas4P,
    Rodas5P as Rodas5P,
)
from jaxdend.solvers.staggered import (
    AbstractStaggered as AbstractStaggered,
    BackwardEuler as BackwardEuler,
    CrankNicolson as CrankNicolson,
)
