"""A sweep that is killed again and again ends as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxdend.sweep import run_sweep
from small_sweep import TWO, files, make

SCRIPT = Path(__file__).parents[1] / "small_sweep.py"


def start(out, seconds):
    env = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    command = [sys.executable, str(SCRIPT), str(out), str(seconds)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_five_times(tmp_path):
    out, done = tmp_path / "killed", []
    run_sweep(make, TWO, tmp_path / "whole", chunk=10, progress=False)
    dice = random.Random(time.time_ns())
    for _ in range(5):
        process = start(out, 0.3)  # 34 units: ten seconds
        try:
            assert process.stdout.readline() == "begin\n"
            time.sleep(dice.uniform(0.0, 3.0))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        finally:
            process.kill()
        folder = out / "status" / "c"
        done.append(sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [])
    assert all(set(early) <= set(late) for early, late in zip(done, done[1:], strict=False))
    last = run_sweep(make, TWO, out, chunk=10, resume=True, progress=False)
    units = {int(name) for name in done[-1] if name.isdecimal()}
    assert last.computed == sum(3 if unit == 33 else 10 for unit in range(34) if unit not in units)
    assert last.complete
    assert files(out) == files(tmp_path / "whole")
