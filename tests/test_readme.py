"""Every ```python block of the README runs, in order, in one namespace."""

import re
import shutil

import matplotlib.pyplot as plt
import pytest

from helpers import ROOT

README = ROOT / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
def test_readme_examples_run(tmp_path, monkeypatch, bmtk_swc):
    """The blocks read `cell.swc` from the working directory."""
    shutil.copy(bmtk_swc("Rorb_325404214_m"), tmp_path / "cell.swc")
    monkeypatch.chdir(tmp_path)
    assert blocks()
    namespace: dict = {"__name__": "readme"}
    for number, block in enumerate(blocks(), start=1):
        exec(compile(block, f"README.md block {number}", "exec"), namespace)
    plt.close("all")


def test_first_example_is_short():
    assert len(blocks()[0].strip().splitlines()) <= 15


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing
