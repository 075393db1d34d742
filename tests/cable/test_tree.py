"""The topology of a tree: what it is made of, refuses and equals, and its elimination plans."""

import numpy as np
import pytest

from jaxdend.cable import Tree


def chain(n):
    return np.arange(n) - 1


def star(n):
    return np.array([-1] + [0] * (n - 1))


def test_trees_are_equal_by_content():
    parent = chain(10)
    assert Tree(parent) == Tree(list(parent))
    assert hash(Tree(parent)) == hash(Tree(list(parent)))
    assert Tree(chain(10)) != Tree(star(10))
    assert Tree(chain(10)) != "tree"


def test_a_plan_is_made_once_and_for_a_known_method():
    tree = Tree(star(5))
    assert tree.plan("reduction") is tree.plan("reduction")
    assert not tree.plan("sequential").levels
    for method in ("auto", "lu"):  # what "auto" means, `resolve_method` knows
        with pytest.raises(ValueError, match="'sequential' or 'reduction'"):
            tree.plan(method)


def test_tree_is_immutable():
    with pytest.raises(ValueError, match="read-only"):
        Tree(chain(3)).parent[0] = 1


@pytest.mark.parametrize(("n", "most"), [(1000, 10), (3000, 12)])
@pytest.mark.parametrize("branch", [4, 12, 30])
def test_levels_grow_logarithmically(n, most, branch):
    rng = np.random.default_rng(branch)
    parent, tips = [-1], [0] * 8
    while len(parent) < n:
        node = tips.pop(rng.integers(len(tips)))
        for _ in range(min(1 + rng.poisson(branch), n - len(parent))):
            parent.append(node)
            node = len(parent) - 1
        tips += [node, node]
    assert Tree(np.array(parent)).depth <= most


def test_levels_of_chain_and_star():
    assert Tree(chain(1024)).depth == 10
    assert Tree(star(1024)).depth == 1
    assert Tree(np.array([-1])).depth == 0


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ([], "at least one node"),
        ([0, 1], "exactly one root"),
        ([-1, 0, -1], "2: nodes \\[0, 2\\]"),
        ([-1, 0, 3, 2], "cycle: 2 nodes"),
        ([-1, 1], "cycle: 1 nodes .* first is node 1"),
        ([-1, 5], "parent\\[1\\] is 5"),
        ([-1, -2], "parent\\[1\\] is -2"),
        ([[-1]], "one-dimensional"),
        ([-1.0, 0.0], "integers"),
    ],
)
def test_bad_parents(parent, message):
    with pytest.raises(ValueError, match=message):
        Tree(np.array(parent))
