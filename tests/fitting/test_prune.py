"""Of many starts only the promising ones go on, and nothing else changes for those."""

import jax
import numpy as np
import pytest

from jaxdend.fitting import FitResult, Parameter, ParameterSpace, Prune, fit
from running import in_a_run

SPACE = ParameterSpace({"a": Parameter(0.1, 10.0), "b": Parameter(-3.0, 3.0, "linear")})
PRUNE = Prune(at=(3, 7), keep=(0.5, 0.2))
SEEN = []


def loss(p):
    return (p["a"] - 2.0) ** 2 + p["b"] ** 2


def short(loss=loss, **options):
    return fit(loss, SPACE, **in_a_run({"starts": 8, "steps": 12} | options))


@pytest.fixture(scope="module")
def pruned():
    return short(prune=PRUNE)


def test_the_worst_go_and_the_rest_is_unchanged(pruned):
    whole = short()
    best = np.minimum.accumulate(whole.losses)
    after_3 = np.sort(np.argsort(best[2])[:4])
    after_7 = after_3[np.argsort(best[6][after_3])[:2]]
    expected = np.full(8, 3)
    expected[after_3], expected[after_7] = 7, -1
    np.testing.assert_array_equal(pruned.pruned, expected)
    there = np.arange(12)[:, None] < np.where(expected < 0, 12, expected)
    np.testing.assert_array_equal(np.isfinite(pruned.losses), there)
    np.testing.assert_array_equal(np.isfinite(pruned.vectors).all(axis=-1), there)
    np.testing.assert_allclose(pruned.losses[there], whole.losses[there], rtol=1e-9)
    assert pruned.evaluations == there.sum() == 3 * 8 + 4 * 4 + 5 * 2
    assert whole.evaluations == 96
    np.testing.assert_array_equal(pruned.failures, 0)
    assert np.isfinite(pruned.best_losses).all()
    assert pruned.best_start in after_7


def test_pruned_starts_are_not_computed_any_more(pruned):
    del pruned
    SEEN.clear()

    def counted(p):
        jax.debug.callback(SEEN.append, p["a"])
        return loss(p)

    result = short(counted, prune=PRUNE)
    jax.effects_barrier()
    assert len(SEEN) == result.evaluations


@pytest.mark.parametrize("step", [2, 3, 5, 7, 9])
@pytest.mark.parametrize("chunk", [1, 4])
def test_resume_across_a_cut_is_bit_for_bit(pruned, tmp_path, step, chunk):
    options = {"prune": PRUNE, "chunk": chunk}
    short(folder=tmp_path / "run", callback=lambda s, *_: s >= step, **options)
    rest = short(folder=tmp_path / "run", resume=True, **options)
    again = FitResult.load(rest.save(tmp_path / "rest.npz"))
    for field in ("losses", "vectors", "pruned", "failures"):
        np.testing.assert_array_equal(getattr(rest, field), getattr(pruned, field))
        np.testing.assert_array_equal(getattr(again, field), getattr(pruned, field))
    assert again.evaluations == pruned.evaluations


def test_compiled_once_for_every_cut(pruned):
    del pruned
    traces = []

    def counted(p):
        traces.append(1)
        return loss(p)

    short(counted, prune=PRUNE)
    assert len(traces) == 3


def test_a_callback_sees_all_starts():
    seen = []
    short(prune=PRUNE, callback=lambda step, losses, vectors: seen.append(losses))
    assert [np.isfinite(row).sum() for row in seen] == [8] * 3 + [4] * 4 + [2] * 5


def test_those_that_never_worked_go_first():
    def walled(p):
        return jax.numpy.where(p["b"] > 0.0, jax.numpy.nan, loss(p))

    with pytest.warns(UserWarning, match="not finite"):
        result = short(walled, prune=Prune((2,), (0.3,)))
    assert np.isfinite(result.best_losses[result.pruned < 0]).all()


def test_at_least_one_is_left():
    assert (short(starts=2, prune=Prune((1,), (0.01,))).pruned == -1).sum() == 1


@pytest.mark.parametrize(
    ("at", "keep", "message"),
    [
        ((), (), "one entry for each cut"),
        ((3,), (0.5, 0.2), "one entry for each cut"),
        ((0,), (0.5,), "ascending steps from 1"),
        ((5, 5), (0.5, 0.2), "ascending steps from 1"),
        ((5, 6), (0.2, 0.5), "descending shares"),
        ((5,), (1.0,), "descending shares"),
        ((5,), (0.0,), "descending shares"),
    ],
)
def test_bad_cuts(at, keep, message):
    with pytest.raises(ValueError, match=message):
        Prune(at, keep)
