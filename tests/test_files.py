import os
import resource
import signal

import pytest

from cellcount_lib.errors import WriteError
from cellcount_lib.files import write_whole


def test_writes_text_and_bytes_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_whole(path, "µ\n")
    assert path.read_bytes() == "µ\n".encode()
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "f"
    write_whole(path, "before")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
        with pytest.raises(WriteError, match=r"2\.0 MB are needed; what was there before"):
            write_whole(path, b"x" * 2_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["f"]


def test_an_interruption_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_whole(path, "before")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["f"]


def test_a_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"Not a directory|File exists"):
        write_whole(tmp_path / "file" / "x", "a")


def test_writers_of_one_file_do_not_meet(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "f"
    texts = [str(i) * 200_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(lambda text: write_whole(path, text), texts))
            assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["f"]


def test_old_parts_are_swept_and_new_ones_are_not(tmp_path):
    old, new, other = (tmp_path / f".{n}.part" for n in ("f.1-a", "f.2-b", "g.1-a"))
    for part in (old, new, other):
        part.write_text("x")
    for part in (old, other):
        os.utime(part, (0, 0))
    write_whole(tmp_path / "f", "content")
    assert sorted(os.listdir(tmp_path)) == [".f.2-b.part", ".g.1-a.part", "f"]
