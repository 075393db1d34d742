"""The example of a task of one's own."""

import re

import numpy as np

from jaxdend.tasks import base


def test_the_task_of_the_docstring_is_short_and_can_be_trained():
    (example,) = re.findall(r"^```python\n(.*?)^```", base.__doc__, re.M | re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 30
    namespace = {"__name__": "example"}
    exec(compile(example, "jaxdend/tasks/base.py", "exec"), namespace)
    result = namespace["result"]
    assert result.solved
    first, second = np.asarray(result.responses)
    assert first <= -61.0 < -59.0 <= second
