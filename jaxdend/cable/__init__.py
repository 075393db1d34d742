"""From a morphology to a tree of compartments, and the linear solve on that tree."""

from jaxdend.cable._traced import TracedTree as TracedTree
from jaxdend.cable.compartments import (
    Compartments as Compartments,
    discretise as discretise,
    ncomp_from_callable as ncomp_from_callable,
    ncomp_from_d_lambda as ncomp_from_d_lambda,
    ncomp_from_max_length as ncomp_from_max_length,
)
from jaxdend.cable.matrix import TreeFactor as TreeFactor, TreeMatrix as TreeMatrix
from jaxdend.cable.tree import Tree as Tree
