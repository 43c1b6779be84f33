"""What the compiler shows of itself: LAZYGRAD_DUMP, LAZYGRAD_DUMP_PASSES, and the answers of LAZYGRAD_EXPLAIN.

In: what the passes made, as they make it. Out: text on standard error, or a file each in the directory DUMP_TO, numbered in the
order of compilation. A filter `softmax*@train.py:7` keeps the kernels of that name that hold an operation of that line; for
a graph only the line counts. Nothing here changes what is compiled.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import count
from typing import TYPE_CHECKING, Any

from lazygrad import config
from lazygrad.ir.args import Constant, Slot
from lazygrad.ir.kernel_graph import KernelGraph, Stage
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

if TYPE_CHECKING:
    from lazygrad.config import Settings

    from .keys import Normal

_numbers = count()
_lock = threading.Lock()


def compiling(settings: Settings) -> bool:
    """Whether something is shown of each compilation, so that none may be skipped."""
    return bool(settings.dump or settings.dump_passes)


# --- the stages


def graph(roots: Sequence[Node]) -> None:
    """The graph as it is scheduled, or interpreted."""
    if "graph" in config.current.dump and _wanted(None, _places(roots)):
        _write("graph", "", _text(roots))


def schedule(kernels: Sequence[KernelGraph]) -> None:
    """The kernels: what each reads and computes, where its nodes are computed, and why."""
    settings = config.current
    for kernel_graph in kernels:
        shown = _wanted(kernel_graph.name, graph_places(kernel_graph))
        if "schedule" in settings.dump and shown:
            _write("schedule", kernel_graph.name, schedule_text(kernel_graph))
        if "fusion" in settings.explain and shown:
            for reason in kernel_graph.reasons:
                say(f"kernel {kernel_graph.name}: {reason}")


def kernel(device: Any, node: Node) -> None:
    """A kernel as it is rendered: its loop tree, source and assembler text."""
    wanted = config.current.dump
    if not wanted & {"kernel", "source", "asm"}:
        return
    name = str(getattr(node.arg, "name", ""))
    if not _wanted(name, _places([node])):
        return
    if "kernel" in wanted:
        _write("kernel", name, _text([node]))
    if "source" in wanted:
        _write("source", name, device.source(node))
    if "asm" in wanted:
        _write("asm", name, device.asm(node))


def after_pass(name: str, stratum: str, before: Sequence[Node], after: Sequence[Node]) -> None:
    """What a pass made of a graph or of a kernel."""
    mode = config.current.dump_passes
    if not mode or mode not in ("changed", "all", name):
        return
    subject = str(getattr(after[0].arg, "name", "")) if stratum == "kernel" and after else ""
    if not _wanted(subject if stratum == "kernel" else None, _places(after)):
        return
    old, new = _text(before) if before else "", _text(after)
    if old == new and mode == "changed":
        return
    text = new
    if config.current.dump_diff and before:
        import difflib

        lines = difflib.unified_diff(
            old.splitlines(), new.splitlines(), "before", "after", lineterm=""
        )
        text = "\n".join(lines)
    _write(f"pass {name}", subject, text)


# --- text


def schedule_text(kernel_graph: KernelGraph) -> str:
    """A kernel graph for a reader: loops, stages, the expression with its inputs named, the reasons."""
    loops = ", ".join(f"{v.name} < {v.extent}" for v in kernel_graph.loops)
    names = {id(n): f"in{i}" for i, n in enumerate(kernel_graph.inputs)}
    lines = [f"kernel {kernel_graph.name}  loops ({loops})"]
    from lazygrad.ir.text import attributes

    for node in kernel_graph.inputs:
        made = "" if node.op is Op.BUFFER else f"{node.op.name.lower()} of a kernel before : "
        made = "part of a buffer : " if node.op is Op.SHRINK else made
        lines.append(f"  {names[id(node)]} = {made}{_describe(node)}{_line(node)}")
    count = 0
    for node in kernel_graph.inside():
        if node.op is Op.CONST or node.op is Op.ARGUMENT:
            names[id(node)] = _number(node)
            continue
        names[id(node)] = f"%{count}"
        sources = ", ".join(names.get(id(source), "?") for source in node.src)
        stage = next((s for s in kernel_graph.stages if s.node is node), None)
        words = " ".join(w for w in (node.op.name.lower(), sources, attributes(node)) if w)
        lines.append(f"  %{count} = {words} : {_describe(node)}{_where(stage)}{_line(node)}")
        count += 1
    lines.append("  writes " + ", ".join(names[id(n)] for n in kernel_graph.results))
    lines += [f"  because {reason}" for reason in kernel_graph.reasons]
    return "\n".join(lines)


def _number(node: Node) -> str:
    """A number where it is read: the value of a constant, or which argument of the plan it is."""
    if isinstance(node.arg, Constant):
        return repr(node.arg.value)
    return f"argument {node.arg.index}" if isinstance(node.arg, Slot) else "argument"


def _where(stage: Stage | None) -> str:
    if stage is None:
        return ""
    path = ", ".join(v.name for v in stage.path) or "the kernel"
    if not stage.free:
        return f"  in a register, at {path}"
    sizes = ", ".join(str(v.extent) for v in stage.free)
    return f"  in a local [{sizes}], at {path}"


def _describe(node: Node) -> str:
    sizes = ", ".join(map(str, node.shape))
    return f"{node.dtype.short}[{sizes}]"


def _line(node: Node) -> str:
    if node.site is None:
        return ""
    from lazygrad.site import describe

    return f"  # {describe(node.site)}"


def _text(roots: Sequence[Node]) -> str:
    from lazygrad.ir.text import show

    return show(list(roots)).rstrip("\n")


# --- filter and output


def graph_places(kernel_graph: KernelGraph) -> set[str]:
    """The user's lines in a kernel graph, as train.py:7."""
    return _lines_of(kernel_graph.inside())


def _places(roots: Sequence[Node]) -> set[str]:
    return _lines_of(postorder(roots)) if config.current.dump_filter else set()


def _lines_of(nodes: Iterable[Node]) -> set[str]:
    from lazygrad.site import line_of

    sites = {node.site for node in nodes if node.site is not None}
    return {f"{os.path.basename(site[0].co_filename)}:{line_of(site)}" for site in sites}


def _wanted(name: str | None, places: set[str]) -> bool:
    """Whether the filter lets this name (None: anything without one) and these lines through."""
    pattern = config.current.dump_filter
    if not pattern:
        return True
    kernel_pattern, _, line = pattern.partition("@")
    if name is not None and kernel_pattern and not fnmatchcase(name, kernel_pattern):
        return False
    return not line or any(fnmatchcase(place, line) for place in places)


SUFFIX = {"source": "ll", "asm": "s"}


def _write(what: str, name: str, text: str) -> None:
    directory = config.current.dump_to
    title = f"{what} {name}".strip()
    with _lock:
        if not directory:
            print(f"--- {title}\n{text}", file=sys.stderr)
            return
        os.makedirs(directory, exist_ok=True)
        words = re.sub(r"[^\w.-]+", "_", title)
        path = os.path.join(directory, f"{next(_numbers):04d}_{words}.{SUFFIX.get(what, 'txt')}")
        with open(path, "w") as file:
            file.write(text + "\n")


def say(text: str) -> None:
    """One line of explanation."""
    with _lock:
        print(f"lazygrad: {text}", file=sys.stderr)


# --- explanations


def explain_compile(normal: Normal, known: Iterable[Any]) -> None:
    """Say which part of a new key differs from the nearest key that has a plan, and on which line of the user's."""
    entries = normal.entries
    best: tuple[int, int] | None = None
    nearest: tuple[Any, ...] = ()
    for key in known:
        other = key[0]
        equal = sum(a == b for a, b in zip(entries, other, strict=False))
        rank = (equal, -abs(len(other) - len(entries)))
        if best is None or rank > best:
            best, nearest = rank, key
    if best is None:
        say(f"compiles {_size(normal)}: the first program{user_line()}")
        return
    other = nearest[0]
    for number, (new, old) in enumerate(zip(entries, other, strict=False)):
        if new != old:
            say(
                f"compiles {_size(normal)}: {_difference(new, old)} at {_describe_line(normal.nodes, number)}{user_line()}"
            )
            return
    if len(entries) != len(other):
        why = f"{len(entries)} nodes where the nearest plan has {len(other)}"
    elif normal.key[1] != nearest[1]:
        why = "other nodes of the same graph are asked for"
    elif normal.key[2] != nearest[2]:
        why = "other leaves may be differentiated"
    else:
        why = "other values are known already"
    say(f"compiles {_size(normal)}: {why}{user_line()}")


def _size(normal: Normal) -> str:
    return f"a program of {len(normal.nodes)} nodes"


def _describe_line(nodes: Sequence[Node], number: int) -> str:
    return f"{nodes[number]!r}{_line(nodes[number])}"


FIELDS = {
    "BUFFER": ("operation", "buffer", "dtype", "shape", "device", "alignment"),
    "ARGUMENT": ("operation", "number", "dtype", "shape", "device"),
    "CONST": ("operation", "value", "dtype", "shape", "device"),
}
"""What the fields of an entry are called; other operations have sources, shape, dtype and arg."""


def _difference(new: tuple[Any, ...], old: tuple[Any, ...]) -> str:
    if new[0] != old[0]:
        return f"{new[0].name.lower()} where the nearest plan has {old[0].name.lower()}"
    names = FIELDS.get(new[0].name, ("operation", "sources", "shape", "dtype", "arg"))
    for position, (a, b) in enumerate(zip(new, old, strict=False)):
        if a != b:
            name = names[position] if position < len(names) else "sources"
            return f"{name} {a} where the nearest plan has {b}"
    return "the number of sources differs"


def explain_run(nodes: Sequence[Node], why: str) -> None:
    """Say what runs now, and who asked for it."""
    say(f"runs {len(nodes)} result{'s' * (len(nodes) != 1)}: {why or asker()}{user_line()}")


def asker() -> str:
    """The function of ours that the user's line called."""
    frame = sys._getframe(1)
    name = ""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    while frame is not None and frame.f_code.co_filename.startswith(package):
        name = frame.f_code.co_name
        if frame.f_back is None:
            break
        frame = frame.f_back
    return f"asked for by {name}"


def user_line() -> str:
    """' (train.py:7  print(loss))' for the innermost line of the user's that is running."""
    from lazygrad.site import describe, here

    site = here()
    return f" ({describe(site)})" if site is not None else ""
