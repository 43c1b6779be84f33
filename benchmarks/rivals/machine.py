"""What this machine can do at most: bytes a second, and products a second, measured by loops written in LLVM IR.

In: a number of threads. Out: rates of the whole machine under that many threads, the best of some rounds. A loop runs in native code
without Python's lock, a thread each, and counts the time that its thread had a processor.
"""

from __future__ import annotations

import ctypes
import threading
import time

import llvmlite.binding as llvm
import numpy as np

BYTES = 1 << 27
"""What each thread reads, or writes: more than its share of the last cache."""
PRODUCTS = 1 << 22
ACCUMULATORS = 12
"""Enough to hide the latency of a multiplication with addition on two ports."""


def _source(lanes: int) -> str:
    """Three functions: read(from, to, n), copy(from, to, n) of n vectors, and fma(from, to, n) of n rounds."""
    vector = f"<{lanes} x float>"
    fma = f"llvm.fma.v{lanes}f32"
    heads = "\n".join(
        f"  %a{k} = phi {vector} [zeroinitializer, %entry], [%b{k}, %body]"
        for k in range(ACCUMULATORS)
    )
    steps = "\n".join(
        f"  %b{k} = call {vector} @{fma}({vector} %x, {vector} %y, {vector} %a{k})"
        for k in range(ACCUMULATORS)
    )
    total = "\n".join(
        f"  %s{k} = fadd {vector} %{f's{k - 1}' if k else 'x'}, %b{k}" for k in range(ACCUMULATORS)
    )
    read = "\n".join(
        f"""  %p{k} = getelementptr {vector}, ptr %from, i64 %i{k}
  %v{k} = load {vector}, ptr %p{k}, align 64
  %b{k} = fadd {vector} %a{k}, %v{k}"""
        for k in range(4)
    )
    return f"""
declare {vector} @{fma}({vector}, {vector}, {vector})
define void @fma(ptr %from, ptr %to, i64 %n) {{
entry:
  %x = load {vector}, ptr %from, align 64
  %q = getelementptr {vector}, ptr %from, i64 1
  %y = load {vector}, ptr %q, align 64
  br label %body
body:
  %i = phi i64 [0, %entry], [%next, %body]
{heads}
{steps}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end
end:
{total}
  store {vector} %s{ACCUMULATORS - 1}, ptr %to, align 64
  ret void
}}
define void @read(ptr %from, ptr %to, i64 %n) {{
entry:
  br label %body
body:
  %i0 = phi i64 [0, %entry], [%next, %body]
{chr(10).join(f"  %a{k} = phi {vector} [zeroinitializer, %entry], [%b{k}, %body]" for k in range(4))}
{chr(10).join(f"  %i{k} = add i64 %i0, {k}" for k in range(1, 4))}
{read}
  %next = add i64 %i0, 4
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end
end:
  %c0 = fadd {vector} %b0, %b1
  %c1 = fadd {vector} %b2, %b3
  %c2 = fadd {vector} %c0, %c1
  store {vector} %c2, ptr %to, align 64
  ret void
}}
define void @copy(ptr %from, ptr %to, i64 %n) {{
entry:
  br label %body
body:
  %i = phi i64 [0, %entry], [%next, %body]
  %p = getelementptr {vector}, ptr %from, i64 %i
  %v = load {vector}, ptr %p, align 64
  %q = getelementptr {vector}, ptr %to, i64 %i
  store {vector} %v, ptr %q, align 64, !nontemporal !0
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %body, label %end
end:
  ret void
}}
!0 = !{{i32 1}}
"""


class Machine:
    """Rates: `read` and `copy` in bytes a second (a copy reads one and writes one), `flops` of float32 a second."""

    def __init__(self, threads: int, rounds: int = 5) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
        )
        module = llvm.parse_assembly(_source(lanes))
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        size = lanes * 4
        arrays = [np.ones(BYTES // 4 + 64, "float32") for _ in range(2 * threads)]
        self._arrays = [array[-array.ctypes.data % 64 // 4 :] for array in arrays]
        vectors = BYTES // size
        self.read = BYTES * self._rounds("read", vectors, threads, rounds)
        self.copy = 2 * BYTES * self._rounds("copy", vectors, threads, rounds)
        products = PRODUCTS * ACCUMULATORS * lanes
        self.flops = 2 * products * self._rounds("fma", PRODUCTS, threads, rounds)

    def _rounds(self, name: str, count: int, threads: int, rounds: int) -> float:
        """How often a second all threads together do the loop once each: the most of some rounds."""
        address = self._engine.get_function_address(name)
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)
        rates = [0.0] * threads

        def work(number: int) -> None:
            source, target = self._arrays[2 * number : 2 * number + 2]
            start = time.thread_time()
            run(source.ctypes.data, target.ctypes.data, count)
            rates[number] = 1 / (time.thread_time() - start)

        best = 0.0
        for _ in range(rounds):
            workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            best = max(best, sum(rates))
        return best
