"""Dendritic computation as tasks that neurons are trained on."""

from jaxdend.tasks.base import (
    AbstractNeuron as AbstractNeuron,
    AbstractTask as AbstractTask,
    Placement as Placement,
    Score as Score,
    Training as Training,
)
from jaxdend.tasks.judge import (
    evaluate as evaluate,
    held_out as held_out,
    judged as judged,
    respond_all as respond_all,
    robustness as robustness,
)
from jaxdend.tasks.logic import FUNCTIONS as FUNCTIONS, Logic as Logic, truth_table as truth_table
from jaxdend.tasks.placement import along as along, choose as choose, path as path
from jaxdend.tasks.registry import CONTROLS as CONTROLS, TASKS as TASKS, make_task as make_task
from jaxdend.tasks.result import TaskResult as TaskResult
from jaxdend.tasks.train import screen as screen, train as train
from jaxdend.tasks.trains import (
    AbstractTrains as AbstractTrains,
    Bursts as Bursts,
    Poisson as Poisson,
)
