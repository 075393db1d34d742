"""The few functions that channel kinetics are made of, safe and accurate at every voltage.

All of them work in float32 and float64, and have finite and accurate gradients everywhere that a
voltage can be, from -1000 to 1000 mV, removable singularities included.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

T = TypeVar("T")
Real = Array | float  # a number, or an array of them (NumPy arrays do too)

# Bernoulli numbers B_2k/(2k)!, k = 1..7: (x/2) coth(x/2) = 1 + sum_k c_k x^2k, |x| < 2 pi.
_SERIES = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
)
_MOST = 36.0  # the largest exponent of a rate
_SMALL = 0.5  # below it the series is used: remainder 3e-18, or 3e-9 with three terms


def over(x: Real, y: Real) -> Array:
    """`x / y`; by a known number as a product, which a processor does in a quarter of the time."""
    return jnp.asarray(x * (1.0 / y) if isinstance(y, float) else x / y)


def _split(u: Array) -> tuple[Array, Array, Array]:
    """Whether `|u|` is small; `(u/2) coth(u/2)` where it is; and `u` where it is not, else 1."""
    small = jnp.abs(u) < _SMALL
    square = jnp.where(small, u, 0.0) ** 2
    terms = _SERIES if u.dtype == jnp.float64 else _SERIES[:3]
    even = jnp.zeros_like(u)
    for c in reversed(terms):
        even = (even + c) * square
    return small, 1.0 + even, jnp.where(small, 1.0, u)


def linoid_pair(x: Real, y: Real) -> tuple[Array, Array]:
    """`linoid(x, y)` and `linoid(-x, y)` for the price of one exponential."""
    u = over(x, y)
    small, even, far = _split(u)
    size = jnp.abs(far)
    e = jnp.exp(-size)
    tail = size * e / (1.0 - e)
    up = jnp.where(small, even + 0.5 * u, jnp.maximum(far, 0.0) + tail)
    down = jnp.where(small, even - 0.5 * u, jnp.maximum(-far, 0.0) + tail)
    return y * up, y * down


def linoid_from(u: Array, e: Array) -> Array:
    """`u / (1 - e)` for a known `e = exp(-u)`, with its limit 1 at `u = 0`."""
    small, even, far = _split(u)
    return jnp.where(small, even + 0.5 * u, far / (1.0 - jnp.where(small, 0.0, e)))


def linoid(x: Real, y: Real) -> Array:
    """`x / (1 - exp(-x / y))`, with its limit `y` at `x = 0`: the rate law of Hodgkin and Huxley.

    **Arguments:** `x` in mV, any shape; `y > 0` in mV, broadcast against it.
    **Returns:** an array of the broadcast shape, mV.

    With `u = x / y` it is `y (max(u, 0) + |u| / (exp|u| - 1))`, and a series for `|u| < 0.5`.
    """
    return linoid_pair(x, y)[0]


def exprel(x: Real) -> Array:
    """`(exp(x) - 1) / x`, with value 1 at 0. It overflows only where `exp(x)` itself does."""
    x = jnp.asarray(x)
    small, even, far = _split(x)
    return jnp.where(
        small, 1.0 / (even - 0.5 * jnp.where(small, x, 0.0)), (jnp.exp(far) - 1.0) / far
    )


def approach(x: Real) -> Array:
    """`1 - exp(-x)` for `x >= 0`: how far a gate comes to its steady state in `x` time constants.

    To full relative accuracy, so that slow gates do not drift, without branches and in a third of
    the time of `expm1`: a series for a small part of `x`, then doublings by
    `1 - exp(-2 y) = a (2 - a)` with `a = 1 - exp(-y)`.
    """
    x = jnp.asarray(x)
    end, doublings, terms = (40.0, 6, 9) if x.dtype == jnp.float64 else (18.0, 4, 6)
    y = jnp.minimum(x, end) * 0.5**doublings
    a = y
    for n in range(terms, 1, -1):  # y - y²/2 + y³/6 - …
        a = y * (1.0 - a * (1.0 / n))
    for _ in range(doublings):
        a = a * (2.0 - a)
    return a


def bounded_exp(x: Real) -> Array:
    """`exp(x)`, but for exponents beyond ±36 that of ±36, where its slope is 0.

    A rate of `exp(36)` per ms is at once, in any time step. Far from where membranes are, at
    hundreds of mV, `exp` overflows float32, and before that the square of a rate does, which is in
    the slope of its time constant. With the bound, values and slopes are finite from -1000 to
    1000 mV.
    """
    x = jnp.asarray(x)
    return jnp.exp(lax.clamp(jnp.asarray(-_MOST, x.dtype), x, jnp.asarray(_MOST, x.dtype)))


def exp_over(a: Real, b: Real) -> Array:
    """`exp(a) / (1 + exp(b))` where neither has to be representable, as long as the quotient is."""
    b = jnp.asarray(b)
    up = b > 0.0  # each branch has the exact slope at 0
    return bounded_exp(a - jnp.where(up, b, 0.0)) / (1.0 + jnp.exp(jnp.where(up, -b, b)))


def sigmoid(x: Real) -> Array:
    """The logistic function `1 / (1 + exp(-x))`."""
    return lax.logistic(jnp.asarray(x))


def boltzmann(v: Real, half: Real, slope: Real) -> Array:
    """`1 / (1 + exp(-(v - half) / slope))`, all in mV. A negative slope gives inactivation."""
    return sigmoid(over(v - half, slope))


def from_rates(opening: Array, closing: Array, speed: Real = 1.0) -> tuple[Array, Array]:
    """Steady state (1) and time constant (ms) of a gate with these rates (1/ms), `speed`-fold."""
    tau = 1.0 / (opening + closing)
    return opening * tau, tau / speed


def barrier(x: Real, gamma: Real, rate: Real) -> tuple[Array, Array]:
    """Steady state and time constant of a gate whose rates are exponentials of voltage.

    `inf = 1 / (1 + exp(x))`, `tau = exp(gamma x) / (rate (1 + exp(x)))`: a charge that crosses an
    energy barrier at the fraction `gamma` of the way (Borg-Graham 1991), `x = zeta (v - half) F/RT`
    without unit, `rate` in 1/ms.
    """
    x = jnp.asarray(x)
    return sigmoid(-x), exp_over(gamma * x, x) / rate


def q10(celsius: Real, reference: Real, factor: Real) -> Array:
    """`factor ** ((celsius - reference) / 10)`: how much faster than at `reference` °C."""
    return jnp.asarray(factor ** ((celsius - reference) / 10.0))


def interpolated(f: Callable[[Array], T], v: Array, low: float, high: float, intervals: int) -> T:
    """`f(v)` as NEURON's `TABLE` gives it: linear between grid points, constant outside.

    Some published models were run through such tables, and their traces keep the mark. Nothing is
    stored: `f` is evaluated at the two grid points around each voltage.

    **Arguments:** `f`, from an array of voltages to a pytree of arrays of the same shape;
    `v (k,)` mV; the grid `low .. high` mV in `intervals` equal steps.
    """
    width = (high - low) / intervals
    place = jnp.clip((v - low) / width, 0.0, intervals)
    cell = jnp.clip(jnp.floor(place), 0.0, intervals - 1.0)
    theta = place - cell
    below, above = f(low + cell * width), f(low + (cell + 1.0) * width)
    return jax.tree.map(lambda a, b: a + theta * (b - a), below, above)
