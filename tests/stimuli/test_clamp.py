"""The voltage clamp's command and conductance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from helpers import close
from jaxdend.stimuli import VoltageClamp


def test_levels_follow_one_another_and_then_the_clamp_is_off():
    clamp = VoltageClamp([4, 2], [-70.0, -10.0, -60.0], [1.0, 2.0, 1.5], rs=[0.5, 2.0])
    ts = jnp.asarray([-0.1, 0.0, 0.99, 1.0, 2.99, 3.0, 4.49, 4.5])
    command, conductance = jax.vmap(clamp.command)(ts), jax.vmap(clamp.conductance)(ts)
    assert command.shape == conductance.shape == (8, 2)
    expected = [-70, -70, -70, -10, -10, -60, -60, -60]
    close(command[:, 0], expected)
    on = np.array([0, 1, 1, 1, 1, 1, 1, 0])
    close(conductance, on[:, None] * [2.0, 0.5])
    close(clamp.current(1.5, jnp.full(2, -65.0)), [110.0, 27.5])


def test_one_voltage_and_voltages_per_site():
    assert VoltageClamp(0, -20.0, 5.0).command(2.0) == -20.0
    clamp = VoltageClamp([0, 1], [[-70.0, 0.0], [-60.0, 10.0]], [1.0, 1.0])
    close(clamp.command(1.5), [0.0, 10.0])


def test_a_level_of_no_duration_is_passed_over():
    clamp = VoltageClamp(0, [-70.0, 50.0, -60.0], [1.0, 0.0, 1.0])
    close([clamp.command(t)[0] for t in (0.99, 1.0, 1.5)], [-70, -60, -60])


def test_waveform_command_and_gradients():
    clamp = VoltageClamp.from_waveform(0, [1.0, 2.0, 4.0], [-70.0, 0.0, -50.0], rs=0.1)
    close([clamp.command(t)[0] for t in (1.5, 3.0)], [-35.0, -25.0])
    close([clamp.conductance(t)[0] for t in (0.5, 1.0, 4.0)], [0, 10, 0])

    def command(times, values, rs):
        c = VoltageClamp.from_waveform(0, times, values, rs)
        return c.current(jnp.asarray(1.3), jnp.asarray([-65.0]))

    args = jnp.asarray([1.0, 2.0, 4.0]), jnp.asarray([-70.0, 0.0, -50.0]), jnp.asarray(0.1)
    check_grads(command, args, 1, ["rev"])


def test_traced_levels():
    def command(voltage, duration):
        voltages = jnp.stack([-70.0, voltage])
        return VoltageClamp(0, voltages, jnp.stack([1.0, duration])).command(1.5)[0]

    close(jax.vmap(command)(jnp.array([1.0, 2.0]), jnp.ones(2)), [1.0, 2.0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: VoltageClamp(0, [0.0, 1.0], [1.0]),
            r"VoltageClamp.voltages: expected shape \(1,\)",
        ),
        (lambda: VoltageClamp(0, [0.0], [-1.0]), "VoltageClamp.durations"),
        (lambda: VoltageClamp(0, [0.0], [np.inf]), "VoltageClamp.durations"),
        (lambda: VoltageClamp(0, [np.nan], [1.0]), "VoltageClamp.voltages"),
        (lambda: VoltageClamp(0, [0.0], [1.0], rs=0.0), "VoltageClamp.rs: .* > 0"),
        (lambda: VoltageClamp(0, [0.0]), "either durations of levels or times"),
        (lambda: VoltageClamp.from_waveform(0, [0.0, 1.0], [0.0]), "VoltageClamp.values"),
        (lambda: VoltageClamp.from_waveform(0, [1.0, 0.0], [0.0, 0.0]), "ascending"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
