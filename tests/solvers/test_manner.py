"""What the solvers say of how they go through a run."""

import diffrax
import pytest

import jaxdend as jd
from jaxdend.solvers.manner import Manner, manner_of

TABLE = [
    (jd.BackwardEuler(), 1, Manner(staggered=True, rounded=True)),
    (jd.BackwardEuler(round_events=False), 1, Manner(staggered=True)),
    (jd.CrankNicolson(), 2, Manner(staggered=True)),
    (jd.CrankNicolson(round_events=True), 2, Manner(staggered=True, rounded=True)),
    (jd.Rodas4P(), 4, Manner(rosenbrock=True)),
    (jd.Rodas5P(), 5, Manner(rosenbrock=True)),
    (diffrax.Tsit5(), 5, Manner()),
    (diffrax.Kvaerno5(), 5, Manner()),
]


@pytest.mark.parametrize(("solver", "order", "manner"), TABLE)
def test_solvers_say_how_they_run(solver, order, manner):
    assert manner_of(solver) == manner
    assert solver.order(diffrax.ODETerm(lambda t, y, args: y)) == order


def test_a_solver_on_top_of_another_runs_as_that_one():
    class Mine(jd.solvers.AbstractRosenbrock):
        tolerance: float = 1e-3
        gated: bool = True
        tableau = jd.Rodas4P.tableau

    assert manner_of(Mine()) == Manner(rosenbrock=True)
    assert Mine().order(None) == 4
