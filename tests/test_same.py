"""A program is made once for functions that compute the same, and never for others.

Every case of the second kind compares values with those of the plain function, called anew.
"""

import functools
import itertools
import sys
import types
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st
from jaxtyping import jaxtyped

import jaxdend as jd
from jaxdend import _same
from jaxdend._code import reads
from jaxdend._same import Program, once, same
from jaxdend.channels import HH

X = jnp.arange(3.0)
FACTOR = 2.0
TABLE = {"a": [1.0, 2.0]}
COUNTED = 0


def compiled(f):
    return jax.jit(f)


def run(f, x=X):
    """`f(x)` through the program that is kept for it."""
    return np.asarray(once(compiled, f)(x))


def shared(f, g):
    return once(compiled, f) is once(compiled, g)


def helper(x):
    return x * FACTOR


class Scaled(eqx.Module):
    by: jax.Array

    def __call__(self, x):
        return self.by * helper(x)


class Plain:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by * x


@dataclass(frozen=True)
class Frozen:
    by: float

    def of(self, x):
        return self.by * helper(x)


class Pair(NamedTuple):
    by: float

    def of(self, x):
        return self.by * helper(x)


def lambdas(a, b):
    """Two functions of the same code that hold `a` and `b`."""
    return [lambda x, value=value: jnp.sum(x * value) for value in (a, b)]


def closures(a, b):
    def made(value):
        return lambda x: jnp.sum(x * value)

    return made(a), made(b)


@pytest.mark.parametrize("made", [lambdas, closures])
@pytest.mark.parametrize(
    "value",
    [3, 2.5, np.float32(2.5), 1 + 2j, np.arange(3.0), (1.0, 2.0, 3.0), jnp.asarray(2.0)],
    ids=lambda v: type(v).__name__,
)
def test_functions_that_hold_equal_values_share(made, value):
    f, g = made(value, value if isinstance(value, jax.Array) else type(value)(value)
                if not isinstance(value, np.ndarray) else value.copy())  # fmt: skip
    if isinstance(value, tuple):
        f, g = made(jnp.asarray(value), jnp.asarray(value))
    assert shared(f, g)
    np.testing.assert_array_equal(run(g), g(X))


@pytest.mark.parametrize("made", [lambdas, closures])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 2),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (1.0, np.float32(1.0)),
        (np.ones(3), np.ones(3, np.float32)),
        (np.zeros(3), np.asarray([0.0, 0.0, 1e-300])),
        (jnp.ones(3), jnp.ones(3).at[1].set(2.0)),
        (jnp.asarray(1.0), jnp.asarray(1.0, jnp.float32)),
    ],
)
def test_functions_that_hold_different_values_do_not(made, a, b):
    f, g = made(a, b)
    assert not shared(f, g)
    assert run(f).dtype == f(X).dtype
    assert run(g).dtype == g(X).dtype
    np.testing.assert_array_equal(run(f), f(X))
    np.testing.assert_array_equal(run(g), g(X))


def test_the_second_loss_of_the_same_code_is_not_traced_again():
    traces = []

    def made():
        return lambda x: (traces.append(1), x + 1.0)[1]

    for _ in range(4):
        run(made())
    assert len(traces) == 1
    run(made(), jnp.arange(4.0))
    assert len(traces) == 2  # another shape, by the same program


def counters():
    """Functions that tell by a side effect how often they were traced, and their counts."""
    seen, numbers, spaced, n = [], [0], types.SimpleNamespace(count=0), 0
    plain = Plain(0)

    def listed(x):
        seen.append(1)
        return x * 2.0

    def numbered(x):
        numbers[0] += 1
        return x * 3.0

    def attributed(x):
        spaced.count += 1
        return x * 4.0

    def of_object(x):
        plain.by += 1
        return x * 7.0

    def outer(x):
        nonlocal n
        n += 1
        return x * 5.0

    def globally(x):
        global COUNTED
        COUNTED += 1
        return x * 6.0

    return {
        "append": (listed, lambda: len(seen)),
        "item": (numbered, lambda: numbers[0]),
        "attribute": (attributed, lambda: spaced.count),
        "object": (of_object, lambda: plain.by),
        "nonlocal": (outer, lambda: n),
        "global": (globally, lambda: COUNTED),
    }


@pytest.mark.parametrize("kind", ["append", "item", "attribute", "object", "nonlocal", "global"])
def test_counting_its_own_traces_changes_nothing(kind):
    f, count = counters()[kind]
    before = count()
    for _ in range(3):
        np.testing.assert_array_equal(run(f), np.arange(3.0) * run(f)[1])
    assert count() == before + 1


def test_what_is_counted_and_read_is_read():
    seen = []

    def f(x):
        seen.append(1)
        return x + len(seen)

    assert run(f)[0] == 1.0
    assert run(f)[0] == 2.0  # traced again, as the list has grown


def test_a_global_bound_anew(monkeypatch):
    def f(x):
        return helper(x)  # which reads FACTOR

    assert run(f)[1] == 2.0
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 5.0)
    assert run(f)[1] == 5.0
    monkeypatch.undo()
    program = once(compiled, f)
    assert program(X)[1] == 2.0


@pytest.mark.parametrize(
    "of", [Scaled(jnp.ones(())), Frozen(1.0).of, Pair(1.0).of, functools.partial(helper)]
)
def test_a_global_behind_a_method(monkeypatch, of):
    assert run(of)[1] == 2.0
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 5.0)
    assert run(of)[1] == 5.0


def test_a_helper_replaced(monkeypatch):
    def f(x):
        return helper(x)

    run(f)
    monkeypatch.setattr(sys.modules[__name__], "helper", lambda x: x * 7.0)
    assert run(f)[1] == 7.0


def test_a_method_replaced(monkeypatch):
    scaled = Scaled(jnp.ones(()))
    run(lambda x: scaled(x))
    monkeypatch.setattr(Scaled, "__call__", lambda self, x: x * 9.0)
    assert run(lambda x: scaled(x))[1] == 9.0


def test_an_attribute_of_a_module_of_ones_own(monkeypatch):
    mine = types.ModuleType("mine")
    mine.inner = types.ModuleType("mine.inner")
    mine.inner.scale = 2.0
    monkeypatch.setitem(sys.modules, "mine", mine)

    def f(x):
        return x * mine.inner.scale

    assert run(f)[1] == 2.0
    mine.inner.scale = 3.0
    assert run(f)[1] == 3.0
    assert shared(f, f)


def test_a_function_of_the_library_replaced(monkeypatch):
    cell = jd.Cell(jd.single_compartment(10.0, 10.0), max_length=20.0)

    def f(x):
        return x + jd.simulate(cell, t1=0.1, v0=-70.0).v[-1, 0]

    assert run(f)[0] == pytest.approx(-70.0)
    monkeypatch.setattr(jd, "simulate", lambda *a, **k: types.SimpleNamespace(v=jnp.ones((1, 1))))
    assert run(f)[0] == 1.0


def test_containers_are_read_at_the_time_of_the_call():
    table, array = {"a": [1.0, 2.0]}, np.ones(3)

    def f(x):
        return x * table["a"][1] + array

    for change in (lambda: table["a"].__setitem__(1, 3.0), lambda: array.__setitem__(0, 5.0),
                   lambda: table.__setitem__("a", [0.0, 4.0])):  # fmt: skip
        np.testing.assert_array_equal(run(f), f(X))
        change()
    np.testing.assert_array_equal(run(f), f(X))


def test_defaults_and_keywords_replaced():
    def f(x, by=2.0, *, more=1.0):
        return x * by + more

    run(f)
    f.__defaults__ = (3.0,)
    np.testing.assert_array_equal(run(f), f(X))
    f.__kwdefaults__ = {"more": -1.0}
    np.testing.assert_array_equal(run(f), f(X))


def test_the_code_replaced():
    def f(x):
        return x + 1.0

    run(f)
    f.__code__ = (lambda x: x + 2.0).__code__
    assert run(f)[0] == 2.0


def test_the_first_function_changes_while_the_second_does_not():
    """The program is traced for another shape with what the second one holds."""

    def made(values):
        return lambda x: x * values[0]

    first, second = [1.0], [1.0]
    f, g = made(first), made(second)
    assert shared(f, g)
    run(f)
    first[0] = 10.0
    np.testing.assert_array_equal(run(g, jnp.arange(4.0)), jnp.arange(4.0))
    np.testing.assert_array_equal(run(f, jnp.arange(5.0)), 10.0 * jnp.arange(5.0))


def test_a_program_traced_after_a_change_is_given_to_nobody_else():
    values = [1.0]

    def f(x):
        return x * values[0]

    program = once(compiled, f)
    values[0] = 2.0
    program(X)  # traced too late
    values[0] = 1.0
    assert run(f)[1] == 1.0
    held = Program(compiled, f)
    late = held.get()
    values[0] = 2.0
    late(X)
    values[0] = 1.0
    assert held.get()(X)[1] == 1.0


def unknown():
    plain, counter, empty = Plain(2.0), itertools.count(), types.SimpleNamespace(by=2.0)
    rng = np.random.default_rng(0)
    large, objects = np.zeros(200_000), np.array([1.0, None], object)

    def stores(x):
        global TABLE
        TABLE = {"a": [2.0, 2.0]}
        return x

    def imports(x):
        import random

        return x * random.random()

    return {
        "object": lambda x: plain.by * x,
        "callable object": plain,
        "method of an object": plain.__call__,
        "namespace": lambda x: empty.by * x,
        "iterator": lambda x: x + next(counter),
        "generator": lambda x: x + rng.normal(),
        "legacy generator": lambda x: x + np.random.normal(),
        "eval": lambda x: eval("x + FACTOR", globals(), {"x": x}),
        "globals": lambda x: x * globals()["FACTOR"],
        "stores a global": stores,
        "imports": imports,
        "large array": lambda x: x + large[0],
        "array of objects": lambda x: x + objects[0],
        "module as a value": lambda x, m=sys.modules[__name__]: x * getattr(m, "FACTOR"),  # noqa: B009
        "environment": lambda x: x + float(sys.flags.debug),
    }


@pytest.mark.parametrize("kind", list(unknown()))
def test_what_is_not_understood_is_not_shared(kind):
    f = unknown()[kind]
    assert not shared(f, f)


def test_an_object_that_changes():
    plain = Plain(2.0)
    assert run(plain)[1] == 2.0
    plain.by = 3.0
    assert run(plain)[1] == 3.0


def test_tracers_are_not_kept():
    def outer(y):
        return once(compiled, lambda x: x * y)(X)

    np.testing.assert_array_equal(jax.jit(outer)(2.0), 2.0 * X)
    np.testing.assert_array_equal(jax.jit(outer)(3), 3 * X)
    assert jax.grad(lambda y: outer(y)[2])(2.0) == 2.0


def test_recursion_and_cycles_end():
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    def even(x, n):
        return x if n == 0 else odd(x, n - 1)

    def odd(x, n):
        return even(x, n - 1)

    assert shared(*[lambda x: power(x, 2) + even(x, 2) for _ in range(2)])
    ring = []
    ring.append(ring)
    assert not shared(lambda x: x * len(ring), lambda x: x * len(ring))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.adam(0.01),
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9)),
        lambda: optax.adam(optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 20)),
        lambda: optax.adam(optax.cosine_decay_schedule(0.1, 20)),
        lambda: jd.fitting.default_optimizer(20),
        lambda: jd.fitting.polyak(),
        lambda: jd.fitting.normalised(),
    ],
)
def test_optimisers_made_again(make):
    z = jnp.ones(2)

    def stepped(f, optimizer):
        return jax.jit(lambda z: optimizer.update(z, optimizer.init(z), z, value=f(z)))

    def f(z):
        return jnp.sum(z)

    with_extra = [optax.with_extra_args_support(make()) for _ in range(2)]
    first, second = (once(stepped, f, optimizer) for optimizer in with_extra)
    assert first is second
    first(z)
    assert once(stepped, f, optax.with_extra_args_support(make())) is first
    assert once(stepped, f, optax.with_extra_args_support(optax.adam(0.02))) is not first


@jax.custom_vjp
def ruled(x):
    return x * FACTOR


ruled.defvjp(lambda x: (x, None), lambda _, g: (g * FACTOR,))


@pytest.mark.parametrize(
    "wrap",
    [jax.jit, eqx.filter_jit, jax.checkpoint, jax.vmap, jd.batch, functools.lru_cache,
     jax.value_and_grad, functools.partial, jaxtyped(typechecker=None)],
)  # fmt: skip
def test_wrapped_functions_are_read_through(monkeypatch, wrap):
    wrapped = wrap(lambda x: x * FACTOR)
    made = [lambda x: jnp.asarray(wrapped(x)[0]) + ruled(x) for _ in range(2)]
    assert shared(*made)
    before = once(compiled, made[0])
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 5.0)
    assert once(compiled, made[1]) is not before
    assert shared(*made)


@pytest.mark.parametrize(
    "part",
    [jd.Rodas5P, diffrax.ForwardMode, diffrax.Kvaerno5, lambda: diffrax.PIDController(1e-3, 1e-3),
     lambda: jd.ball_and_stick(15.0, 400.0, 1.0), lambda: defaultdict(float, {"a": 1.0}),
     lambda: jd.Cell(jd.single_compartment(10.0, 10.0), max_length=20.0).insert(HH()),
     lambda: jd.ExpSyn(site=[0, 0], weight=[1e-3, 2e-3], times=jnp.array([[1.0], [2.0]]))],
)  # fmt: skip
def test_parts_of_a_simulation_made_again(part):
    made = [part(), part()]
    assert shared(*[lambda x, part=part: (x, part)[0] for part in made])


def test_same_is_one_object_for_static_arguments():
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def applied(f, x):
        traces.append(1)
        return f(x)

    for _ in range(3):
        applied(same(lambda x: x * 11.0), X)
    assert len(traces) == 1
    plain = Plain(2.0)
    assert applied(same(plain), X)[1] == 2.0
    plain.by = 3.0
    assert applied(same(plain), X)[1] == 3.0


def test_memory_is_bounded():
    for i in range(_same.KEPT + 20):
        once(compiled, lambda x, i=i: x * i)
    assert len(_same._PROGRAMS) == _same.KEPT
    held = Program(compiled, lambda x: x - 123.0)
    first = held.get()
    for i in range(_same.KEPT + 1):
        once(compiled, lambda x, i=i: x + i)
    assert held.get() is first  # whoever holds it keeps it


def test_what_code_reads():
    def f(x):
        return jnp.linalg.norm(x) + [FACTOR for _ in range(2)][0] + TABLE["a"][0]

    found = reads(f.__code__)
    assert found.known
    assert set(found.globals) == {"jnp", "FACTOR", "range", "TABLE"}
    assert found.chains["jnp"] == (("linalg", "norm"),)


NUMBERS = st.floats(-4, 4).filter(lambda x: x == x)
VALUES = st.one_of(
    NUMBERS,
    st.integers(-3, 3),
    st.booleans(),
    st.lists(NUMBERS, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from("ab"), NUMBERS, min_size=1),
    st.tuples(NUMBERS, st.integers(-3, 3)),
    st.lists(NUMBERS, min_size=2, max_size=2).map(np.asarray),
    st.lists(NUMBERS, min_size=2, max_size=2).map(jnp.asarray),
)


def total(value):
    """A number that depends on everything in `value`, and on its type."""
    kinds = {bool: 100.0, int: 200.0, float: 300.0}
    if isinstance(value, dict):
        return sum((total(v) * (1 + len(k) + ord(k)) for k, v in value.items()), 0.0)
    if isinstance(value, list | tuple):
        return sum((total(v) * (i + 1) for i, v in enumerate(value)), 0.0)
    if isinstance(value, np.ndarray | jax.Array):
        return float(np.asarray(value) @ np.asarray([2.0, 3.0])) + 17.0 * isinstance(
            value, jax.Array
        )
    return float(value) + kinds[type(value)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["closure", "default", "global", "helper", "item"]),
                          VALUES), min_size=1, max_size=4))  # fmt: skip
def test_whatever_changes_the_values_are_those_of_the_function(changes):
    """A function re-made after every change is never given a program of before."""
    scope = {"total": total, "G": 1.0, "helper": lambda v: total(v)}
    held = {"closure": 0.5, "default": 0.25, "item": [1.0, {"a": 2.0}]}
    for where, value in changes:
        if where == "global":
            scope["G"] = value
        elif where == "helper":
            scope["helper"] = lambda v, value=value: total(v) - total(value)
        elif where == "item":
            held["item"][0] = value
        else:
            held[where] = value
        code = (
            "def make(closure, item, default):\n"
            "    return lambda x, d=default: x + total(closure) + 3 * total(G) + 5 * helper(d)"
            " + 7 * total(item[0])\n"
        )
        exec(code, scope)
        f = scope["make"](held["closure"], held["item"], held["default"])
        np.testing.assert_array_equal(run(f), np.asarray(jax.jit(lambda x, f=f: f(x))(X)))
        assert shared(f, scope["make"](held["closure"], held["item"], held["default"]))
