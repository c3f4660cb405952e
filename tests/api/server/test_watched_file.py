"""A file is read only if it may have changed."""

import os
import time

import pytest

from limiter.api.server.watched_file import WatchedFile

LONG_AGO = time.time() - 3600


class Counted:
    def __init__(self, path):
        self.path, self.reads = path, 0
        self.file = WatchedFile(path, self.read)

    def read(self, path):
        self.reads += 1
        return path.read_bytes()


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A file whose last change is long ago, by a clock that is ahead of the file's."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    return Counted(path)


def test_an_unchanged_file_is_read_once(counted):
    assert [counted.file.content() for _ in range(10)] == [b"one"] * 10
    assert counted.reads == 1


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path):
    """Another change at the same moment might have the same timestamps."""
    (tmp_path / "file").write_bytes(b"one")
    counted = Counted(tmp_path / "file")
    assert [counted.file.content() for _ in range(3)] == [b"one"] * 3
    assert counted.reads == 3


def test_a_change_of_the_same_size_with_the_old_modification_time_is_read(counted):
    os.utime(counted.path, (LONG_AGO, LONG_AGO))
    counted.file.content()
    counted.path.write_bytes(b"two")
    os.utime(counted.path, (LONG_AGO, LONG_AGO))
    assert counted.file.content() == b"two"


def test_another_target_of_a_link_is_read(counted, tmp_path):
    (tmp_path / "other").write_bytes(b"two")
    counted.path.unlink()
    counted.path.symlink_to("file-1")
    (tmp_path / "file-1").write_bytes(b"one")
    assert counted.file.content() == b"one"
    (tmp_path / "new").symlink_to("other")
    (tmp_path / "new").replace(counted.path)
    assert counted.file.content() == b"two"


def test_a_missing_file_is_an_error_of_the_reader_until_it_is_back(counted):
    counted.file.content()
    counted.path.unlink()
    with pytest.raises(FileNotFoundError):
        counted.file.content()
    counted.path.write_bytes(b"one")
    assert counted.file.content() == b"one"
