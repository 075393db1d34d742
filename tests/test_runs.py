"""What a run is asked to do is checked when it is said."""

import types

import numpy as np
import pytest

import jaxdend as jd
from jaxdend.fitting import Parameter, ParameterSpace, fit, nudging, sample_posterior
from jaxdend.runs import Loop, Run, RunFolder, is_saved

SPACE = ParameterSpace({"a": Parameter(0.1, 10.0)})


def test_bad_runs():
    with pytest.raises(ValueError, match="every must be at least 1 step, got 0"):
        Run("folder", every=0)
    with pytest.raises(ValueError, match="goes on from the folder, which is not given"):
        Run(resume=True)
    for wrong in ("folder", {"folder": "a"}, True):
        with pytest.raises(TypeError, match=r"run= takes a jaxdend.Run, such as Run\('folder'\)"):
            fit(lambda p: p["a"] ** 2, SPACE, steps=1, run=wrong)
    assert Run.of(None) == jd.Run()


def test_stages_have_folders_of_their_own(tmp_path):
    run = Run(tmp_path, every=3, resume=True, progress=False)
    assert run.within("b") == Run(tmp_path / "b", every=3, resume=True, progress=False)
    assert Run(progress=False).within("b") == Run(progress=False)
    with pytest.raises(ValueError, match="goes on from its folder only"):
        Run(resume=tmp_path / "fit.npz").within("b")
    objective = types.SimpleNamespace(residuals=lambda p: p["a"])
    with pytest.raises(ValueError, match="goes on from its folder only"):
        nudging(objective, SPACE, resistances=(np.inf,), run=Run(resume=tmp_path))


def test_what_goes_on_from_its_folder_only(tmp_path):
    with pytest.raises(ValueError, match="resume must be True or False, got .*other"):
        sample_posterior(lambda p: -(p["a"] ** 2), SPACE, run=Run(resume=tmp_path / "other"))


@pytest.mark.parametrize(("every", "saved"), [(None, [4, 8, 10]), (5, [5, 10]), (20, [10])])
def test_the_method_chooses_how_often_unless_the_run_does(tmp_path, monkeypatch, every, saved):
    steps, save = [], RunFolder.save

    def noted(self, tree, rows):
        save(self, tree, rows)
        steps.append(self.steps)

    monkeypatch.setattr(RunFolder, "save", noted)
    assert not is_saved(tmp_path / "run")
    loop = Loop(10, "count", Run(tmp_path / "run", every=every, progress=False), every=4)

    def advance(state, count):
        return state + count, {"losses": np.full((count, 1), float(state))}, False

    part = loop.go(advance, jd.runs.Part({}, np.asarray(0)))
    assert steps == saved
    assert is_saved(tmp_path / "run")
    np.testing.assert_array_equal(part.rows["losses"][:, 0], np.arange(10.0))
    again = Loop(10, "count", Run(tmp_path / "run", resume=True, progress=False))
    np.testing.assert_array_equal(again.before().rows["losses"], part.rows["losses"])


def test_the_bar_says_what_the_method_wants(capsys):
    def advance(state, count):
        return state, {"losses": np.full((count, 1), 0.25)}, False

    for shown, said in ((None, "loss=0.25"), (lambda rows: {"auc": "0.9"}, "auc=0.9")):
        loop = Loop(2, "fit", Run(), shown=shown)
        loop.go(advance, jd.runs.Part({}, np.asarray(0)))
        assert said in capsys.readouterr().err
