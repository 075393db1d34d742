"""Progress where there is no terminal: short lines, few of them."""

import subprocess
import sys
import time

import pytest

from jaxdend import _bars
from jaxdend._bars import progress_bar


def test_lines_at_the_beginning_and_the_end(capsys):
    with progress_bar(1000, "train", "step", show=True) as bar:
        for _ in range(1000):
            bar.set_postfix(loss="0.5", refresh=False)
            bar.update(1)
    shown = capsys.readouterr()
    lines = shown.err.split("\n")
    assert shown.out == ""
    assert "\r" not in shown.err
    assert lines[0].startswith("train: 0/1000 steps")
    assert lines[1].startswith("train: 1000/1000 steps")
    assert lines[1].endswith("loss=0.5")
    assert lines[2:] == [""]
    assert max(map(len, lines)) <= 100


def test_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(_bars, "_EVERY", 0.05)
    with progress_bar(10**9, "fit", "step", show=True, initial=7) as bar:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            bar.update(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("fit: 7/1000000000 steps")
    assert 3 <= len(lines) <= 9
    assert len({line.split(",")[0] for line in lines}) == len(lines)


def test_a_process_that_only_imports_the_kernel_is_no_notebook(capsys):
    import ipykernel.kernelapp  # noqa: F401

    with progress_bar(2, "fit", "step", show=True) as bar:
        bar.update(2)
    assert "\r" not in capsys.readouterr().err


def test_a_notebook_gets_a_bar():
    code = """
from ipykernel.kernelapp import IPKernelApp
IPKernelApp.instance()
from jaxdend._bars import progress_bar
with progress_bar(2, "fit", "step", show=True) as bar:
    bar.update(2)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"\r" in run.stderr


@pytest.mark.parametrize("show", [True, False])
def test_a_terminal_gets_a_bar_and_nobody_nothing(capsys, monkeypatch, show):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar(5, "fit", "step", show=show) as bar:
        bar.update(5)
    assert ("\r" in capsys.readouterr().err) == show
