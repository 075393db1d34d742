"""The script that compares a folder of morphologies with NEURON."""

import csv
import importlib.util
from pathlib import Path

import jax
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_morphologies.py"
SWC = "1 1 0 0 0 5 -1\n2 3 5 0 0 1 1\n3 3 55 0 0 1 2\n4 3 90 30 0 0.5 3\n5 3 90 -30 0 0.5 3\n"
ASC = '("CellBody" (5 0 0 .1) (1 3 0 .1) (-6 0 0 .1))\n((Custom) (5 0 0 2) (50 0 0 2))\n'


@pytest.fixture(scope="module")
def run():
    """The script's `main`, which gives its exit status."""
    pytest.importorskip("neuron")
    spec = importlib.util.spec_from_file_location("check_morphologies", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: module.main([str(x) for x in arguments])


def test_table_of_agreement(run, tmp_path, capfd):
    folder = tmp_path / "cells"
    (folder / "more").mkdir(parents=True)
    (folder / "good.swc").write_text(SWC)
    (folder / "more" / "label.asc").write_text(ASC)
    (folder / "worse.swc").write_text(SWC + "6 3 9\n")  # a line that NEURON passes over
    (folder / "note.txt").write_text("no morphology")
    table = tmp_path / "table.csv"
    exact = bool(jax.config.jax_enable_x64)  # single precision is not enough to agree
    assert run(folder, "--out", table, *(["--resistance"] if exact else [])) == 1
    assert "     1  equal, warned\n" in capfd.readouterr().out
    with table.open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["good.swc"]["verdict"] == "equal"
    if exact:
        ours, theirs = map(float, rows["good.swc"]["resistance"].split("/"))
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert rows["more/label.asc"]["verdict"] == "equal, warned"
    assert "(Custom)" in rows["more/label.asc"]["remarks"]
    assert rows["worse.swc"]["verdict"] == "jaxdend refuses"
    assert "repair='lines'" in rows["worse.swc"]["remarks"]
    assert len(rows) == 3


def test_an_empty_folder_is_refused(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path)
    assert "holds no file that ends in .swc" in capsys.readouterr().err
