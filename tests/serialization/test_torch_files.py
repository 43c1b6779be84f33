"""PyTorch's files load as PyTorch loads them, and a pickle that wants to run something raises and runs nothing."""

from __future__ import annotations

import builtins
import io
import os
import pathlib
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from typing import Any

import pytest

import lazygrad as lg
from lazygrad.ir.dtype import ALL

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)


def archive(data: bytes, **members: bytes) -> io.BytesIO:
    """A file as torch.save writes it, with this pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        made.writestr("archive/data.pkl", data)
        made.writestr("archive/byteorder", b"little")
        for name, content in members.items():
            made.writestr("archive/" + name.replace("_", "/"), content)
    file.seek(0)
    return file


def stream(data: bytes) -> io.BytesIO:
    """The same before PyTorch 1.6."""
    head = MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return io.BytesIO(head + data + pickle.dumps([], 2))


@pytest.mark.parametrize("zipped", [True, False])
def test_trees_of_torch(zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(12.0).view(3, 4)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    marked = torch.ones(2)
    marked.tag = "kept"
    before = {
        "dtypes": [torch.arange(4).to(getattr(torch, dtype.name)) for dtype in ALL],
        "views": [base, base.t()[1:], base[1], base[:0]],
        "model": model.state_dict(),
        "parameters": list(model.parameters()),
        "buffer": torch.nn.Buffer(torch.zeros(2), persistent=False),
        "marked": marked,
        "leaf": torch.ones((), requires_grad=True),
        "plain": [
            1,
            -2.5,
            None,
            True,
            "é",
            b"\x00\xff",
            bytearray(b"x"),
            3j,
            2**70,
            -1,
            300,
            70000,
        ],
        "sets": ({1, 2}, frozenset([3]), Counter("aab"), OrderedDict(a=1)),
        "kinds": (torch.float16, torch.device("cpu"), base.shape),
    }
    file = io.BytesIO(b"before")
    file.seek(6)
    torch.save(before, file, _use_new_zipfile_serialization=zipped)
    end = file.tell()
    file.write(b"" if zipped else b"behind")
    file.seek(6)
    after = lg.load(file, weights_only=True)
    assert file.tell() == end or zipped
    for dtype, found in zip(ALL, after["dtypes"]):
        assert (
            found.dtype is dtype
            and found.tolist() == torch.arange(4).to(getattr(torch, dtype.name)).tolist()
        )
    first, turned, row, none = after["views"]
    assert (
        first.stride() == (4, 1)
        and turned.stride() == base.t()[1:].stride()
        and none.shape == (0, 4)
    )
    first[1, 2] = 50
    assert turned[1, 1].item() == row[2].item() == 50
    assert type(after["model"]) is OrderedDict
    assert vars(after["model"])["_metadata"] == vars(before["model"])["_metadata"]
    ours = lg.nn.Sequential(lg.nn.Linear(2, 3), lg.nn.BatchNorm1d(3))
    ours.load_state_dict(after["model"])
    assert ours[0].weight.tolist() == model[0].weight.tolist()
    assert all(
        isinstance(each, lg.nn.Parameter) and each.requires_grad for each in after["parameters"]
    )
    assert isinstance(after["buffer"], lg.nn.Buffer) and not after["buffer"].persistent
    assert after["marked"].tag == "kept" and after["leaf"].requires_grad
    assert after["plain"] == before["plain"] and after["sets"] == before["sets"]
    assert after["kinds"] == (lg.float16, lg.device("cpu"), lg.Size([3, 4]))


def test_files_of_torch_by_path(tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pt"
    torch.save({"x": torch.arange(5), "y": torch.ones(3)}, path)
    data = path.read_bytes()
    for mapped in (False, True):
        found = lg.load(path, mmap=mapped)
        found["x"][1] = 7
        assert found["x"].tolist() == [0, 7, 2, 3, 4] and found["y"].tolist() == [1.0] * 3
    assert path.read_bytes() == data
    assert lg.load(path, map_location="interpret")["y"].place == "interpret"
    broken = bytearray(data)
    broken[data.index(torch.ones(3).numpy().tobytes())] ^= 1
    with pytest.raises(RuntimeError, match="checksum"):
        lg.load(io.BytesIO(bytes(broken)))
    for length in range(1, len(data), 97):
        with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
            lg.load(io.BytesIO(data[:length]))
    torch.save(torch.nn.Linear(1, 1), path)
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.modules\.linear\.Linear"):
        lg.load(path, weights_only=False)
    with pytest.raises(RuntimeError, match="pickle_module"):
        lg.load(path, pickle_module=pickle, weights_only=True)


# --- pickles that want to run something


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


class Sets:
    """Calls __setstate__, or sets attributes, of what a name gives."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any) -> None:
        self.made = function, arguments, state

    def __reduce__(self) -> Any:
        return self.made


def attacks(marker: str) -> dict[str, bytes]:
    command = f"touch {marker}"
    text = f"S'{command}'\n".encode()
    short = b"\x8c" + bytes([len(command)]) + command.encode()
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return {
        "system": pickle.dumps(Runs(os.system, command), 2),
        "stack global": pickle.dumps(Runs(os.system, command), 4),
        "text": b"cos\nsystem\n(" + text + b"tR.",
        "eval": pickle.dumps([1, {"a": Runs(builtins.eval, f"open({marker!r}, 'w')")}], 4),
        "getattr": pickle.dumps(Runs(getattr, "text", "join"), 2),
        "dotted": b"\x80\x04\x8c\x08builtins\x8c\x0fprint.__class__\x93.",
        "through ours": b"\x80\x04\x8c\x08lazygrad\x8c\x04load\x93" + short + b"\x85R.",
        "inst": b"(" + text + b"ios\nsystem\n.",
        "obj": b"(cos\nsystem\n" + text + b"o.",
        "newobj": b"\x80\x02csubprocess\nPopen\n" + short + b"\x85\x81.",
        "newobj_ex": b"\x80\x04csubprocess\nPopen\n" + short + b"\x85}\x92.",
        "extension": b"\x80\x02\x82\x01.",
        "called value": short + b")R.",
        "called tensor": b"ctorch\nfloat32\n)R.",
        "arguments": b"ccollections\nOrderedDict\n" + b"]R.",
        "state of a name": b"ccollections\nOrderedDict\n}S'fromkeys'\nK\x01sb.",
        "state of a function": tensor + b"N}S'__defaults__'\nNs\x86b.",
        "state of a dict": b"}}S'a'\nK\x01sb.",
        "slots": b"ccollections\nOrderedDict\n)RN}S'update'\nK\x01s\x86b.",
        "rebuilding": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n("
        + text
        + b"t}tR.",
        "another rebuilding": b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nctorch\nTensor\n(tNtR.",
        "no storage": tensor + b"(K\x01K\x00(K\x02t(K\x01tNNtR.",
        "persistent": b"(S'module'\ncos\nsystem\ntQ.",
        "persistent text": b"Pmodule\n.",
        "storage of a function": b"(S'storage'\ncos\nsystem\nS'0'\nS'cpu'\nK\x01tQ.",
        "name as a value": b"ctorch._utils\n_rebuild_tensor_v2\n.",
        "device": b"ctorch\ndevice\n(S'../../etc'\ntR.",
        "bytes": b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        "memo": b"Nr\xff\xff\xff\x7f0j\xff\xff\xff\x7e.",
        "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
        "long text": b"X\xff\xff\xff\xff.",
        "negative": b"\x8b\xff\xff\xff\xff.",
        "no mark": b"t.",
        "empty": b".",
        "mark": b"((\x85.",
        "append": b"ccollections\nOrderedDict\nK\x01a.",
        "deep key": b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.",
        "wide key": b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
        "no end": b"\x80\x02]",
    }


@pytest.mark.parametrize("wrap", [archive, stream, io.BytesIO], ids=["zip", "stream", "bare"])
def test_a_hostile_pickle_runs_nothing(wrap: Any, tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "it ran"
    for name, data in attacks(str(marker)).items():
        with pytest.raises((pickle.UnpicklingError, RuntimeError)) as caught:
            lg.load(wrap(data))
        assert not marker.exists(), name
        assert "load" in str(caught.value) or name == "device", name
    assert OrderedDict.fromkeys([1]) == {1: None}


def test_archives_that_are_wrong() -> None:
    def storage(offset: int, size: int, stride: int, count: int = 4) -> bytes:
        integers = [b"J" + struct.pack("<i", each) for each in (count, offset, size, stride)]
        return (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
            + integers[0] + b"tQ" + integers[1] + integers[2] + b"\x85" + integers[3] + b"\x85\x89NtR."
        )  # fmt: skip

    data = struct.pack("4f", 1, 2, 3, 4)
    assert lg.load(archive(storage(1, 3, 1), data_0=data)).tolist() == [2, 3, 4]
    for wrong in ((0, 5, 1), (1, 4, 1), (0, 2, 1 << 30), (-1, 2, 1), (0, 2, -1), (0, -2, 1)):
        with pytest.raises((RuntimeError, pickle.UnpicklingError), match="load"):
            lg.load(archive(storage(*wrong), data_0=data))
    with pytest.raises(RuntimeError, match="needs"):
        lg.load(archive(storage(0, 4, 1, 1 << 30), data_0=data))
    with pytest.raises(pickle.UnpicklingError, match="damaged"):
        lg.load(archive(storage(0, 4, 1)))
    with pytest.raises(RuntimeError, match="TorchScript"):
        lg.load(archive(b"N.", **{"constants.pkl": b"N."}))
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("archive/data.pkl", b"N." + b"\0" * 10_000_000)
    with pytest.raises(RuntimeError, match="compressed"):
        lg.load(io.BytesIO(compressed.getvalue()))
    with pytest.raises(RuntimeError, match="big-endian"):
        both = archive(b"N.").getvalue().replace(b"little", b"bigend")
        lg.load(io.BytesIO(both))
    for keys in (["x"], [()], 3):
        with pytest.raises(RuntimeError, match="storages that none"):
            head = stream(pickle.dumps(None, 2)).getvalue()[: -len(pickle.dumps([], 2))]
            lg.load(io.BytesIO(head + pickle.dumps(keys, 2)))
    with pytest.raises(RuntimeError, match=r"data\.pkl"):
        other = io.BytesIO()
        zipfile.ZipFile(other, "w").writestr("readme", "hello")
        lg.load(io.BytesIO(other.getvalue()))
