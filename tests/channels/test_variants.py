"""Variants of one class: each names all that tells it from the others, so that it replaces them."""

import itertools
from functools import partial

import jax
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import CHANNELS
from jaxdend.mechanisms.base import named


def groups() -> dict[str, list[str]]:
    """Class name -> its variants, each by its name."""
    found: dict[str, list[str]] = {}
    for name, made in CHANNELS.items():
        if "." in name or isinstance(made, partial):
            found.setdefault(name.split(".")[0], []).append(name)
    return {owner: names for owner, names in found.items() if len(names) > 1}


PAIRS = [pair for names in groups().values() for pair in itertools.permutations(names, 2)]


def test_there_are_variants():
    assert {"KA", "HCN", "NaCA1", "BK", "CaPoirazi", "Izhikevich", "AdEx"} <= set(groups())


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_variant_over_another_is_that_variant(first, second):
    bare = jd.Cell(jd.single_compartment(10.0, 10.0), max_length=20.0)
    over = bare.insert(CHANNELS[first]()).insert(CHANNELS[second]())
    (item,), (alone,) = over.inserted, bare.insert(CHANNELS[second]()).inserted
    for a, b in zip(jax.tree.leaves(item), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("names", groups().values(), ids=groups())
def test_the_variants_of_a_class_name_the_same_parameters(names):
    assert len({named(CHANNELS[name]()) for name in names}) == 1
