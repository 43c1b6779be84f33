"""What is OpenCL's own: the text of its kernels, which needs no driver; devices by name, memory and its end, copies, forks, profiles, dumps."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.ir.text import parse
from lazygrad.runtime import device as devices

from .scripts import execute, fork

SOFTMAX = """
import sys
sys.modules["pyopencl"] = None  # as if it were not installed
import lazygrad as lg
x = lg.arange(4000.0).reshape(50, 80).realize()
lowered = lg.lower(lambda x: (x * 2).softmax(1), x)
for kind in (None, "cpu", "gpu"):
    print(*lowered.source("opencl", kind).values(), sep="\\n")
try:
    lg.ones(2, device="opencl").sum().item()
except RuntimeError as error:
    print("ERROR", error)
"""


def needs_opencl() -> None:
    if not lg.opencl.is_available():
        pytest.skip("no OpenCL driver")


def test_source_needs_no_driver() -> None:
    out = execute(SOFTMAX)
    assert out.count("kernel void ") == 3 and "get_global_id(0)" in out
    assert "float16 " in out and "fma(" in out, "processors get explicit vectors"
    assert "#pragma OPENCL FP_CONTRACT OFF" in out
    assert re.search(r"// <string>:\d+", out), "the user's line is in a comment"
    assert "for (long" in out and "restrict x0" in out
    error = out.partition("ERROR ")[2]
    assert 'pip install "lazygrad[opencl]"' in error, error


def test_text_of_a_kernel() -> None:
    """Params, loops and locals keep their names; overflow, division and shifts are written so that C defines them."""
    from lazygrad.codegen.choose_opencl import target
    from lazygrad.codegen.render.opencl import render

    (kernel,) = parse("""
        kernel mix(%x: i32[64] in, %n: i64 dim, %y: i32[64] out)
          for %i in range(0, %n) parallel:
            %v = load %x[%i] : i32
            %d = idiv %v, 7 : i32
            %s = add %d, %v : i32
            %t = shl %s, %v : i32
            store %y[%i], %t
    """)
    text = render(kernel, target("cpu"))
    assert "kernel void mix_kernel(\n    global const int *restrict x,\n    const long n," in text
    assert "for (long i = item * chunk; i < last_trip; i++) {" in text
    assert "(int)((uint)idiv + (uint)x_value)" in text and "floor_div_int(x_value, 7)" in text
    assert "(uint)x_value <= (uint)31 ?" in text
    items = "for (long i = (long)get_global_id(0); i < (n); i += (long)get_global_size(0)) {"
    assert items in render(kernel, target("gpu"))


def test_the_widest_vectors_of_built_ins() -> None:
    """PoCL's are those of the processor that there is, its compiler's target one that it knows."""
    from lazygrad.runtime.opencl import builtin_bytes

    pocl = "OpenCL 3.0 PoCL HSTR: pthread-x86_64-unknown-linux-gnu-"
    assert builtin_bytes(pocl + "znver3", 64) == 32
    assert builtin_bytes(pocl + "generic", 64) == 32
    for name in ("znver4", "sapphirerapids", "skylake-avx512"):
        assert builtin_bytes(pocl + name, 64) == 128
    assert builtin_bytes(pocl + "haswell", 32) == 128
    assert builtin_bytes("OpenCL 3.0 PoCL HSTR: cpu-aarch64-unknown-linux-gnu-a64fx", 64) == 128
    assert builtin_bytes("OpenCL 3.0 (Build 0)", 64) == 128


MIXED = """
kernel mixed(%x: f32[64] in, %h: f16[64] in, %i: i64[64] in, %y: f64[64] out, %z: f32[64] out)
  for %j in range(0, 64):
    %a = load %x[%j] : f32
    %b = load %h[%j] : f16
    %c = load %i[%j] : i64
    %d = cast %a : f64
    %e = floor %d : f64
    %f = cast %b : f32
    %g = cast %c : f32
    %k = fma %a, %f, %g : f32
    %l = abs %k : f32
    store %y[%j], %e
    store %z[%j], %l
"""


BUILT_IN = re.compile(r"\b(?:convert_\w+|fabs|floor|ceil|trunc|rint|sqrt|fmod|fma|shuffle2)\(")


def test_wide_vectors_by_halves() -> None:
    """No built-in gets or gives vectors wider than the driver's can."""
    from lazygrad.codegen.choose_opencl import apply, target
    from lazygrad.codegen.render.opencl import render
    from lazygrad.codegen.schedule_text import parse as parse_schedule

    (kernel,) = parse(MIXED)
    kernel = apply(kernel, parse_schedule("vectorize(j, 16)"))
    limited = replace(target("cpu"), builtin_bytes=32)
    text, whole = render(kernel, limited), render(kernel, target("cpu"))
    assert "any_" not in whole and " convert_double16(x_value)" in whole
    assert " any_convert_double16(x_value)" in text
    sizes = {"double": 8, "long": 8, "float": 4, "int": 4, "uint": 4, "short": 2, "ushort": 2}
    for function in re.split(r"\n}\n", text):
        if BUILT_IN.search(function):
            head = function.rpartition(" {\n")[0]
            vectors = re.findall(r"\b([a-z]+)(\d*) ", head)
            assert all(sizes.get(kind, 1) * int(n or 1) <= 32 for kind, n in vectors), function


def test_features_that_the_compiler_does_not_know_of() -> None:
    """A kernel's text is then a function of its own, of which the driver makes no part of functions that lack them."""
    from lazygrad.codegen.choose_opencl import target
    from lazygrad.codegen.render.opencl import render

    (kernel,) = parse(MIXED.replace("64):", "64) parallel:"))
    text = render(kernel, replace(target("cpu"), features=frozenset(("avx512f", "avx512bw"))))
    assert text.startswith('#pragma clang attribute push(__attribute__((target("avx512bw,avx512f')
    assert text.endswith("#pragma clang attribute pop\n")
    assert "void mixed_kernel_trips(\n    const long item,\n" in text
    call = "  mixed_kernel_trips((long)get_global_id(0), x, h, i, y, z, chunk);"
    assert text.partition("kernel void mixed_kernel(")[2].count(call) == 1
    assert "clang attribute" not in render(kernel, target("cpu"))


FLAGS = """
import lazygrad as lg
x, y = lg.tensor([0.1, 0.2, 0.4, 0.8, 0.6]), lg.tensor([3, 0, -1, 1, 2])
print(lg.nn.functional.multilabel_margin_loss(x, y).item())
"""


def test_one_comparison_for_all_lanes() -> None:
    """Its flag, repeated in bytes, ended the process on processors with AVX512 that PoCL's compiler does not know."""
    needs_opencl()
    found, known = (float(execute(FLAGS, DEVICE=device)) for device in ("OPENCL", "INTERPRET"))
    assert abs(found - known) < 1e-6


MASKS = """
kernel masks(%x: f32[64] in, %d: f64[64] in, %y: f32[64] out, %b: bool[64] out, %z: f64[64] out)
  for %j in range(0, 64):
    %a = load %x[%j] : f32
    %c = load %d[%j] : f64
    %l = lt %a, 1.0 : bool
    %m = lt 0.0, %a : bool
    %n = and %l, %m : bool
    %o = not %n : bool
    %w = lt %c, 2.0 : bool
    %p = or %o, %w : bool
    %e = where %n, %a, 3.0 : f32
    %f = where %n, %c, 4.0 : f64
    store %y[%j], %e
    store %b[%j], %p
    store %z[%j], %f
"""


def test_masks_are_as_wide_as_what_was_compared() -> None:
    """What chooses between values of that width needs no conversion."""
    from lazygrad.codegen.choose_opencl import apply, target
    from lazygrad.codegen.render.opencl import render
    from lazygrad.codegen.schedule_text import parse as parse_schedule

    (kernel,) = parse(MASKS)
    text = render(apply(kernel, parse_schedule("vectorize(j, 8)")), target("cpu"))
    for line in (
        "const int8 and_ = lt & lt_1;",
        "const int8 not_ = ~and_;",
        "const float8 where = and_ ? x_value : (float8)(3.0f);",
        "const double8 where_1 = convert_long8(and_) ? d_value : (double8)(4.0);",
        "const char8 or_ = convert_char8(not_) | convert_char8(lt_2);",
    ):
        assert line in text, text
    if lg.opencl.is_available():
        x, d = lg.linspace(-1, 2, 64), lg.linspace(-1, 5, 64, dtype=lg.float64)
        wanted = [(0 < a < 1) for a in x.tolist()]
        x, d = x.to("opencl"), d.to("opencl")
        inside = (x > 0) & (x < 1)
        assert (~inside | (d < 2)).tolist() == [
            not w or v < 2 for w, v in zip(wanted, d.tolist(), strict=True)
        ]
        assert lg.where(inside, d, 4).tolist() == [
            v if w else 4 for w, v in zip(wanted, d.tolist(), strict=True)
        ]


def test_halves_give_the_same() -> None:
    needs_opencl()
    from lazygrad.codegen.choose_opencl import target
    from lazygrad.runtime.compile import compile_graph
    from lazygrad.runtime.opencl import OpenClDevice
    from lazygrad.runtime.plans import Record

    x = lg.tensor(np.sin(np.arange(64 * 96.0)).reshape(64, 96) * 99).realize()

    def program(x: lg.Tensor) -> list[lg.Tensor]:
        y = x.float()
        rounded = [
            x.floor() + y.ceil(),
            y.half().sqrt(),
            x.abs().sqrt(),
            y.fmod(y.floor()).double(),
        ]
        turned = [each.t().contiguous() for each in (x, y, y.half(), y.to(lg.int8))]
        return [
            *rounded,
            *turned,
            y.long() + y.int(),
            x.bfloat16().long(),
        ]

    (record,) = lg.lower(program, x)._records
    results = []
    halves = OpenClDevice("opencl:0", replace(target("cpu"), builtin_bytes=32))
    for device in (devices.get("cpu"), halves):
        made = compile_graph(device, record.graph, Record()).run([device.from_host(x.numpy())], [])
        results.append(
            [device.to_host(b, root.dtype, root.shape) for b, root in zip(made, record.graph)]
        )
    for wanted, got in zip(*results):
        np.testing.assert_array_equal(got, wanted)


def test_devices_by_name() -> None:
    needs_opencl()
    assert devices.get("opencl") is devices.get("opencl:0") is devices.get("opencl:0:0")
    assert lg.ones(2, device="opencl").device == lg.device("opencl", 0)
    assert lg.opencl.get_device_name(0)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        lg.ones(2, device="opencl:99").realize()
    with config.override(device="opencl:0:0"):
        assert lg.ones(3).device.type == "opencl"
    with pytest.raises(RuntimeError, match="device"):
        config.override(device="opencl:0:0:0").__enter__()


def test_copies_between_devices() -> None:
    """`to` in both directions, of every dtype and of views; what is on several devices cannot meet."""
    needs_opencl()
    host = lg.arange(24.0).reshape(4, 6)
    there = host.to("opencl")
    assert there.device.type == "opencl" and there.cpu().tolist() == host.tolist()
    assert (there[:, ::2] * 2).to("cpu").add(1).tolist() == (host[:, ::2] * 2 + 1).tolist()
    for dtype in (lg.bool, lg.uint8, lg.int64, lg.float64, lg.bfloat16, lg.float16):
        assert host.to("opencl", dtype).cpu().tolist() == host.to(dtype).tolist()
    x = lg.ones(3, requires_grad=True)
    (x.to("opencl") * lg.arange(3.0, device="opencl")).sum().backward()
    assert x.grad is not None and x.grad.device.type == "cpu" and x.grad.tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="same device"):
        host + there
    with pytest.raises(TypeError, match=r"Tensor\.cpu\(\)"):
        there.numpy()
    with config.override(device="opencl"):  # a script that says nothing of devices
        array = np.arange(3.0)
        assert lg.from_numpy(array).mul(2).numpy().tolist() == [0, 2, 4]


def test_memory_is_counted_and_ends() -> None:
    needs_opencl()
    lg.opencl.empty_cache()
    before = lg.opencl.memory_allocated()
    x = lg.ones(1 << 20, device="opencl").realize()
    held = lg.opencl.memory_allocated()
    assert held - before == 4 << 20
    assert lg.opencl.memory_reserved() >= held <= lg.opencl.max_memory_allocated()
    y = x * 2
    with pytest.raises(lg.OutOfMemoryError, match=r"Tried to allocate \d{12,} bytes"):
        lg.ones(1 << 40, device="opencl").realize()
    assert y.sum().item() == 2 << 20, "what there was is still there"
    del x, y
    lg.opencl.empty_cache()
    assert lg.opencl.memory_allocated() == before
    lg.opencl.synchronize()


def test_a_forked_child_is_told() -> None:
    needs_opencl()
    fork("opencl", "OpenCL")


def test_profile_and_verification(tmp_path: Path) -> None:
    """A trace has each launch with its time on the device, and copies; LAZYGRAD_VERIFY compares each kernel."""
    needs_opencl()
    path = tmp_path / "trace.json"
    with config.override(device="opencl"), lg.profile(str(path)):
        x = lg.tensor(np.arange(1000.0, dtype=np.float32))
        assert (x * 3).sum().item() == 1498500
    events = json.loads(path.read_text())["traceEvents"]
    kernels = [event for event in events if event.get("cat") == "kernel"]
    assert kernels and all(event["dur"] > 0 for event in kernels)
    assert {"copy to device", "copy to host"} <= {event["name"] for event in events}
    with config.override(device="opencl", verify=True):
        assert lg.arange(5.0).exp().sum(0).item() == pytest.approx(85.791, rel=1e-4)


def test_choices_for_gpus_run_too() -> None:
    """The kernels for GPUs, one work-item for each element of a result, compute the same on whatever device there is."""
    needs_opencl()
    from lazygrad.runtime.compile import compile_graph
    from lazygrad.runtime.plans import Record

    x = lg.tensor(np.sin(np.arange(35 * 47.0)).reshape(35, 47), dtype=lg.float32).realize()

    def program(x: lg.Tensor) -> list[lg.Tensor]:
        return [
            x.softmax(1) @ x.T,
            x.sum(),
            x[1:, ::3].exp(),
            x.t().contiguous(),
            x.cumsum(1),
            x.amax(0) > x[0],
        ]

    lowered = lg.lower(program, x)
    texts = "\n".join(lowered.source("opencl", "gpu").values())
    assert "float16" not in texts and re.search(r"const int \w+ = item % \d+;", texts)
    assert "local ulong group_parts[32];" in texts and re.search(
        r"= thread; \w < 47; \w \+= 32", texts
    )
    gpu = devices.get("opencl:0").variant("gpu")  # type: ignore[attr-defined]
    (record,) = lowered._records
    results = []
    for device in (devices.get("cpu"), gpu):
        plan = compile_graph(device, record.graph, Record())
        made = plan.run([device.from_host(x.numpy())], [])
        results.append(
            [device.to_host(b, root.dtype, root.shape) for b, root in zip(made, record.graph)]
        )
    for wanted, got in zip(*results):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
