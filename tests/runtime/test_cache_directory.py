"""The cache directory: entries come back whole or not at all, whoever else writes, is killed, or has spoilt them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lazygrad.cache import info, main
from lazygrad.runtime.cache import ABANDONED, UNFINISHED, Store, open_store, unsafe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = open_store(str(tmp_path / "made" / "cache"), 1 << 20)
    assert found is not None
    return found


def names(store: Store) -> list[str]:
    return sorted(os.listdir(store.folder))


def test_entries_come_back_and_belong_to_their_owner(store: Store) -> None:
    assert store.read("a.plan") is None
    store.write("a.plan", b"first")
    store.write("b.kernel", b"")
    store.write("a.plan", bytes(range(256)) * 100)
    assert store.read("a.plan") == bytes(range(256)) * 100 and store.read("b.kernel") == b""
    assert names(store) == ["a.plan", "b.kernel"]
    assert stat.S_IMODE(os.stat(store.folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(store.folder, "a.plan")).st_mode) == 0o600


def test_what_is_spoilt_is_not_there(store: Store) -> None:
    """Every single cut and changed byte is noticed, and an entry under another name; writing again replaces it."""
    store.write("a.plan", b"some content")
    path = Path(store.folder, "a.plan")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.read("a.plan") is None
        changed = bytearray(whole)
        changed[length] ^= 16
        path.write_bytes(changed)
        assert store.read("a.plan") is None
    path.write_bytes(whole + b"x")
    assert store.read("a.plan") is None
    store.write("a.plan", b"some content")
    assert store.read("a.plan") == b"some content"
    path.rename(path.with_name("b.plan"))
    assert store.read("b.plan") is None
    os.mkfifo(path)  # reading it would wait for ever
    assert store.read("a.plan") is None


def test_directories_of_others_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    for mode, words in ((0o770, "others"), (0o702, "others")):
        folder.chmod(mode)
        with pytest.warns(RuntimeWarning, match=words):
            assert open_store(str(folder), 1 << 20) is None
    folder.chmod(0o755)
    assert open_store(str(folder), 1 << 20) is not None
    foreign = list(os.stat(folder))
    foreign[4] = os.geteuid() + 1
    assert "another user" in unsafe(os.stat_result(foreign))
    (tmp_path / "file").write_text("")
    assert open_store(str(tmp_path / "file"), 1 << 20) is None
    assert open_store("", 1 << 20) is None and open_store(str(folder), 0) is None


def test_without_a_disk_there_is_no_cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        store.write("a.plan", b"content")
    assert store.read("a.plan") is None and names(store) == []
    os.rmdir(store.folder)
    store.write("a.plan", b"content")
    assert store.read("a.plan") is None
    store.trim()
    assert store.clear() == 0


def test_the_least_recently_used_go(store: Store) -> None:
    """A trim keeps what was read last, under three quarters of the limit; abandoned files go, young and foreign ones stay."""
    size, count = 10_000, 60
    for number in range(count):
        name = f"{number:04}.plan"
        store.write(name, bytes(size))
        past = time.time() - 10 * ABANDONED + number
        if Path(store.folder, name).exists():
            os.utime(os.path.join(store.folder, name), (past, past))
    assert store.read("0000.plan") == bytes(size)  # is now the one that was used last
    store.limit = 200_000
    for name, age in (("old", 2 * ABANDONED), ("young", 0)):
        path = Path(store.folder, f"x.plan.{name}{UNFINISHED}")
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    Path(store.folder, "mine.txt").write_text("not ours")
    store.trim()
    left = [name for name in names(store) if name.endswith(".plan")]
    assert 10 <= len(left) <= 15 and "0000.plan" in left and left[1:] == sorted(left)[1:]
    assert left[-1] == f"{count - 1:04}.plan" and left[1] > "0040.plan"
    assert Path(store.folder, f"x.plan.young{UNFINISHED}").exists()
    assert not Path(store.folder, f"x.plan.old{UNFINISHED}").exists()
    store.write("large.plan", bytes(store.limit))  # more than it may have
    assert store.read("large.plan") is None
    assert store.clear() == len(left) + 1 and names(store) == ["mine.txt"]


def test_the_limit_holds_while_writing(store: Store) -> None:
    store.limit = 100_000
    for number in range(300):
        store.write(f"{number}.kernel", bytes(1000))
    assert sum(status.st_size for _, status in store.files()) < 1.1 * store.limit


def test_by_hand(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lazygrad.cache.store", lambda: store)
    store.write("a.plan", bytes(1 << 18))
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert store.folder in text and "0.3 of 1 megabytes" in text and "1 programs" in text
    assert main(["clear"]) == 0 and "1 files" in capsys.readouterr().out
    assert main([]) == 2 and "usage" in capsys.readouterr().err
    assert "no cache directory" in info(None)


WRITER = """
import sys
from lazygrad.runtime.cache import open_store
store = open_store(sys.argv[1], 1 << 20)
seed = int(sys.argv[2])
print("ready", flush=True)
number = 0
while number < 3000 or seed < 4:
    name = f"{(seed * 7 + number) % 11}.plan"
    found = store.read(name)
    assert found is None or found == bytes([found[0]]) * len(found), "a mixture"
    store.write(name, bytes([number % 256]) * (1 + number % 40_000))
    number += 1
"""


def test_eight_processes_share_it_and_some_are_killed(store: Store) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store.folder, str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for seed in range(8)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers[:4]:  # these go on until they are killed, in the middle of something
        time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
    assert [writer.wait(60) for writer in writers] == [-9] * 4 + [0] * 4
    for name, _ in store.files():
        if not name.endswith(UNFINISHED):
            found = store.read(name)
            assert found is not None and found == bytes([found[0]]) * len(found)
