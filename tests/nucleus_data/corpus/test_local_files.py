import pytest

from nucleus_data.corpus import local_files


def test_the_end_of_a_file_is_read(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"0123456789")
    assert local_files.read_end(str(file), 4) == b"6789"
    assert local_files.read_end(str(file), 11) == b"0123456789"
    file.write_bytes(b"")
    assert local_files.read_end(str(file), 4) == b""
    with pytest.raises(FileNotFoundError):
        local_files.read_end(str(tmp_path / "none"), 4)
    with pytest.raises(IsADirectoryError):
        local_files.read_end(str(tmp_path), 4)


def test_the_names_in_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"")
    assert sorted(local_files.names(str(tmp_path))) == ["a", "b"]
    assert local_files.names(str(tmp_path / "b")) == ["b"]
    with pytest.raises(FileNotFoundError):
        local_files.names(str(tmp_path / "none"))
