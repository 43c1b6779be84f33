"""Stores that pass the caches by: those of large results alone, and only where each is whole lines of the cache."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lazygrad.codegen.choose import choose
from lazygrad.codegen.choose_opencl import target as opencl_target
from lazygrad.codegen.render.llvm import render_kernel
from lazygrad.codegen.render.opencl import render as render_opencl
from lazygrad.codegen.target import host
from lazygrad.ir.parse import parse

LARGE = 1 << 22


def kernel(size: int, offset: str, lanes: int = 16) -> str:
    return f"""
    kernel copy(%x: f32[{size}] in, %y: f32[{size}] out)
      for %i in range(0, {size // 64}) parallel:
        for %j in range(0, 32, 16):
          %v = load %x[{offset}] : f32x{lanes}
          store %y[{offset}], %v
    """


CASES = [
    (LARGE, "%i*64 + %j", 16, True),
    (LARGE, "%i*64 + %j", 8, False),  # half of a line
    (LARGE, "%i*60 + %j", 16, False),  # not at the beginning of a line
    (1024, "%i*16 + %j", 16, False),  # the cache keeps it
]


@pytest.mark.skipif(not host().streams, reason="stores of this machine do not pass the caches by")
@pytest.mark.parametrize(("size", "offset", "lanes", "streams"), CASES)
def test_large_results_pass_the_caches_by(
    size: int, offset: str, lanes: int, streams: bool
) -> None:
    (node,) = parse(kernel(size, offset, lanes))
    text = render_kernel(node, replace(host(), level3_cache=8 << 20)).text
    assert ("!nontemporal" in text) == streams
    assert ("sfence" in text) == streams  # whoever reads the result finds it


@pytest.mark.parametrize(("size", "offset", "lanes", "streams"), CASES)
def test_so_they_do_on_processors_of_opencl(
    size: int, offset: str, lanes: int, streams: bool
) -> None:
    (node,) = parse(kernel(size, offset, lanes))
    text = render_opencl(node, opencl_target("cpu"))
    assert ("stream_float16(y" in text) == ("mem_fence" in text) == streams
    assert "stream_float16" not in render_opencl(node, opencl_target("gpu"))


@pytest.mark.skipif(not host().streams, reason="stores of this machine do not pass the caches by")
@pytest.mark.parametrize(("rows", "streams"), [(1, False), (64, False), (128, True), (4096, True)])
def test_what_reads_little_fills_the_caches_that_take_whole_lines(rows: int, streams: bool) -> None:
    """Such caches do not read a line that is written whole; beside large operands there is no room in them."""
    (node,) = parse(f"""
    kernel expand(%x: f32[{rows}, 1024] in, %y: f32[{LARGE}] out)
      for %i in range(0, 4096) parallel:
        for %j in range(0, 1024, 16):
          %v = load %x[%i % {rows} * 1024 + %j] : f32x16
          store %y[%i*1024 + %j], %v
    """)
    machine = replace(host(), level2_cache=1 << 20, level3_cache=2 << 20, claims_lines=True)
    assert ("!nontemporal" in render_kernel(node, machine).text) == streams
    machine = replace(machine, claims_lines=False)
    assert "!nontemporal" in render_kernel(node, machine).text


@pytest.mark.parametrize(
    ("cache", "products", "width"),
    [(16 << 20, 0, 256), (32 << 20, 0, 512), (16 << 20, 8, 512)],
)
def test_what_waits_for_memory_is_read_by_halves_of_a_line(
    cache: int, products: int, width: int
) -> None:
    """Only where nothing of it stays in the caches, where little is computed, and by processors that compute in halves."""
    chain = "".join(f"%v{n + 1} = mul %v{n or ''}, 1.5 : f32x64\n        " for n in range(products))
    (node,) = parse(f"""
    kernel sum(%x: f32[{LARGE}] in, %y: f32[64] out)
      local %r : f32[64]
      for %i in range(0, {LARGE}, 64):
        %v = load %x[%i] : f32x64
        {chain}%a = load %r[0] : f32x64
        %w = add %a, %v{products or ""} : f32x64
        store %r[0], %w
      %s = load %r[0] : f32x64
      store %y[0], %s
    """)
    machine = replace(host(), vector_bytes=64, level3_cache=cache, claims_lines=True)
    assert f'"prefer-vector-width"="{width}"' in render_kernel(node, machine).text
    machine = replace(machine, claims_lines=False)
    assert '"prefer-vector-width"="512"' in render_kernel(node, machine).text


def narrow(source: str, target: str, size: int) -> str:
    return f"""
    kernel cast(%x: {source}[{size}] in, %y: {target}[{size}] out)
      for %i in range(0, {size}) parallel:
        %v = load %x[%i] : {source}
        %w = cast %v : {target}
        store %y[%i], %w
    """


@pytest.mark.skipif(not host().streams, reason="stores of this machine do not pass the caches by")
@pytest.mark.parametrize(
    ("source", "target", "lanes"),
    [("u8", "bool", 64), ("f64", "f32", 16), ("f32", "u8", 64), ("f64", "u8", 8)],
)
def test_large_results_of_narrow_types_are_whole_lines(
    source: str, target: str, lanes: int
) -> None:
    machine = replace(host(), vector_bytes=64, level2_cache=1 << 20, level3_cache=64 << 20)
    (node,) = parse(narrow(source, target, LARGE))
    assert choose(node, machine)[0].factor == lanes
    (node,) = parse(narrow(source, target, 1 << 12))
    assert choose(node, machine)[0].factor == {"u8": 64, "f64": 8, "f32": 16}[source]
