from pathlib import Path

from nucleus_data.runner.cwd import stand_somewhere


def test_a_process_whose_folder_is_gone_gets_another(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    stand_somewhere()
    assert Path.cwd().is_dir()


def test_a_folder_that_is_there_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stand_somewhere()
    assert Path.cwd() == tmp_path
