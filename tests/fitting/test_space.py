import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import PRECISIONS, close
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.fitting._starts import starting_vectors

SPACE = ParameterSpace(
    {
        "soma_gna": Parameter(0.02, 0.6, unit="S/cm2"),
        "leak_e": Parameter(-90.0, -50.0, scale="linear", unit="mV"),
        "branch_g": Parameter(1e-6, 1e-2, shape=(2, 3)),
    }
)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_round_trip(dtype):
    z = SPACE.sample(3, 20).astype(dtype)
    values = SPACE.to_dict(z)
    assert {k: v.shape for k, v in values.items()} == {
        "soma_gna": (20,),
        "leak_e": (20,),
        "branch_g": (20, 2, 3),
    }
    assert all(v.dtype == dtype for v in values.values())
    back = SPACE.to_dict(SPACE.to_vector(values))
    for name in SPACE:
        rtol = 1e-12 if dtype == jnp.float64 else 1e-5
        close(back[name], values[name], rtol=rtol)


def test_layout_and_known_values():
    values = SPACE.to_dict(jnp.zeros(8))
    close(values["soma_gna"], np.sqrt(0.02 * 0.6))
    close(values["leak_e"], -70.0)
    assert SPACE.size == 8
    assert len(SPACE) == 3
    assert SPACE.labels[:3] == ("soma_gna", "leak_e", "branch_g[0, 0]")
    moved = SPACE.to_dict(jnp.zeros(8).at[7].set(1.0))["branch_g"]
    assert moved[1, 2] > moved[0, 0]


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("z", [0.0, 13.0, -13.0, 1e3, -1e3, jnp.inf, -jnp.inf])
def test_inside_and_finite_slope_anywhere(dtype, z):
    def total(vector):
        return sum(jnp.sum(x) for x in SPACE.to_dict(vector).values())

    vector = jnp.full(8, z, dtype)
    for name, x in SPACE.to_dict(vector).items():
        low, high = (dtype(b) for b in (SPACE[name].low, SPACE[name].high))
        assert bool(((x >= low) & (x <= high)).all())
    assert bool(jnp.isfinite(jax.grad(total)(vector)).all())


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("edge", ["low", "high"])
def test_bounds_have_a_finite_preimage_and_slope(dtype, edge):
    at = {n: jnp.full(SPACE[n].shape, getattr(SPACE[n], edge), dtype) for n in SPACE}
    z = SPACE.to_vector(at)
    assert bool((jnp.abs(z) < 15).all())
    for name, x in SPACE.to_dict(z).items():
        close(x, at[name], rtol=2e-5)
    slope = jax.grad(lambda v: sum(jnp.sum(x) for x in SPACE.to_dict(v).values()))(z)
    assert bool((slope > 0).all())
    back = jax.jacobian(SPACE.to_vector)(at)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(back))


@pytest.mark.float64("differences of values drown in rounding in float32")
def test_slope_is_that_of_finite_differences():
    z = SPACE.sample(0, 1)[0]
    jacobian = jax.jacobian(SPACE.to_dict)(z)["branch_g"][1, 2]
    step = jnp.zeros(8).at[7].set(1e-5)
    up, down = (SPACE.to_dict(z + s)["branch_g"][1, 2] for s in (step, -step))
    close(jacobian[7], (up - down) / 2e-5, rtol=1e-6)
    np.testing.assert_array_equal(jacobian[:7], 0.0)


def test_samples_are_seeded_and_uniform_in_their_scale():
    z = SPACE.sample(1, 4000)
    np.testing.assert_array_equal(z, SPACE.sample(jax.random.key(1), 4000))
    assert not np.array_equal(z, SPACE.sample(2, 4000))
    values = SPACE.to_dict(z)
    share = np.log(values["soma_gna"] / 0.02) / np.log(30.0)
    for unit in (share, (values["leak_e"] + 90) / 40):
        counts, _ = np.histogram(unit, bins=10, range=(0, 1))
        assert counts.sum() == 4000
        assert np.abs(counts - 400).max() < 80


def test_static_hashable_and_under_transformations():
    same = ParameterSpace({name: SPACE[name] for name in SPACE})
    assert same == SPACE
    assert hash(same) == hash(SPACE)
    assert SPACE != ParameterSpace({"soma_gna": SPACE["soma_gna"]})
    assert jax.tree.leaves(SPACE) == []
    traces = []

    @jax.jit
    def run(space, z):
        traces.append(1)
        return space.to_vector(jax.vmap(space.to_dict)(z))

    z = SPACE.sample(0, 5)
    close(run(SPACE, z), z, atol=1e-6)
    run(same, z + 0.1)
    assert len(traces) == 1


def test_integers_and_python_numbers_are_welcome():
    space = ParameterSpace({"g": Parameter(1, 100), "n": Parameter(0, 4, "linear", shape=2)})  # type: ignore[arg-type]
    z = space.to_vector({"g": 10, "n": [1, 2]})
    close(z, [0.0, np.log(1 / 3), 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2.0, 1.0), "low must be less than high"),
        ((1.0, 1.0), "low must be less than high"),
        ((0.0, 1.0), "log scale needs low > 0"),
        ((-1.0, 1.0), "log scale needs low > 0"),
        ((float("nan"), 1.0), "must be finite"),
        ((1.0, float("inf")), "must be finite"),
        ((1.0, 2.0, "cubic"), "'log' or 'linear'"),
        (("a", 2.0), "two numbers"),
        ((1.0, 2.0, "log", "", (0,)), "at least 1"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Parameter(*arguments)


@pytest.mark.parametrize("bad", [{}, {"g": 1.0}, {1: Parameter(1, 2)}, [Parameter(1, 2)]])
def test_bad_spaces(bad):
    with pytest.raises(ValueError, match="Parameter"):
        ParameterSpace(bad)


def test_bad_values():
    space = ParameterSpace({"soma_gna": Parameter(0.1, 1.0, unit="S/cm2"), "e": Parameter(1, 2)})
    good = {"soma_gna": 0.5, "e": 1.5}
    for change, message in [
        ({"soma_gna": 2.0}, r"'soma_gna' is 2 S/cm2, outside its bounds \[0.1, 1\]"),
        ({"soma_gna": 0.0}, "outside its bounds"),
        ({"e": float("nan")}, "'e' is NaN"),
        ({"soma_gnaa": 0.5}, "did you mean 'soma_gna'"),
        ({"e": [1.5, 1.5], "soma_gna": [0.5] * 3}, "leading axes must agree"),
    ]:
        with pytest.raises(ValueError, match=message):
            space.to_vector(good | change)
    with pytest.raises(ValueError, match="'e' is missing"):
        space.to_vector({"soma_gna": 0.5})
    with pytest.raises(ValueError, match="did you mean 'soma_gna'"):
        space["soma_gn"]
    with pytest.raises(ValueError, match=r"expected a vector \(\.\.\., 2\)"):
        space.to_dict(jnp.zeros(3))
    with pytest.raises(ValueError, match="has shape"):
        SPACE.to_vector({"soma_gna": 0.1, "leak_e": -60.0, "branch_g": [1e-3, 1e-3]})
    with pytest.raises(ValueError, match="at least 1"):
        space.sample(0, 0)


def test_a_fit_says_what_a_space_is():
    with pytest.raises(TypeError, match=r"a fit needs a ParameterSpace.*got \{'g'"):
        starting_vectors({"g": (0.0, 1.0)}, 3, 0)  # type: ignore[arg-type]
