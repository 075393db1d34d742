import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdend.fitting import FitResult, Parameter, ParameterSpace
from jaxdend.tasks import (
    AbstractNeuron,
    Logic,
    TaskResult,
    Training,
    evaluate,
    robustness,
    screen,
    train,
)
from jaxdend.tasks.judge import CHUNK, scaled, weight_noise
from running import in_a_run
from toy_task import TRAINING, Veto, xor

TASK = xor()


class Walled(AbstractNeuron):
    """Finite only up to `wall`."""

    wall: float

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace({"x": Parameter(0.0, 1.0, "linear")})

    def respond(self, params, pattern):
        x = params["x"]
        return jnp.where(x <= self.wall, x * pattern[0], jnp.nan)


def trained(task=TASK, **options) -> TaskResult:
    return train(task, **in_a_run(options))


def same(a: TaskResult, b: TaskResult) -> None:
    np.testing.assert_array_equal(a.fit.losses, b.fit.losses)
    np.testing.assert_array_equal(a.fit.vectors, b.fit.vectors)
    np.testing.assert_array_equal(a.responses, b.responses)
    np.testing.assert_array_equal(a.configs, b.configs)
    assert a.solved == b.solved


@pytest.mark.parametrize("seed", range(4))
def test_gradients_solve_what_random_neurons_do_not(seed):
    result = trained(seed=seed)
    assert result.solved
    assert result.accuracy == 1.0
    assert result.margin >= 4.0 > result.start_margin
    assert result.fit.steps < TRAINING.steps  # it stops there
    assert not result.fit.interrupted
    np.testing.assert_allclose(TASK.responses(result.params), result.responses)
    np.testing.assert_allclose(TASK.responses(result.start_params), result.start_responses)
    assert float(TASK.score(result.responses).margin) == result.margin


def test_the_best_random_neurons_descend():
    result = trained()
    first = TASK.neuron.space.sample(0, TRAINING.configs)
    np.testing.assert_array_equal(result.configs, screen(TASK, first))
    best = np.argsort(result.configs)[: TRAINING.starts]
    np.testing.assert_array_equal(result.fit.vectors[0], first[best])
    np.testing.assert_allclose(result.fit.losses[0], result.configs[best])


def test_same_seed_same_history_and_another_seed_another():
    same(trained(seed=3), trained(seed=3))
    assert not np.array_equal(trained(seed=3).configs, trained(seed=4).configs)


def test_options_replace_those_of_the_task():
    few = Training(configs=5, starts=2, steps=3, rate=0.1)
    result = trained(training=few, optimizer=optax.sgd(0.1), stop=False)
    assert result.configs.shape == (5,)
    assert result.fit.losses.shape == (3, 2)
    assert result.simulations == 4 * (5 + 3 * 2 + 2 + 2)  # random, steps, ends, best and start
    longer = trained(training=dataclasses.replace(TRAINING, steps=60), stop=False)
    assert longer.fit.steps == 60
    assert longer.solved


@pytest.mark.parametrize(("steps", "noise"), [(2, 0.0), (60, 0.1)])
def test_simulations_are_what_was_simulated(steps, noise):
    seen = []

    class Counted(AbstractNeuron):
        space = Veto().space

        def respond(self, params, pattern):
            response = Veto().respond(params, pattern)
            jax.debug.callback(seen.append, response)
            return response

    training = dataclasses.replace(TRAINING, steps=steps, rate=0.2, noise=noise, copies=3)
    result = trained(xor(Counted(), training=training), seed=2)
    jax.effects_barrier()
    assert result.solved == (steps > 2)
    assert result.simulations == len(seen)


def test_where_it_is_not_solved_the_widest_margin_of_all_starts():
    result = trained(training=dataclasses.replace(TRAINING, steps=2))
    assert not result.solved
    ends = result.fit.best_vectors
    margins = [float(evaluate(TASK, TASK.neuron.space.to_dict(z))[1].margin) for z in ends]
    assert result.margin == max(margins)


def test_screen_in_parts_is_one_by_one():
    vectors = TASK.neuron.space.sample(1, CHUNK + 3)
    one = [TASK.loss(TASK.responses(TASK.neuron.space.to_dict(z))) for z in vectors]
    np.testing.assert_allclose(screen(TASK, vectors), one, rtol=1e-12)


def test_neurons_that_are_not_finite_are_pruned_or_an_error():
    neuron = Walled(wall=0.3)
    task = Logic("high", neuron, [[1.0], [0.0]], [True, False], threshold=0.1, margin=0.05)
    result = trained(task, training=Training(configs=20, starts=3, steps=5))
    assert np.isnan(result.configs).any()
    assert np.isfinite(result.fit.losses[0]).all()
    assert result.solved
    with pytest.raises(ValueError, match="none of 64 random configurations has a finite loss"):
        trained(Logic("high", Walled(wall=-1.0), [[1.0]], [True], threshold=0.1, margin=0.05))


@pytest.mark.parametrize("step", [1, 9])
def test_resume_is_bit_for_bit(step, tmp_path):
    whole = trained(seed=2)
    assert whole.fit.steps > 9
    part = trained(seed=2, training=dataclasses.replace(TRAINING, steps=step))
    assert not part.solved
    part.save(tmp_path)
    same(trained(seed=2, resume=TaskResult.load(tmp_path).fit), whole)


@pytest.mark.parametrize("steps", [7, TRAINING.steps])
def test_the_checkpoints_of_a_killed_run_go_on_bit_for_bit(steps, tmp_path, monkeypatch):
    def kill(*_):
        raise SystemExit

    whole = trained(seed=2)
    module = sys.modules["jaxdend.tasks.train"]  # the package has the function by that name
    monkeypatch.setattr(module, "_result", kill)  # the last moment to be killed
    saving = {"seed": 2, "folder": tmp_path, "every": 2}
    with pytest.raises(SystemExit):
        trained(training=dataclasses.replace(TRAINING, steps=steps), **saving)
    monkeypatch.undo()
    assert FitResult.load(tmp_path).steps == min(steps, whole.fit.steps)
    with pytest.raises(ValueError, match="another configuration: .*about.seed is 2 there and 3"):
        trained(**saving | {"seed": 3}, resume=True)
    resumed = trained(**saving, resume=True)
    same(resumed, whole)
    assert resumed.margin == whole.margin
    same(trained(**saving, resume=True), whole)


@pytest.mark.parametrize("kills", [(4,), (5, 6), (7, 8, 12)])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_run_killed_several_times_counts_the_simulations_of_one(
    kills, noise, tmp_path, monkeypatch
):
    """Of its history: what was computed again after a kill counts once."""
    module = sys.modules["jaxdend.tasks.judge"]
    look = module.Watch.__call__
    training = dataclasses.replace(TRAINING, noise=noise, copies=3)
    saving = {"seed": 2, "training": training, "every": 3}
    whole = trained(**saving)
    assert whole.solved
    assert whole.fit.steps > max(kills)
    for kill in kills:

        def killed(self, step, losses, vectors, kill=kill):
            if step == kill:
                raise SystemExit
            return look(self, step, losses, vectors)

        with monkeypatch.context() as patch:
            patch.setattr(module.Watch, "__call__", killed)
            with pytest.raises(SystemExit):
                trained(**saving, folder=tmp_path, resume=True)
    resumed = trained(**saving, folder=tmp_path, resume=True)
    same(resumed, whole)
    assert resumed.simulations == whole.simulations


def test_looks_with_noise_are_counted_where_solutions_did_not_withstand_it(tmp_path, monkeypatch):
    """As long as none does: every step that solves the task was tried with noise."""
    module = sys.modules["jaxdend.tasks.judge"]
    monkeypatch.setattr(module, "ROBUST", 2.0)  # more than every repeat
    training = dataclasses.replace(TRAINING, rate=0.2, noise=0.1, copies=3, steps=25)
    whole = trained(seed=2, training=training)
    few = dataclasses.replace(training, steps=22)
    part = trained(seed=2, training=few, folder=tmp_path)
    resumed = trained(seed=2, training=training, folder=tmp_path, resume=True)
    same(resumed, whole)
    steps = (
        4 * training.configs + 4 * 4 * 25 * training.starts
    )  # three noisy copies and an exact one
    assert whole.simulations > steps + 4 * (25 + CHUNK)
    assert part.simulations < resumed.simulations == whole.simulations
    again = trained(seed=2, training=training, resume=part.fit)
    assert again.simulations == whole.simulations


def test_resume_of_a_solution_is_the_solution():
    whole = trained(seed=2)
    again = trained(seed=2, resume=whole.fit)
    same(again, whole)
    assert again.margin == whole.margin
    further = trained(seed=2, resume=whole.fit, stop=False)
    assert further.fit.steps == TRAINING.steps


def test_resume_refuses_another_neuron():
    part = trained(training=dataclasses.replace(TRAINING, steps=1)).fit
    task = Logic("high", Walled(wall=1.0), [[1.0]], [True], threshold=0.1, margin=0.05)
    with pytest.raises(ValueError, match="cannot resume: the result belongs to"):
        trained(task, resume=part)


def test_a_solution_withstands_the_noise_it_was_trained_with():
    noisy = Training(configs=20, starts=3, steps=60, rate=0.2, noise=0.1, copies=3)
    result = trained(xor(training=noisy), seed=2)
    assert result.solved
    right, responses = robustness(TASK, result.params, noise=0.1, repeats=200, seed=9)
    assert right >= 0.95
    assert responses.shape == (200, 4)


def test_robustness_counts_repeats_with_all_patterns_right():
    params = {"weight": jnp.array([0.04, 0.021]), "veto": jnp.asarray(40.0)}
    right, responses = robustness(TASK, params, noise=0.1, repeats=100, seed=0)
    assert responses.shape == (100, 4)
    wanted = (responses > -60.0) == np.array([False, True, True, False])
    assert right == wanted.all(axis=1).mean()
    assert 0.3 < right < 1.0
    assert robustness(TASK, params, noise=0.0 + 1e-9, repeats=3)[0] == 1.0
    no_weights = Logic("x", Walled(wall=1.0), [[1.0]], [True], threshold=0.1, margin=0.05)
    with pytest.raises(ValueError, match="no parameter of the neuron has the unit 'uS'"):
        robustness(no_weights, {"x": jnp.asarray(0.5)})


def test_screening_and_robustness_are_one_program():
    traced = []

    class Counted(AbstractNeuron):
        space = Veto().space

        def respond(self, params, pattern):
            traced.append(pattern)
            return Veto().respond(params, pattern)

    task = xor(Counted())
    vectors = task.neuron.space.sample(0, CHUNK + 1)
    screen(task, vectors)
    assert len(traced) == 1
    robustness(task, task.neuron.space.to_dict(vectors[0]), repeats=CHUNK)
    assert len(traced) == 1


def test_weight_noise_is_only_on_weights():
    space = Veto().space
    factors = weight_noise(space, 0.1, 1000, seed=0, first_exact=True)
    assert set(factors) == {"weight"}
    assert factors["weight"].shape == (1001, 2)
    np.testing.assert_array_equal(factors["weight"][0], 1.0)
    np.testing.assert_allclose(factors["weight"][1:].std(axis=0), 0.1, rtol=0.1)
    assert (weight_noise(space, 5.0, 100, seed=0)["weight"] >= 0.0).all()
    assert weight_noise(space, 0.0, 10, seed=0) == {}
    params = {"weight": jnp.array([1.0, 2.0]), "veto": jnp.asarray(3.0)}
    changed = scaled(params, {"weight": jnp.array([2.0, 0.5])})
    np.testing.assert_array_equal(changed["weight"], [2.0, 1.0])
    assert changed["veto"] == 3.0


def test_save_and_load(tmp_path):
    result = trained()
    result.save(tmp_path / "run", note="a remark")
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {"result.json", "params.npz", "fit.npz"}
    again = TaskResult.load(tmp_path / "run")
    same(again, result)
    for field in dataclasses.fields(TaskResult):
        if field.type in ("str", "int", "bool", "tuple[str, ...]"):
            assert getattr(again, field.name) == getattr(result, field.name), field.name
    for name, value in result.params.items():
        np.testing.assert_array_equal(again.params[name], value)
        np.testing.assert_array_equal(again.start_params[name], result.start_params[name])
    about = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert about["note"] == "a remark"
    assert about["responses"] == dict(zip(TASK.labels, result.responses.tolist(), strict=True))
    assert {"task", "seed", "solved", "accuracy", "margin", "simulations", "wall_s"} <= set(about)


def test_responses_that_are_not_finite_are_null(tmp_path):
    result = dataclasses.replace(
        trained(), responses=np.array([0.0, np.nan, np.inf, 1.0]), margin=np.nan
    )
    result.save(tmp_path)
    assert "NaN" not in (tmp_path / "result.json").read_text(encoding="utf-8")
    again = TaskResult.load(tmp_path)
    np.testing.assert_array_equal(again.responses, [0.0, np.nan, np.nan, 1.0])
    assert np.isnan(again.margin)


def test_load_refuses_other_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        TaskResult.load(tmp_path)
    file = tmp_path / "result.json"
    for text, message in [("{", "is not JSON"), ("[1]", "not the result of a task"), ("{}", "not")]:
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            TaskResult.load(tmp_path)
    trained().save(tmp_path)
    (tmp_path / "params.npz").write_bytes((tmp_path / "params.npz").read_bytes()[:300])
    with pytest.raises(ValueError, match="is not a complete task folder"):
        TaskResult.load(tmp_path)


def test_progress_is_shown(capsys):
    train(TASK, training=dataclasses.replace(TRAINING, steps=2))
    shown = capsys.readouterr().err
    assert "20/20" in shown
    assert "2/2" in shown
