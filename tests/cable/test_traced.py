"""Trees as data: padded and batched, they solve, multiply and differentiate as static ones do."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.cable import TracedTree, Tree, TreeMatrix

NODES = 14
PARENTS = (
    np.array([-1]),
    np.arange(9) - 1,
    np.r_[np.arange(1, 12), -1],
    np.r_[-1, np.zeros(5, int), np.ones(4, int), 9, 10],
    np.array([3, 3, 0, -1, 2, 2, 7, 1]),
)


def stacked(parents=PARENTS, nodes=NODES):
    trees = [TracedTree.of(Tree(parent), nodes) for parent in parents]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def system(parents=PARENTS, nodes=NODES, seed=0):
    """Diagonals, edges and right-hand sides `(B, N)`; what pads a tree is isolated."""
    rng = np.random.default_rng(seed)
    shape = (len(parents), nodes)
    edge, diagonal = rng.uniform(0.5, 2.0, shape), rng.uniform(0.1, 1.0, shape)
    for d, e, parent in zip(diagonal, edge, parents, strict=True):
        e[len(parent) :] = 0.0
        child = np.flatnonzero(parent >= 0)
        d[child] += e[child]
        np.add.at(d, parent[child], e[child])
    return jnp.asarray(diagonal), jnp.asarray(edge), jnp.asarray(rng.normal(size=shape))


def traced(d, e, b, tree):
    return TreeMatrix(d, e, tree).solve(b)


def factored(d, e, b, tree):
    return TreeMatrix(d, e, tree).factor().solve(b)


def reduced(d, e, b, tree):
    return TreeMatrix(d, e, tree).solve(b, "reduction")


def reduced_factor(d, e, b, tree):
    return TreeMatrix(d, e, tree).factor("reduction").solve(b)


def dense(d, e, b, tree):
    return jnp.linalg.solve(TreeMatrix(d, e, tree).to_dense(), b)


@pytest.fixture(scope="module")
def trees():
    return stacked()


@pytest.mark.parametrize("solve", [traced, factored, reduced, reduced_factor])
def test_a_batch_of_trees_equals_each_of_them(trees, solve):
    d, e, b = system()
    x = jax.jit(jax.vmap(solve))(d, e, b, trees)
    y = jax.jit(jax.vmap(lambda d, e, x, t: TreeMatrix(d, e, t).mv(x)))(d, e, x, trees)
    np.testing.assert_allclose(y, b, atol=1e-12)
    for i, parent in enumerate(PARENTS):
        n = len(parent)
        alone = TreeMatrix(d[i, :n], e[i, :n], Tree(parent)).solve(b[i, :n])
        np.testing.assert_allclose(x[i, :n], alone, rtol=0, atol=1e-14)
        np.testing.assert_allclose(x[i, n:], b[i, n:] / d[i, n:], rtol=1e-15)


@pytest.mark.parametrize("batched", list(itertools.product([False, True], repeat=3)))
def test_vmap_over_trees_and_each_operand(trees, batched):
    axes = [0 if flag else None for flag in batched]
    operands = [a if flag else a[3] for a, flag in zip(system(), batched, strict=True)]
    if not batched[0]:
        operands[0] = operands[0] + 8.0  # dominant, whichever the tree
    x = jax.jit(jax.vmap(traced, (*axes, 0)))(*operands, trees)
    np.testing.assert_allclose(x, jax.vmap(dense, (*axes, 0))(*operands, trees), rtol=1e-9)


@pytest.mark.parametrize("solve", [traced, reduced])
@pytest.mark.parametrize("inside", [True, False])
def test_trees_and_inputs_in_nested_batches(trees, solve, inside):
    d, e, b = system()
    shift = jnp.linspace(0.0, 1.0, 6)  # more than one chunk of lanes

    def one(d, e, b, tree, s):
        return solve(d + s, e, b * (1 + s), tree)

    over_trees, over_shift = (0, 0, 0, 0, None), (None, None, None, None, 0)
    inner, outer = (over_trees, over_shift) if inside else (over_shift, over_trees)
    x = jax.jit(jax.vmap(jax.vmap(one, inner), outer))(d, e, b, trees, shift)
    expected = jax.vmap(jax.vmap(lambda *a: dense(a[0] + a[4], a[1], a[2] * (1 + a[4]), a[3]),
                                 inner), outer)(d, e, b, trees, shift)  # fmt: skip
    np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solve", [traced, factored, reduced])
def test_derivatives_match_those_of_the_dense_matrix(trees, solve):
    operands = system()

    def loss(solve):
        def total(d, e, b):
            return jnp.sum(jax.vmap(solve)(d, e, b, trees) ** 2)

        return total

    argnums = (0, 1, 2)
    actual = jax.jit(jax.grad(loss(solve), argnums))(*operands)
    each = jax.jit(jax.vmap(jax.grad(lambda *a: jnp.sum(solve(*a) ** 2), argnums)))
    expected = jax.grad(loss(dense), argnums)(*operands)
    for a, b, c in zip(actual, expected, each(*operands, trees), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(c, b, rtol=1e-9, atol=1e-11)
    tangents = tuple(jnp.sin(7 * a) for a in operands)
    forward = jax.jvp(loss(solve), operands, tangents)[1]
    pushed = sum(jnp.vdot(a, t) for a, t in zip(expected, tangents, strict=True))
    np.testing.assert_allclose(forward, pushed, rtol=1e-9)


def test_other_trees_of_the_same_size_share_the_program(trees):
    traces = 0

    @jax.jit
    def run(d, e, b, trees):
        nonlocal traces
        traces += 1
        return jax.vmap(traced)(d, e, b, trees)

    run(*system(), trees)
    others = PARENTS[::-1]
    x = run(*system(others), stacked(others))
    assert traces == 1
    np.testing.assert_allclose(x, jax.vmap(dense)(*system(others), stacked(others)), rtol=1e-9)


def test_padding_cannot_be_negative():
    with pytest.raises(ValueError, match="tree of 9 nodes cannot be padded to 8"):
        TracedTree.of(Tree(np.arange(9) - 1), 8)
