from nucleus_model.data.local_files import LocalFiles


def never():
    raise AssertionError("there is a copy")


def test_a_copy_is_made_once_and_shared(tmp_path):
    one, other = LocalFiles(tmp_path, 100), LocalFiles(tmp_path, 100)
    assert one.get("a/b", lambda: b"abc") == b"abc"
    assert one.get("a/b", never) == b"abc"
    assert other.get("a/b", never) == b"abc"
    assert (one.made, other.made) == (1, 0)


def test_the_bound_holds_and_the_one_used_longest_ago_leaves(tmp_path):
    files = LocalFiles(tmp_path, 100)
    for name in "abc":
        files.get(name, lambda: b"x" * 40)
        files.get("a", lambda: b"x" * 40)
        assert files.bytes <= 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    assert len(files.get("large", lambda: b"y" * 101)) == 101
    assert not files.has("large")


def test_a_copy_that_another_removed_is_made_again(tmp_path):
    files, other = LocalFiles(tmp_path, 100), LocalFiles(tmp_path, 100)
    held = files.get("a", lambda: b"abc")
    (tmp_path / "a").unlink()
    assert held == b"abc"
    assert other.get("a", lambda: b"abc") == b"abc"


def test_copies_of_earlier_runs_count(tmp_path):
    LocalFiles(tmp_path, 100).get("old", lambda: b"x" * 80)
    files = LocalFiles(tmp_path, 100)
    files.get("new", lambda: b"x" * 60)
    files.trim()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
