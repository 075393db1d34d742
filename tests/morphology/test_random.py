"""Random files are read as live NEURON reads them."""

import warnings

import numpy as np
import pytest

import neuron_geometry as nrn
import random_morphologies
from jaxdend.cable.compartments import discretise
from jaxdend.morphology import MorphologyWarning, read_morphology


def as_neuron(path):
    """Names, points, joints, areas and distances are NEURON's; returns the morphology."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MorphologyWarning)
        morph = read_morphology(path)
    cell, sections = nrn.import_file(path)
    assert set(morph.name) == set(sections)
    joints = nrn.joints(sections)
    for i, name in enumerate(morph.name):
        theirs = nrn.points(sections[name])
        np.testing.assert_allclose(
            morph.section_points(i), theirs, rtol=2e-6, atol=2e-5, err_msg=name
        )
        p = morph.parent_section[i]
        assert joints[name] == (None if p < 0 else (morph.name[p], morph.parent_x[i])), name
    counts = 1 + np.arange(morph.n_sections) % 4
    theirs = nrn.compartments(sections, morph.name, counts, morph.name[morph.soma], 100.0)
    ours = discretise(morph, counts)
    np.testing.assert_allclose(ours.area, theirs["area"], rtol=1e-4)
    np.testing.assert_allclose(ours.distance, theirs["distance"], rtol=1e-4, atol=1e-4)
    del cell
    return morph


@pytest.mark.parametrize("further_roots", [False, True])
def test_swc(further_roots, tmp_path, capfd):
    path = tmp_path / "cell.swc"
    for seed in range(60):
        path.write_text(random_morphologies.swc(seed, further_roots))
        as_neuron(path)


def test_asc(tmp_path, capfd):
    path = tmp_path / "cell.asc"
    somata = 0
    for seed in range(25):
        path.write_text(random_morphologies.asc(seed))
        somata += len(as_neuron(path).section_points("soma[0]")) < 21
    assert somata > 5  # stacks of contours are among them
