"""Files are there whole or not at all."""

import json

import numpy as np
import pytest

from jaxdend.files import write_npz, write_whole


def test_a_file_and_its_folder(tmp_path):
    path = write_whole(tmp_path / "new" / "a.txt", "µm\n")
    assert path.read_text(encoding="utf-8") == "µm\n"
    assert write_whole(path, b"\x00").read_bytes() == b"\x00"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_arrays_and_their_header(tmp_path):
    path = write_npz(tmp_path / "x", {"a": [1, None]}, {"v": np.arange(3.0)})
    assert path == tmp_path / "x.npz"
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(str(file["header"])) == {"a": [1, None]}
        np.testing.assert_array_equal(file["v"], np.arange(3.0))


def test_what_fails_leaves_the_old_file(tmp_path):
    path = write_npz(tmp_path / "x.npz", {}, {"v": np.zeros(3)})
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_npz(path, {"a": np.zeros(2)}, {})

    class Broken:
        def __array__(self, *args, **kwargs):
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        write_npz(path, {}, {"v": np.ones(3), "w": Broken()})
    assert path.read_bytes() == before
