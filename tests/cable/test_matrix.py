import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax

from jaxdend.cable import Tree, TreeMatrix

METHODS = ["sequential", "reduction"]


def random_parent(n, seed, reach=None):
    """A random tree, randomly numbered; a small reach gives long branches."""
    rng = np.random.default_rng(seed)
    low = np.zeros(n, int) if reach is None else np.maximum(np.arange(n) - reach, 0)
    up = np.array([-1] + [int(rng.integers(low[i], i)) for i in range(1, n)])
    label = rng.permutation(n)
    parent = np.empty(n, int)
    parent[label] = np.where(up >= 0, label[up], -1)
    return parent


def chain(n):
    return np.arange(n) - 1


def star(n):
    return np.where(np.arange(n) > 0, 0, -1)


def excess_form(parent, excess, edge):
    """Diagonal of a matrix with these row sums."""
    diagonal = np.array(excess)
    child = np.flatnonzero(parent >= 0)
    diagonal[child] += edge[child]
    np.add.at(diagonal, parent[child], edge[child])
    return diagonal


def system(parent, seed=0):
    rng = np.random.default_rng(seed)
    n = len(parent)
    edge = rng.uniform(0.5, 2.0, n)
    edge[parent < 0] = np.nan  # must never be read
    diagonal = excess_form(parent, rng.uniform(0.1, 1.0, n), edge)
    return diagonal, edge, rng.normal(size=n)


def dense_solve(tree):
    return lambda d, e, b: jnp.linalg.solve(TreeMatrix(d, e, tree).to_dense(), b)


def tree_solve(tree, method):
    if method == "factor":
        return lambda d, e, b: TreeMatrix(d, e, tree).factor("reduction").solve(b)
    return lambda d, e, b: TreeMatrix(d, e, tree).solve(b, method)


def check_against_dense(parent, seed=0):
    diagonal, edge, b = system(parent, seed)
    matrix = TreeMatrix(jnp.asarray(diagonal), jnp.asarray(edge), Tree(parent))
    dense = np.diag(diagonal)
    for i, p in enumerate(parent):
        if p >= 0:
            dense[i, p] = dense[p, i] = -edge[i]
    np.testing.assert_array_equal(matrix.to_dense(), dense)
    np.testing.assert_allclose(matrix.mv(b), dense @ b, rtol=1e-12, atol=1e-12)
    expected = np.linalg.solve(dense, b)
    actual = jax.jit(lambda m, b: [m.solve(b, k) for k in METHODS] + [m.factor().solve(b)])
    for x in actual(matrix, b):
        np.testing.assert_allclose(x, expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=5, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 10**6), reach=st.sampled_from([None, 1, 2, 5]))
def test_random_trees_match_dense(n, seed, reach):
    check_against_dense(random_parent(n, seed, reach), seed)


@pytest.mark.parametrize(
    "parent",
    [
        np.array([-1]),
        np.array([1, -1]),
        chain(40),
        np.r_[np.arange(1, 40), -1],
        star(4),
        star(60),
        np.r_[-1, np.zeros(20, int), np.ones(25, int), np.full(30, 2), np.full(3, 70)],
    ],
    ids=["one", "two", "chain", "reversed chain", "star", "wide star", "hubs"],
)
def test_special_trees_match_dense(parent):
    check_against_dense(parent)


def test_solve_without_x64():
    with jax.enable_x64(False):
        diagonal, edge, b = (jnp.asarray(a, jnp.float32) for a in system(chain(20)))
        x = TreeMatrix(diagonal, edge, Tree(chain(20))).solve(b)
    assert x.dtype == jnp.float32


def test_integer_vector_is_promoted():
    diagonal, edge, _ = system(chain(5))
    matrix = TreeMatrix(jnp.asarray(diagonal), jnp.asarray(edge), Tree(chain(5)))
    assert matrix.solve(jnp.arange(5)).dtype == jnp.float64


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [20.0, 5.0, 1.0])
def test_float32_on_cable_matrices(method, length):
    """C/h + G of a thin dendritic tree: spectra from C/h ~ 1e-4 to G ~ 10 µS."""
    parent = random_parent(400, 3, reach=4)
    rng = np.random.default_rng(1)
    radius = rng.uniform(0.3, 1.5, 400)
    area = 2 * np.pi * radius * length
    excess = area * 1e-5 / 0.025 + area * 3e-4 * 1e-2  # µS
    edge = np.float32(np.pi * radius**2 / (100 * length) * 100)  # µS at 100 Ω·cm
    diagonal = np.float32(excess_form(parent, excess, edge.astype(float)))
    b = np.float32(rng.normal(size=400) * excess)
    tree = Tree(parent)
    exact = np.linalg.solve(
        TreeMatrix(jnp.float64(diagonal), jnp.float64(edge), tree).to_dense(), np.float64(b)
    )
    x = jax.jit(tree_solve(tree, method))(*map(jnp.asarray, (diagonal, edge, b)))
    assert x.dtype == jnp.float32
    error = np.max(np.abs(x - exact)) / np.max(np.abs(exact))
    assert error < {20.0: 1e-6, 5.0: 3e-6, 1.0: 5e-5}[length]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "batched", [b for b in itertools.product([False, True], repeat=3) if any(b)]
)
def test_vmap_over_each_operand(method, batched):
    parent = random_parent(12, 5)
    tree, size = Tree(parent), 10  # more than one chunk of lanes, the last one padded
    rng = np.random.default_rng(2)
    operands = [
        jnp.asarray(a * rng.uniform(1.0, 1.2, (size, 1)) if is_batched else a)
        for a, is_batched in zip(system(parent), batched, strict=True)
    ]
    axes = [0 if is_batched else None for is_batched in batched]
    x = jax.jit(jax.vmap(tree_solve(tree, method), axes))(*operands)
    np.testing.assert_allclose(x, jax.vmap(dense_solve(tree), axes)(*operands), rtol=1e-9)


@pytest.mark.parametrize("method", [*METHODS, "factor"])
def test_nested_vmap(method):
    parent = random_parent(9, 8)
    tree = Tree(parent)
    d, e, b = (jnp.asarray(a) for a in system(parent))
    ds, es = d * jnp.linspace(1, 2, 3)[:, None], e * jnp.linspace(0.5, 1, 5)[:, None]
    bs = b + jnp.arange(4.0)[:, None]

    def nest(f):
        f = jax.vmap(jax.vmap(f, (None, None, 0)), (0, None, None))
        return jax.vmap(f, (None, 0, None))(ds, es, bs)

    actual = jax.jit(lambda: nest(tree_solve(tree, method)))()
    np.testing.assert_allclose(actual, nest(dense_solve(tree)), rtol=1e-9)


def test_vmap_of_the_matrix_itself():
    parent = random_parent(12, 4)
    d, e, b = (jnp.asarray(a) for a in system(parent))
    matrices = jax.vmap(lambda s: TreeMatrix(d * s, e, Tree(parent)))(jnp.array([1.0, 2.0]))
    x = jax.vmap(lambda m: m.solve(b))(matrices)
    np.testing.assert_allclose(x[1], TreeMatrix(2 * d, e, Tree(parent)).solve(b), rtol=1e-12)


@pytest.mark.parametrize("method", [*METHODS, "factor"])
def test_derivatives_match_dense_autodiff(method):
    parent = random_parent(9, 9)
    tree = Tree(parent)
    operands = [jnp.asarray(np.nan_to_num(a)) for a in system(parent)]
    f, g = tree_solve(tree, method), dense_solve(tree)
    argnums = (0, 1, 2)
    expected = jax.jacfwd(g, argnums)(*operands)
    for jacobian in (jax.jacfwd, jax.jacrev):
        for a, b in zip(jax.jit(jacobian(f, argnums))(*operands), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    curvature = [
        jax.jit(jax.hessian(lambda *o, h=h: jnp.sum(h(*o) ** 3), argnums))(*operands)
        for h in (f, g)
    ]
    for a, b in zip(*map(jax.tree.leaves, curvature), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_matches_central_differences(method, sign):
    parent = random_parent(30, 11)
    tree = Tree(parent)
    operands = [jnp.asarray(np.nan_to_num(a)) for a in system(parent)]
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.normal(size=30)) * sign
    loss = jax.jit(lambda *o: weight @ tree_solve(tree, method)(*o) ** 2)
    for k, gradient in enumerate(jax.grad(loss, (0, 1, 2))(*operands)):
        direction = jnp.asarray(rng.normal(size=30))
        step = 1e-6
        ends = [[*operands[:k], operands[k] + s * direction, *operands[k + 1 :]]
                for s in (step, -step)]  # fmt: skip
        difference = (loss(*ends[0]) - loss(*ends[1])) / (2 * step)
        assert gradient @ direction == pytest.approx(float(difference), rel=1e-6)


def test_root_edge_has_zero_gradient_even_where_it_is_nan():
    parent = random_parent(9, 1)
    tree = Tree(parent)
    d, e, b = (jnp.asarray(a) for a in system(parent))
    for method in METHODS:
        gradient = jax.grad(lambda e, m=method: TreeMatrix(d, e, tree).solve(b, m).sum())(e)
        assert gradient[tree.root] == 0
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_and_vmap_compose(method):
    parent = random_parent(14, 6)
    tree = Tree(parent)
    d, e, b = (jnp.asarray(a) for a in system(parent))
    ds = d * jnp.linspace(1.0, 1.5, 9)[:, None]

    def loss(solve, d, e):
        return jnp.sum(solve(d, e, b) ** 2)

    def each(solve):  # vmap of grad
        return jax.vmap(jax.grad(loss, (1, 2)), (None, 0, None))(
            jax.tree_util.Partial(solve), ds, e
        )

    def total(solve):  # grad of vmap
        return jax.grad(lambda ds, e: jax.vmap(loss, (None, 0, None))(
            jax.tree_util.Partial(solve), ds, e).sum(), (0, 1))(ds, e)  # fmt: skip

    for transformed in (each, total):
        actual = jax.jit(lambda t=transformed: t(tree_solve(tree, method)))()
        for a, b_ in zip(actual, transformed(dense_solve(tree)), strict=True):
            np.testing.assert_allclose(a, b_, rtol=1e-9, atol=1e-11)


def test_gradient_through_a_checkpointed_scan():
    parent = random_parent(20, 2)
    tree = Tree(parent)
    d, e, b = (jnp.asarray(a) for a in system(parent))

    def run(solve, d):
        @jax.checkpoint
        def step(x, _):
            return solve(d + x**2, e, x + b), None

        return jnp.sum(lax.scan(step, b, None, length=5)[0])

    actual = jax.grad(lambda d: run(tree_solve(tree, "sequential"), d))(d)
    expected = jax.grad(lambda d: run(dense_solve(tree), d))(d)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


def test_derivative_does_not_pass_through_the_elimination():
    parent = random_parent(20, 2)
    d, e, b = (jnp.asarray(a) for a in system(parent))
    solve = tree_solve(Tree(parent), "sequential")
    gradient = jax.jit(jax.grad(lambda d: solve(d, e, b).sum()))
    loops = gradient.lower(d).compile().as_text().count(" while(")
    assert loops == 4  # two to solve, two to substitute once more


def test_equal_trees_share_one_compilation():
    traces = 0

    @jax.jit
    def run(matrix, b):
        nonlocal traces
        traces += 1
        return matrix.solve(b)

    parent = random_parent(10, 3)
    for scale, p in [(1.0, parent), (2.0, parent.copy()), (1.0, parent.astype(np.int64))]:
        d, e, b = (jnp.asarray(a) for a in system(p))
        run(TreeMatrix(d * scale, e, Tree(p)), b)
    assert traces == 1


def test_bad_shapes_and_methods():
    matrix = TreeMatrix(jnp.ones(3), jnp.ones(3), Tree(chain(3)))
    with pytest.raises(ValueError, match=r"vector must have shape \(3,\).*jax.vmap"):
        matrix.solve(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"edge must have shape"):
        TreeMatrix(jnp.ones(3), jnp.ones(2), Tree(chain(3))).mv(jnp.ones(3))
    with pytest.raises(ValueError, match="method must be"):
        matrix.solve(jnp.ones(3), "lu")
