"""Reading and writing of files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from common import files
from common.cli import InputError
from common.files import check_writable, only_one, read_bytes, read_object, read_text, write

ROOT = Path(__file__).parent.parent


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write(path, "old")
    write(path, b"new")
    assert path.read_text() == "new" and names(tmp_path) == ["file.txt"]
    for interruption in (OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)):
        def fail(*_, problem=interruption):
            raise problem

        monkeypatch.setattr(files.os, "replace", fail)
        with pytest.raises((InputError, KeyboardInterrupt, SystemExit)):
            write(path, "newer")
        assert path.read_text() == "new" and names(tmp_path) == ["file.txt"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "out.csv"
    code = ("import os, signal; from common import files; "
            "files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
            f"files.write(files.Path({str(path)!r}), 'x')")
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == -9
    assert len(names(tmp_path)) == 1 and names(tmp_path)[0].endswith(".part")
    (tmp_path / ".out.csv.notes").write_text("somebody's")
    write(path, "whole")
    assert names(tmp_path) == [".out.csv.notes", "out.csv"]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    problems = []

    def many(text):
        try:
            for _ in range(100):
                write(tmp_path / "file", text * 1000)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=many, args=(text,)) for text in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (not problems and set((tmp_path / "file").read_text()) in ({"a"}, {"b"})
            and names(tmp_path) == ["file"])


def test_links_are_followed_and_permissions_stay(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real/file", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("real/file")
    write(link, "new")
    assert link.is_symlink() and target.read_text() == "new" and stat.S_IMODE(target.stat().st_mode) == 0o640
    fresh = tmp_path / "fresh"
    write(fresh, "")
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_devices_and_pipes_are_written_into(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(InputError, match="fifo"):  # without a reader: an error, not a hang
        write(fifo, "text")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write(fifo, "text")
    assert os.read(reader, 9) == b"text" and stat.S_ISFIFO(fifo.stat().st_mode)
    os.close(reader)
    write(Path(os.devnull), "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("name", [".", "folder", "absent/file", "plain/file", "plain/deeper/file"])
def test_places_that_cannot_be_written_are_named_before_and_after(name, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    monkeypatch.chdir(tmp_path)
    for attempt in (check_writable, lambda path: write(path, "x")):
        with pytest.raises(InputError, match=name.split("/")[0] if name != "." else "folder"):
            attempt(Path(name))
    assert names(tmp_path) == ["folder", "plain"]
    with pytest.raises(InputError, match="plain"):
        files.make_folder(tmp_path / "plain/deeper")


def test_only_whole_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf{}")
    for name in ("fifo", "absent", "."):
        with pytest.raises(InputError, match=name):
            read_bytes(tmp_path / name)
    with pytest.raises(InputError, match="UTF-8"):
        read_text(tmp_path / "latin")
    assert read_object(tmp_path / "bom") == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "3", '{"a": NaN}', '{"a": Infinity}',
                                  "[" * 100_000, "9" * 5000, "\0"])
def test_json_that_is_no_object_is_named(text, tmp_path):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json is damaged"):
        read_object(tmp_path / "card.json")


def test_a_folder_is_held_by_one(tmp_path):
    code = f"from common.files import *; h = only_one(Path({str(tmp_path)!r}), 'it trains'); h.__enter__()"
    with only_one(tmp_path, "it trains"):
        result = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT,
                                capture_output=True, text=True)
        assert "is in use: it trains" in result.stderr
    with only_one(tmp_path, "it trains"):
        assert names(tmp_path) == []
