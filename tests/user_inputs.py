"""Inputs as a user writes them, one of each kind."""

import jax
import jax.numpy as jnp

import jaxdend as jd
from jaxdend.stimuli import AbstractStimulus
from jaxdend.stimuli.base import fraction_on


class Kick(AbstractStimulus):
    """A ramp of 1 nA/ms times `slope` for ever after its onset."""

    site: jax.Array
    onset: jax.Array
    rise: jax.Array

    def current(self, t0, t1):
        begin, end = jnp.maximum(t0, self.onset), jnp.maximum(t1, self.onset)
        mean = 0.5 * (begin + end) - self.onset
        share = jnp.where(t1 > t0, (end - begin) / jnp.where(t1 > t0, t1 - t0, 1.0), 1.0)
        return self.spread(self.rise * mean * share)

    def edges(self):
        return self.onset


class Saturating(jd.ExpSyn):
    """A current that is not linear in the conductance."""

    def current(self, v, g):
        return g / (1 + g / 1e-4) * (v - self.e_rev)


class Relay(jd.AbstractInput):
    """Two coupled states that follow the voltage and a drive; no `advance` of its own."""

    site: jax.Array
    onset: jax.Array
    weight: jax.Array

    def outward(self, v, x, t0, t1):
        return 1e-3 * self.weight * x["q"] * (v + 20.0)

    def edges(self):
        return jnp.stack([self.onset, self.onset + 1.0])

    def init(self, v):
        p = jnp.tanh((v + 60.0) / 5.0)
        return {"p": p, "q": p**2}

    def derivative(self, v, x, t):
        drive = jnp.clip(t - self.onset, 0.0, 1.0)
        p = (jnp.tanh((v + 60.0) / 5.0) - x["p"]) / 2.0
        return {"p": p + drive, "q": x["p"] ** 2 - x["q"]}


class Kicked(jd.AbstractInput):
    """Events into a state that decays faster at higher voltages, towards a level that is not 0."""

    site: jax.Array
    times: jax.Array
    weight: jax.Array

    def outward(self, v, x, t0, t1):
        return 2e-4 * self.weight * x * (v + 10.0)

    def edges(self):
        return self.times

    def init(self, v):
        return jnp.full_like(v, 0.3)

    def derivative(self, v, x, t):
        return (0.3 - x) * jnp.exp((v + 65.0) / 20.0)

    @property
    def eventful(self):
        return True

    def schedule(self):
        return self.times[None], jnp.ones_like(self.times[None])

    def impulse(self, lag):
        return jnp.exp(-lag)  # as at -65 mV


class Filter(jd.AbstractInput):
    """A current that follows a step with a delay; it knows its own state after any time."""

    site: jax.Array
    onset: jax.Array
    weight: jax.Array

    def outward(self, v, x, t0, t1):
        return -0.02 * self.weight * x

    def edges(self):
        return self.onset

    @property
    def coupled(self):
        return False

    def init(self, v):
        return jnp.full_like(v, 0.2)

    def derivative(self, v, x, t):
        return jnp.where(t >= self.onset, 1.0, 0.0) - x

    def advance(self, v, x, t0, t1, h):
        return x * jnp.exp(-h) - jnp.expm1(-jnp.maximum(t0 + h - jnp.maximum(t0, self.onset), 0.0))


class Electrode(jd.AbstractInput):
    """A clamp of one's own: a conductance towards a ramp, on for a while."""

    site: jax.Array
    onset: jax.Array
    rise: jax.Array
    rs: float

    def outward(self, v, x, t0, t1):
        share = fraction_on(t0, t1, self.onset, 2.5)
        begin, end = (jnp.clip(t, self.onset, self.onset + 2.5) for t in (t0, t1))
        command = -60.0 + 5.0 * self.rise * (0.5 * (begin + end) - self.onset)
        return share * (v - command) / self.rs

    def edges(self):
        return jnp.stack([self.onset, self.onset + 2.5])

    @property
    def stiff(self):
        return self.rs < 1.0
