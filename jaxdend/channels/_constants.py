"""Temperature constants that several published channels share, rounded as they were published."""

from jax import Array

Q34 = 2.3 ** ((34 - 21) / 10)  # rates at 21 °C brought to 34 °C once and for all (Hay et al. 2011)


def thermal_slope(celsius: Array) -> Array:
    """`F / RT` in 1/mV, as in the CA1 channels of Migliore and colleagues."""
    return 1e-3 * 9.648e4 / (8.315 * (273.16 + celsius))


def calcium_scale(celsius: Array) -> Array:
    """`RT / 2F` in mV, as in the calcium channels of Migliore, Poirazi and colleagues."""
    return 25.0 / 293.15 * (celsius + 273.15) / 2.0
