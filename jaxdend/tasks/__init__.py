"""Dendritic computation as tasks that neurons are trained on."""

from jaxdend.tasks.base import (
    AbstractNeuron as AbstractNeuron,
    AbstractTask as AbstractTask,
    Placement as Placement,
    Score as Score,
    Training as Training,
)
from jaxdend.tasks.logic import FUNCTIONS as FUNCTIONS, Logic as Logic, truth_table as truth_table
from jaxdend.tasks.placement import along as along, choose as choose, path as path
from jaxdend.tasks.registry import TASKS as TASKS, make_task as make_task
from jaxdend.tasks.result import TaskResult as TaskResult
from jaxdend.tasks.train import (
    evaluate as evaluate,
    robustness as robustness,
    screen as screen,
    train as train,
)
