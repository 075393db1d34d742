import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import PRECISIONS, close
from jaxdend.fitting import Parameter, ParameterSpace, fit, normalised, polyak
from running import QUIET

SPACE = ParameterSpace(
    {"a": Parameter(-4.0, 4.0, scale="linear"), "b": Parameter(-4.0, 4.0, scale="linear")}
)


def loss(p):
    """A valley with walls a hundred times steeper than its floor."""
    return 0.1 * jnp.abs(p["a"] - 1.0) + (p["b"] + 0.5) ** 2


@pytest.mark.parametrize("beta", [0.5, 0.8, 1.0])
def test_polyak_is_its_formula(beta):
    rule = polyak(rate=0.25, beta=beta, f_min=1.0)
    gradient = {"x": jnp.asarray([3.0, 0.0]), "y": jnp.asarray(4.0)}
    move, _ = rule.update(gradient, rule.init(gradient), value=jnp.asarray(5.0))
    close(move["x"], [-0.25 * 4 * 3 / 5**beta, 0.0], rtol=1e-12)
    close(move["y"], -0.25 * 4 * 4 / 5**beta, rtol=1e-12)


def test_polyak_with_beta_two_solves_a_quadratic_at_the_known_rate():
    """‖x‖² in every direction: the step is half the way to the minimum."""
    rule = polyak(rate=1.0, beta=2.0)
    x = jnp.asarray([3.0, -2.0])
    move, _ = rule.update(2 * x, rule.init(x), value=jnp.sum(x**2))
    close(x + move, x / 2, rtol=1e-12)


def test_polyak_takes_a_schedule_and_never_climbs_below_its_minimum():
    rule = polyak(rate=lambda count: 1.0 / (1.0 + count.astype(float)), beta=0.0)
    state = rule.init(jnp.ones(1))
    first, state = rule.update(jnp.ones(1), state, value=jnp.asarray(2.0))
    second, state = rule.update(jnp.ones(1), state, value=jnp.asarray(2.0))
    below, _ = rule.update(jnp.ones(1), state, value=jnp.asarray(-1.0))
    close([first[0], second[0], below[0]], [-2.0, -1.0, 0.0])


def test_normalised_steps_have_the_length_of_the_rate():
    rule = normalised(optax.sgd(0.3))
    for size in (1e-8, 1.0, 1e8):
        gradient = size * jnp.asarray([0.6, -0.8])
        move, _ = rule.update(gradient, rule.init(gradient))
        close(move, [-0.18, 0.24], rtol=1e-9)


@pytest.mark.parametrize("rule", [polyak(), normalised(), normalised(beta=0.5)])
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_gradient_of_zero_makes_a_finite_move_of_zero(rule, dtype):
    zero = jnp.zeros(3, dtype)
    move, _ = rule.update(zero, rule.init(zero), value=jnp.asarray(1.0, dtype))
    np.testing.assert_array_equal(move, zero)
    assert move.dtype == dtype


def test_polyak_without_the_loss_says_so():
    rule = polyak()
    with pytest.raises(TypeError, match="value"):
        rule.update(jnp.ones(1), rule.init(jnp.ones(1)))


COSINE = optax.cosine_decay_schedule(0.3, 150)  # of whole numbers it relies on promotion


@pytest.mark.parametrize(
    "rule",
    [polyak(rate=0.3), normalised(optax.sgd(lambda count: COSINE(count.astype(float))))],
)
def test_every_start_of_a_fit_has_its_own(rule):
    starts = SPACE.sample(2, 5)
    options = {"optimizer": rule, "steps": 150, "chunk": 50, "clip": None, "run": QUIET}
    together = fit(loss, SPACE, starts=starts, **options)
    alone = fit(loss, SPACE, starts=starts[3:4], **options)
    close(together.losses[:, 3:4], alone.losses, rtol=1e-7)
    assert np.all(together.best_losses < 0.05 * together.losses[0])


def test_a_start_at_the_minimum_stays_there():
    target = SPACE.to_vector({"a": 1.0, "b": -0.5})

    def bowl(p):
        return jnp.sum((SPACE.to_vector(p) - target) ** 2)

    result = fit(
        bowl, SPACE, starts=target[None], steps=3, clip=None, optimizer=polyak(), run=QUIET
    )
    assert jax.numpy.isfinite(result.vectors).all()
    close(result.vectors[-1], result.vectors[0], atol=1e-6)
