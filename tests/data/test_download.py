"""Download against a real server on loopback that does what servers and networks do."""

import contextlib
import email.utils
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.data.download import download, present, verify
from cellcount_lib.data.fetch import store, transfer
from cellcount_lib.data.fetch.extract import extract
from cellcount_lib.data.manifest import manifest
from cellcount_lib.errors import DataError, InputError
from tests.data import archives
from tests.data.server import Resource, Server

ROOT = Path(__file__).resolve().parents[2]
FILES = archives.tiny()
ARCHIVE = archives.zipped(FILES)
SUM = sha256(ARCHIVE).hexdigest()
STEP = transfer.CHUNK  # what comes is kept in whole chunks


@pytest.fixture(autouse=True)
def _environment(tmp_path, monkeypatch):
    """Known datasets: the built-in ones and "tiny"; nothing of this machine's settings."""
    (tmp_path / "own").mkdir()
    archives.simple_manifest(tmp_path / "own", ARCHIVE)
    monkeypatch.setenv("CELLCOUNT_MANIFESTS", str(tmp_path / "own"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("CELLCOUNT_MIRROR", "CELLCOUNT_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def get(tmp_path):
    """Download "tiny" quickly; `get.said` are the lines that a person would have read."""

    class Get:
        root = tmp_path / "root"
        folder = root / "tiny"
        part = root / ".incoming" / "tiny" / "tiny.zip.part"

        def __init__(self):
            self.said = []

        def __call__(self, mirror, **options):
            asked = {"attempts": 3, "pause": 0.01, "timeout": 5.0} | options
            progress = asked.pop("progress", None)
            patience = transfer.Patience(**asked)
            said = self.said.append
            return download(
                "tiny",
                root=self.root,
                mirror=mirror,
                say=said,
                progress=progress,
                patience=patience,
            )

        def heard(self, text):
            return any(text in line for line in self.said)

    return Get()


def assert_complete(root: Path, *, files=None) -> None:
    """The folder holds exactly the archive's files and the three records, and loads."""
    files = FILES if files is None else files
    folder = root / "tiny"
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {*files, "dataset.json", "index.json", "files.sha256"}
    for name, content in files.items():
        assert (folder / name).read_bytes() == content
    assert [s.count for s in load("tiny", root=root)] == [2, 2]
    assert not (root / ".incoming" / "tiny").exists()


def refused(get, archive: bytes, says: str, **faults) -> None:
    """The archive is served, the error says what is wrong, and nothing is left in place."""
    resource = Resource(archive, **faults)
    with Server({"/tiny.zip": resource}) as server, pytest.raises(DataError, match=says):
        get(server.url)
    assert not get.folder.exists()


# --- the plain case --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/tiny/tiny.zip", "/tiny.zip"])
def test_download_from_a_mirror_url(get, path):
    with Server({path: Resource(ARCHIVE)}) as server:
        assert get(server.url + "/") == get.folder
    assert_complete(get.root)
    assert {a.encoding for a in server.asked} == {"identity"}
    receipt = json.loads((get.folder / "dataset.json").read_text())
    assert receipt["files"] == [
        {
            "name": "tiny.zip",
            "source": server.url + path,
            "sha256": SUM,
            "checksum": "published",
        }
    ]
    assert receipt["samples"] == 2
    assert not (get.root / ".checksums").exists()
    assert get.heard("Licence: CC0 1.0. Cite: Nobody (2024)")


def test_the_publisher_is_asked_when_there_is_no_mirror(get, tmp_path):
    with Server({"/x/tiny.zip": Resource(ARCHIVE)}) as server:
        files = [{"name": "tiny.zip", "url": f"{server.url}/x/tiny.zip", "sha256": SUM}]
        archives.simple_manifest(tmp_path / "own", ARCHIVE, files=files)
        get(None)
    assert_complete(get.root)


def test_environment_names_root_and_mirror(get, monkeypatch):
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        monkeypatch.setenv("CELLCOUNT_MIRROR", server.url)
        monkeypatch.setenv("CELLCOUNT_DATA", str(get.root))
        download("tiny", say=get.said.append)
    assert_complete(get.root)
    assert len(load("tiny", split="test")) == 1


@pytest.mark.parametrize("place", ["tiny/tiny.zip", "tiny.zip"])
@pytest.mark.parametrize("as_url", [False, True])
def test_mirror_folder_is_read_in_place(get, tmp_path, place, as_url):
    mirror = tmp_path / "my mirror"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(ARCHIVE)
    get(mirror.as_uri() if as_url else mirror)
    assert_complete(get.root)
    assert (mirror / place).read_bytes() == ARCHIVE


def test_mirror_without_the_file_says_where_it_looked(get, tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(DataError, match=r"expected .*m/tiny/tiny\.zip or .*m/tiny\.zip"):
        get(tmp_path / "m")
    with pytest.raises(DataError, match="mirror: expected a folder or an http"):
        get(tmp_path / "not there")
    assert not get.folder.exists()


def test_what_is_there_is_not_downloaded_again(get):
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        get(server.url)
        asked = len(server.asked)
        get(server.url)
        assert len(server.asked) == asked
    assert get.heard("already in")


def test_a_folder_of_somebody_else_is_not_touched(get):
    get.folder.mkdir(parents=True)
    (get.folder / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="was not made by this command"):
        get("http://127.0.0.1:9")
    assert [p.name for p in get.folder.iterdir()] == ["mine.txt"]


def test_simulated_and_unknown_names(get, tmp_path):
    with pytest.raises(InputError, match="drawn when it is read"):
        download("simulated", root=get.root)
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        download("tinny", root=get.root)
    assert not get.root.exists()


# --- connections that break --------------------------------------------------------------------


def test_dropped_connections_are_resumed_within_one_command(get):
    resource = Resource(ARCHIVE, drops=[10 * STEP, 15 * STEP + 9, 1])
    with Server({"/tiny.zip": resource}) as server:
        get(server.url)
    assert_complete(get.root)
    asked = [a.range for a in server.asked if a.path == "/tiny.zip"]
    first, second = f"bytes={10 * STEP}-", f"bytes={25 * STEP}-"
    assert asked == [None, first, second, second]
    assert {a.if_range for a in server.asked if a.range} == {'"first"'}
    assert get.heard(f"continuing at {25 * STEP:,} bytes")


def test_progress_bar_counts_the_bytes_that_came_before(get, capsys):
    resource = Resource(ARCHIVE, drops=[40 * STEP])
    with Server({"/tiny.zip": resource}) as server:
        get(server.url, progress=True)
    shown = capsys.readouterr().err.replace("\r", "\n").splitlines()
    bars = [line for line in shown if line.startswith("tiny.zip:")]
    total = f"{len(ARCHIVE) / 1000:.0f}k"
    assert any(f"{40 * STEP / 1000:.0f}k/{total}" in line for line in bars), bars
    assert "100%" in bars[-1]
    assert f"{total}/{total}" in bars[-1]


def test_attempts_without_progress_end_and_the_next_command_goes_on(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, drops=[20 * STEP, 0, 0, 0, 0, 0])}) as server:
        with pytest.raises(DataError, match="gave up after 3 attempts without progress") as caught:
            get(server.url)
        assert "run the same command to continue" in str(caught.value)
        assert len([a for a in server.asked if a.path == "/tiny.zip"]) == 3
        assert not get.folder.exists()
        assert get.part.read_bytes() == ARCHIVE[: 20 * STEP]
        server.resources["/tiny.zip"].drops = []
        get(server.url)
        assert server.asked[-1].range == f"bytes={20 * STEP}-"
    assert_complete(get.root)


def test_a_server_without_range_sends_everything_again_and_that_is_said(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, ranges=False, drops=[10 * STEP])}) as server:
        get(server.url)
        assert [a.status for a in server.asked if a.path == "/tiny.zip"] == [200, 200]
    assert_complete(get.root)
    assert get.heard("the server cannot resume; starting again from the beginning")


@pytest.mark.parametrize("if_range", [True, False], ids=["If-Range kept", "If-Range ignored"])
def test_a_file_that_changed_in_between_is_not_glued_together(get, tmp_path, if_range):
    other = archives.zipped(archives.tiny(seed=1))
    resource = Resource(other, etag='"old"', if_range=if_range, drops=[12 * STEP, 0, 0])
    with Server({"/tiny.zip": resource}) as server:
        with pytest.raises(DataError, match="gave up"):
            get(server.url)
        server.resources["/tiny.zip"] = Resource(ARCHIVE, etag='"new"', if_range=if_range)
        get(server.url)
    assert_complete(get.root)
    assert get.heard("the file on the server has changed")


@pytest.mark.parametrize(
    ("etag", "modified", "sent"),
    [
        (None, "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ('W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
        (None, None, None),
        ('"strong"', "Wed, 21 Oct 2015 07:28:00 GMT", '"strong"'),
    ],
)
def test_the_condition_sent_is_the_strongest_there_is(get, etag, modified, sent):
    resource = Resource(ARCHIVE, etag=etag, modified=modified, drops=[10 * STEP])
    with Server({"/tiny.zip": resource}) as server:
        get(server.url)
    assert (server.asked[-1].range, server.asked[-1].if_range) == (f"bytes={10 * STEP}-", sent)
    assert_complete(get.root)


def test_another_range_than_asked_for_is_refused(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, wrong_start=True, drops=[10 * STEP])}) as server:
        get(server.url)
        statuses = [a.status for a in server.asked if a.path == "/tiny.zip"]
        assert statuses == [200, 206, 200]
    assert get.heard(f"asked for bytes from {10 * STEP}, the server sent 'bytes {10 * STEP + 1}-")
    assert_complete(get.root)


def test_a_part_that_is_longer_than_the_file_is_thrown_away(get):
    longer = archives.zipped(archives.tiny(seed=2, size=500))
    resource = Resource(longer, etag=None, drops=[len(ARCHIVE) + 2 * STEP, 0, 0])
    with Server({"/tiny.zip": resource}) as server:
        with pytest.raises(DataError, match="gave up"):
            get(server.url)
        server.resources["/tiny.zip"] = Resource(ARCHIVE, etag=None)
        get(server.url)
        assert [a.status for a in server.asked][-2:] == [416, 200]
    assert_complete(get.root)


def test_a_part_without_its_notes_is_not_trusted(get):
    get.part.parent.mkdir(parents=True)
    get.part.write_bytes(b"x" * 1000)
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        get(server.url)
    assert [a.range for a in server.asked] == [None, None]
    assert_complete(get.root)


def test_a_file_without_length_is_taken_to_its_end(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, length=False)}) as server:
        get(server.url)
    assert_complete(get.root)


def test_all_bytes_there_but_not_yet_renamed(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, drops=[10 * STEP, 0, 0])}) as server:
        with pytest.raises(DataError, match="gave up"):
            get(server.url)
        get.part.write_bytes(ARCHIVE)
        before = len(server.asked)
        get(server.url)
        assert [a.path for a in server.asked[before:]] in ([], ["/tiny/tiny.zip"])
    assert_complete(get.root)


def test_silence_is_not_waited_for_for_ever(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, silences=[1.5])}) as server:
        get(server.url, timeout=0.3)
    assert get.heard("the server was silent for too long")
    assert_complete(get.root)


def test_nobody_listens(get):
    with Server({}) as server:
        closed = server.url
    with pytest.raises(DataError, match=r"gave up after 2 attempts.*connection refused.*--mirror"):
        get(closed, attempts=2)
    assert not get.folder.exists()


# --- answers other than the file ---------------------------------------------------------------


def test_404_names_every_address(get):
    with Server({}) as server, pytest.raises(DataError) as caught:
        get(server.url)
    assert f"no such file (404) at {server.url}/tiny/tiny.zip or at {server.url}/tiny.zip" in str(
        caught.value
    )
    assert [a.status for a in server.asked] == [404, 404], "a 404 is not retried"


def test_503_is_waited_for_as_long_as_the_server_asks(get, monkeypatch):
    slept = []
    monkeypatch.setattr(transfer.time, "sleep", slept.append)
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    statuses = [
        (503, {"Retry-After": "7"}),
        (503, {"Retry-After": date}),
        (429, {"Retry-After": "86400"}),
        (503, {}),
        (502, {"Retry-After": "soon"}),
    ]
    with Server({"/tiny/tiny.zip": Resource(ARCHIVE, statuses=statuses)}) as server:
        get(server.url, attempts=6, pause=1.0)
    assert slept[0] == 7
    assert 25 < slept[1] <= 30
    assert slept[2:] == [60, 8, 16], "a day is too long; without the header, doubling from 1 s"
    assert get.heard("the server answered 503 Service Unavailable; trying again in 7 s")
    assert_complete(get.root)


@pytest.mark.parametrize("status", [401, 403])
def test_other_refusals_end_at_once(get, status):
    with Server({"/tiny/tiny.zip": Resource(ARCHIVE, statuses=[(status, {})])}) as server:
        with pytest.raises(DataError, match=f"the server answered {status}"):
            get(server.url)
        assert len(server.asked) == 1


def test_redirects_are_followed(get):
    moved = Resource(b"", statuses=[(302, {"Location": "/new/tiny.zip"})])
    with Server({"/tiny/tiny.zip": moved, "/new/tiny.zip": Resource(ARCHIVE)}) as server:
        get(server.url)
    assert_complete(get.root)


def test_wrong_bytes_are_set_aside_and_never_unpacked(get):
    wrong = ARCHIVE[:-1] + bytes([ARCHIVE[-1] ^ 1])
    found = sha256(wrong).hexdigest()
    with Server({"/tiny.zip": Resource(wrong)}) as server:
        with pytest.raises(DataError, match="run the command again") as caught:
            get(server.url)
        assert f"SHA-256 {SUM} expected (published), {found} found" in str(caught.value)
        aside = get.part.with_name("tiny.zip.unexpected")
        assert aside.read_bytes() == wrong
        assert str(aside) in str(caught.value)
        assert not get.folder.exists()
        server.resources["/tiny.zip"] = Resource(ARCHIVE)
        get(server.url)
    assert_complete(get.root)


def test_wrong_bytes_in_a_mirror_folder_stay_where_they_are(get, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tiny.zip").write_bytes(b"other")
    with pytest.raises(DataError, match=r"kept as .*m/tiny\.zip"):
        get(tmp_path / "m")
    assert (tmp_path / "m" / "tiny.zip").read_bytes() == b"other"


def test_more_bytes_than_the_dataset_can_have_are_not_taken(get, tmp_path):
    archives.simple_manifest(tmp_path / "own", ARCHIVE, unpacked_mb=1)
    big = bytes(3_000_000)
    for length in (True, False):
        refused(get, big, "at most 1,000,000 bytes|more than 1,000,000", length=length)
        # where the server says how much it has, nothing is taken
        assert not get.part.exists() if length else 0 < get.part.stat().st_size <= 1_000_000


@pytest.mark.parametrize("length", [True, False])
def test_a_file_may_have_as_many_bytes_as_are_allowed_and_not_one_more(tmp_path, length):
    target = tmp_path / "tiny.zip"
    common = [lambda line: None, False, transfer.Patience(attempts=1)]
    with Server({"/tiny.zip": Resource(ARCHIVE, length=length)}) as server:
        urls = [f"{server.url}/tiny.zip"]
        with pytest.raises(DataError, match=f"{len(ARCHIVE) - 1:,} bytes"):
            transfer.fetch(urls, target, len(ARCHIVE) - 1, *common)
        assert not target.exists()
        transfer.fetch(urls, target, len(ARCHIVE), *common)
    assert target.read_bytes() == ARCHIVE


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    target, synced = tmp_path / "tiny.zip", []

    def fsync(number):
        assert not target.exists()
        synced.append(os.fstat(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        common = [lambda line: None, False, transfer.Patience(attempts=1)]
        transfer.fetch([f"{server.url}/tiny.zip"], target, len(ARCHIVE), *common)
    assert [(s.st_ino, s.st_size) for s in synced] == [(target.stat().st_ino, len(ARCHIVE))]


# --- no published checksum -----------------------------------------------------------------------


def test_without_published_checksum_the_one_seen_is_recorded_and_compared(get, tmp_path):
    archives.simple_manifest(tmp_path / "own", ARCHIVE, published=False)
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        get(server.url)
        assert get.heard("no checksum is published, so it was not verified against one")
        assert get.heard(f"recording the one seen: {SUM}")
        receipt = json.loads((get.folder / "dataset.json").read_text())
        assert receipt["files"][0]["checksum"] == "recorded, none is published"
        verify("tiny", root=get.root, say=get.said.append)
        assert get.heard("compared with the one seen at download")

        shutil.rmtree(get.folder)
        server.resources["/tiny.zip"] = Resource(archives.zipped(archives.tiny(seed=5)))
        with pytest.raises(DataError, match=r"of the file seen on \d{4}-\d\d-\d\d") as caught:
            get(server.url)
        note = get.root / ".checksums" / "tiny.json"
        assert f"remove {note} and try again" in str(caught.value)
        assert not get.folder.exists()
        note.unlink()
        get(server.url)
    assert_complete(get.root, files=archives.tiny(seed=5))


def test_a_web_page_instead_of_the_archive_is_not_recorded(get, tmp_path):
    archives.simple_manifest(tmp_path / "own", ARCHIVE, published=False)
    with Server({"/tiny.zip": Resource(b"<!DOCTYPE html><p>Please log in")}) as server:
        with pytest.raises(
            DataError, match=r"not a zip archive.*begins with b'<!DOCTYPE html>"
        ) as e:
            get(server.url)
        assert str(get.part.with_name("tiny.zip.unexpected")) in str(e.value)
        assert not (get.root / ".checksums").exists()
        assert not get.folder.exists()
        server.resources["/tiny.zip"] = Resource(ARCHIVE)
        get(server.url)
    assert_complete(get.root)


# --- disk ----------------------------------------------------------------------------------------

Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_noticed_before_the_download(get, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12, 10**6))
    refused(get, ARCHIVE, r"downloading tiny\.zip needs 0\.07 GB .* 0\.00 GB free")
    assert not get.part.exists()


def test_a_full_disk_is_noticed_before_unpacking(get, monkeypatch, tmp_path):
    (tmp_path / "tiny.zip").write_bytes(ARCHIVE)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12, 64 << 20))
    with pytest.raises(DataError, match=r"unpacking tiny\.zip needs .*--root"):
        get(tmp_path)
    assert not get.folder.exists()
    assert not (get.root / ".incoming" / "tiny" / "unpacked").exists()


def test_a_full_disk_does_not_cost_the_archive(get, tmp_path, monkeypatch):
    """Without a published checksum too: nothing is wrong with the file."""
    archives.simple_manifest(tmp_path / "own", ARCHIVE, published=False)
    free = iter([10**12, 1000])
    with Server({"/tiny/tiny.zip": Resource(ARCHIVE)}) as server:
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 0, next(free)))
        with pytest.raises(DataError, match="unpacking"):
            get(server.url)
        monkeypatch.undo()
        monkeypatch.setenv("CELLCOUNT_MANIFESTS", str(tmp_path / "own"))
        get(server.url)
        assert len(server.asked) == 1
    assert_complete(get.root)


def test_a_root_that_cannot_be_written(get):
    get.root.parent.joinpath("root").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"root.*cannot be read or written"):
        get("http://127.0.0.1:9")


def test_a_disk_that_fills_up_while_unpacking(get, monkeypatch, tmp_path):
    (tmp_path / "tiny.zip").write_bytes(ARCHIVE)
    real = Path.open

    def full(self, mode="r", *arguments, **options):
        if mode == "xb":
            raise OSError(28, "No space left on device", str(self))
        return real(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        DataError, match=r"a\.png: cannot be read or written \(No space left on device"
    ):
        get(tmp_path)
    assert not get.folder.exists()
    assert not (get.root / ".incoming" / "tiny" / "unpacked").exists()


def test_a_disk_that_fills_up_while_writing(get, monkeypatch):
    class Full(io.BytesIO):
        def write(self, chunk):
            raise OSError(28, "No space left on device")

    real = Path.open

    def full(self, *arguments, **options):
        return Full() if self.suffix == ".part" else real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    refused(get, ARCHIVE, r"tiny\.zip\.part: cannot be written .No space left")


# --- archives that mean harm ---------------------------------------------------------------------


def hostile(kind: str, tmp_path: Path) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    says = "would be written outside"
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/a.png", FILES["images/a.png"])
        info = zipfile.ZipInfo("images/b.png")
        content = b"harm"
        if kind == "parent":
            info = zipfile.ZipInfo("images/../../escaped.txt")
        elif kind == "backslashes":
            info = zipfile.ZipInfo("images\\..\\..\\escaped.txt")
        elif kind == "absolute":
            info = zipfile.ZipInfo(f"{tmp_path}/escaped.txt")
        elif kind == "drive":
            info = zipfile.ZipInfo("C:\\escaped.txt")
        elif kind == "link":
            info.external_attr, content, says = 0o120777 << 16, b"/etc/passwd", "is a link"
        elif kind == "device":
            info.external_attr, says = 0o020666 << 16, "is a special file"
        elif kind == "pipe":
            info.external_attr, says = 0o010666 << 16, "is a special file"
        elif kind == "twice":
            info, says = zipfile.ZipInfo("images/a.png"), "two members at the place of images/a.png"
        elif kind == "file as folder":
            info, says = zipfile.ZipInfo("images/a.png/b.png"), "two members at the place"
        elif kind == "bomb":
            content, says = bytes(50_000_000), "at most 5 MB unpacked, found 50 MB"
            info.compress_type = zipfile.ZIP_DEFLATED
        elif kind == "reserved":
            info, says = zipfile.ZipInfo("dataset.json"), r"dataset\.json, which is reserved"
        with contextlib.suppress(UserWarning):
            archive.writestr(info, content)
    return buffer.getvalue(), says


def lying_bomb() -> bytes:
    """An archive whose directory says 1,000 bytes for a member that unpacks to 50 MB."""
    size = 50_000_000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/a.png", bytes(size))
    return buffer.getvalue().replace(struct.pack("<L", size), struct.pack("<L", 1000))


KINDS = ["parent", "backslashes", "absolute", "drive", "link", "device", "pipe", "twice"]
KINDS += ["file as folder", "bomb", "reserved"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_archives_leave_nothing(get, tmp_path, kind):
    archive, says = hostile(kind, tmp_path)
    archives.simple_manifest(tmp_path / "own", archive)
    refused(get, archive, says)
    assert not (get.root / ".incoming" / "tiny" / "unpacked").exists()
    assert not list(tmp_path.rglob("escaped*"))


def test_an_archive_that_lies_about_its_size(tmp_path):
    (tmp_path / "a.zip").write_bytes(lying_bomb())
    with pytest.raises(DataError, match=r"damaged|has more"):
        extract(tmp_path / "a.zip", tmp_path / "out", most_bytes=10_000_000)
    written = sum(p.stat().st_size for p in tmp_path.rglob("*.png"))
    assert written <= 1000


def test_the_bound_holds_for_all_archives_together(get, tmp_path):
    halves = [{n: c for n, c in FILES.items() if n.startswith(part)} for part in ("im", "la")]
    halves[1] |= {"labels/notes.txt": bytes(900_000)}
    made = [archives.zipped(half) for half in halves]
    (tmp_path / "m").mkdir()
    for number, content in enumerate(made):
        (tmp_path / "m" / f"{number}.zip").write_bytes(content)
    files = [
        {"name": f"{i}.zip", "url": "http://127.0.0.1:9/x", "sha256": sha256(c).hexdigest()}
        for i, c in enumerate(made)
    ]
    archives.simple_manifest(tmp_path / "own", b"", files=files, unpacked_mb=1)
    with pytest.raises(DataError, match=r"1\.zip: expected at most 0 MB unpacked, found 1 MB"):
        get(tmp_path / "m")
    archives.simple_manifest(tmp_path / "own", b"", files=files, unpacked_mb=2)
    get(tmp_path / "m")
    assert_complete(get.root, files=halves[0] | halves[1])


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr("cellcount_lib.data.fetch.extract.MOST_MEMBERS", 3)
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    with pytest.raises(DataError, match="at most 3 members, found 4"):
        extract(tmp_path / "a.zip", tmp_path / "out", most_bytes=10_000_000)
    assert not (tmp_path / "out").exists()


def test_encrypted_member(tmp_path):
    # bit 0 of the flags, in the local header and in the directory
    content = bytearray(archives.zipped({"a.txt": b"secret"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"'a\.txt' is encrypted"):
        extract(tmp_path / "a.zip", tmp_path / "out", most_bytes=1000)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_truncated_archive(get, tmp_path, cut):
    short = ARCHIVE[: int(len(ARCHIVE) * cut)]
    archives.simple_manifest(tmp_path / "own", short)
    refused(get, short, f"damaged or not a zip .* it has {len(short):,} bytes")


def test_an_archive_with_a_flipped_bit_inside(get, tmp_path):
    bad = bytearray(ARCHIVE)
    bad[len(bad) // 4] ^= 1
    archives.simple_manifest(tmp_path / "own", bytes(bad))
    refused(get, bytes(bad), r"damaged|cannot be unpacked")


def test_an_archive_of_something_else_is_refused_before_it_gets_its_place(get, tmp_path):
    other = archives.zipped({"readme.txt": b"hello"})
    archives.simple_manifest(tmp_path / "own", other)
    refused(get, other, "expected images/ and labels/ .*found readme.txt")


# --- verify and list -----------------------------------------------------------------------------


@pytest.fixture
def here(get):
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        get(server.url)
    return get


def test_verify_finds_a_changed_byte_and_a_missing_file(here):
    assert verify("tiny", root=here.root, say=here.said.append) == len(FILES) + 1
    victim = here.folder / "images" / "b.png"
    content = bytearray(victim.read_bytes())
    content[1000] ^= 1
    victim.write_bytes(content)
    with pytest.raises(DataError, match=r"1 files changed \(images/b\.png\), 0 missing"):
        verify("tiny", root=here.root)
    victim.unlink()
    with pytest.raises(DataError, match=r"0 files changed \(none\), 1 missing \(images/b\.png\)"):
        verify("tiny", root=here.root)
    with pytest.raises(DataError, match=r"images/b\.png: expected an image file, found nothing"):
        load("tiny", root=here.root)[1]


def test_verify_finds_changed_records(here, tmp_path):
    listing = here.folder / "files.sha256"
    before = listing.read_text()
    listing.write_text(before.replace("images/a.png", "images/b.png"))
    with pytest.raises(DataError, match=r"files\.sha256: missing or changed"):
        verify("tiny", root=here.root)
    listing.write_text(before)
    archives.simple_manifest(tmp_path / "own", b"another archive")
    with pytest.raises(DataError, match=r"unpacked from another tiny\.zip than expected"):
        verify("tiny", root=here.root)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this machine")
def test_the_list_of_checksums_is_one_that_sha256sum_reads(here):
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "files.sha256"],
        cwd=here.folder,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count(": OK") == len(FILES) + 1


def test_verify_what_is_not_there(get):
    with pytest.raises(DataError, match="get it with: cellcount download tiny"):
        verify("tiny", root=get.root)
    with pytest.raises(InputError, match="nothing to verify"):
        verify("simulated", root=get.root)


@pytest.mark.parametrize("record", ["dataset.json", "index.json"])
@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_damaged_records_say_what_to_do(here, record, content):
    (here.folder / record).write_text(content)
    with pytest.raises(DataError, match=r"remove .* download again"):
        load("tiny", root=here.root)


def test_what_is_known_of_a_dataset_and_where_it_is(here):
    assert manifest("fnc-v1").checksum == "recorded"
    assert manifest("fnc-v1").download_mb == 414
    assert manifest("bbbc039").checksum == "published"
    assert manifest("simulated").checksum == ""
    states = present(here.root)
    assert states["tiny"] == "ready"
    assert states["simulated"].startswith("ready")
    assert states["vgg-cells"] == "not here: cellcount download vgg-cells"


def test_fingerprint_of_a_download_follows_the_archive(here, tmp_path):
    first = load("tiny", root=here.root).fingerprint
    assert load("tiny", root=here.root, split="train").fingerprint == first
    other = archives.zipped(archives.tiny(seed=3))
    archives.simple_manifest(tmp_path / "own", other)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tiny.zip").write_bytes(other)
    download("tiny", root=tmp_path / "second", mirror=tmp_path / "m", say=here.said.append)
    assert load("tiny", root=tmp_path / "second").fingerprint != first


# --- real processes ------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "data_download.py"), *arguments]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", ["/tiny/tiny.zip", "/tiny.zip"])
def test_killed_in_the_middle_and_resumed(get, tmp_path, path):
    resource = Resource(ARCHIVE, rate=200_000)
    with Server({path: resource}) as server:
        arguments = ("tiny", "--mirror", server.url, "--root", str(get.root))
        process = subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                if get.part.exists() and get.part.stat().st_size > 100_000:
                    break
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
        assert not get.folder.exists()
        came = get.part.stat().st_size
        assert 100_000 < came < len(ARCHIVE)
        resource.rate = None
        before = len(server.asked)
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        resumed = [a for a in server.asked[before:] if a.path == path]
        assert [(a.range, a.if_range, a.status) for a in resumed] == [
            (f"bytes={came}-", '"first"', 206)
        ]
    assert done.stdout.strip() == str(get.folder)
    assert f"continuing at {came:,} bytes" in done.stderr
    assert_complete(get.root)


def test_killed_while_unpacking(get, tmp_path):
    """The archive is there; what was half unpacked is thrown away, and nothing is fetched again."""
    slow = (
        "import os, signal, sys\n"
        "from cellcount_lib.data import download\n"
        "from cellcount_lib.data.fetch import extract\n"
        "write, count = extract._write, []\n"
        "def dies(*a):\n"
        "    count.append(1)\n"
        "    if len(count) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return write(*a)\n"
        "extract._write = dies\n"
        "download.download('tiny', root=sys.argv[1], mirror=sys.argv[2])\n"
    )
    with Server({"/tiny.zip": Resource(ARCHIVE)}) as server:
        killed = subprocess.run(
            [sys.executable, "-c", slow, str(get.root), server.url],
            cwd=ROOT,
            capture_output=True,
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not get.folder.exists()
        half = get.root / ".incoming" / "tiny" / "unpacked"
        assert 0 < len([p for p in half.rglob("*") if p.is_file()]) < len(FILES)
        asked = len(server.asked)
        get(server.url)
        assert len(server.asked) == asked
    assert_complete(get.root)


def test_two_processes_at_once(get):
    with Server({"/tiny.zip": Resource(ARCHIVE, rate=300_000)}) as server:
        arguments = command("tiny", "--mirror", server.url, "--root", str(get.root))
        both = [
            subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        results = [(p.communicate(timeout=60), p.returncode) for p in both]
        assert [code for _, code in results] == [0, 0], results
        assert len([a for a in server.asked if a.path == "/tiny.zip"]) == 1
    waited = [err for (_, err), _ in results if "another process is downloading tiny" in err]
    assert len(waited) == 1
    assert_complete(get.root)


def test_threads_at_once(get):
    """flock is per open file, so it holds between threads of one process too."""
    errors = []

    def one(url):
        try:
            get(url)
        except Exception as error:
            errors.append(error)

    with Server({"/tiny.zip": Resource(ARCHIVE, rate=1_000_000)}) as server:
        threads = [threading.Thread(target=one, args=(server.url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len([a for a in server.asked if a.path == "/tiny.zip"]) == 1
    assert errors == []
    assert_complete(get.root)


def test_the_command(get, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tiny.zip").write_bytes(ARCHIVE)
    listed = run("--list", "--root", str(get.root), cwd=tmp_path)
    assert listed.returncode == 0
    assert "CC BY-SA 4.0" in listed.stdout
    assert "not here: cellcount download tiny" in listed.stdout
    done = run("tiny", "--root", str(get.root), "--mirror", str(tmp_path / "m"), cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(get.folder))
    checked = run("tiny", "--verify", "--root", str(get.root), cwd=tmp_path)
    assert checked.returncode == 0
    assert f"{len(FILES) + 1} files are unchanged since the download" in checked.stderr
    (get.folder / "images" / "a.png").write_bytes(b"")
    checked = run("tiny", "--verify", "--root", str(get.root), cwd=tmp_path)
    assert checked.returncode == 1
    assert checked.stderr.startswith("error: ")
    assert checked.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give the NAME of a dataset, or --list"),
        (("tinny",), "did you mean 'tiny'"),
        (("tiny", "--mirror", "no/such/folder"), "mirror: expected a folder"),
        (("simulated",), "nothing to download"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, says):
    (tmp_path / "cwd").mkdir()
    done = run(*arguments, cwd=tmp_path / "cwd")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not (tmp_path / "cwd" / "data" / "tiny").exists()


def test_both_commands_are_one_function():
    from cellcount_lib.cli import app
    from cellcount_lib.data.download_command import download_command

    assert download_command in [c.callback for c in app.registered_commands]


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, cellcount_lib.data.download, cellcount_lib.data.datasets\n"
        "print(*sorted({'torch', 'skimage', 'pandas', 'scipy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_a_source_survives_the_index(here):
    """What is stored and read back is what the scan found."""
    from cellcount_lib.data.layouts import scan

    info = manifest("tiny")
    stored, sums = store.stored_sources(here.folder, info)
    assert stored == scan(here.folder, info)
    assert sums == [SUM]
    assert [i.split for i in stored].count("test") == 1
    np.testing.assert_array_equal(load("tiny", root=here.root)[0].labels[10:20, 10:20], 1)
