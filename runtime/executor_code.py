"""The executor's code, LLVM IR: `execute` runs a plan, `launch` one kernel; executor.py says what they are given.

In: the system and processor that this runs on. Out: the text of one module, the thread pool (threads.py) included, whose symbol `exports`
is a table of addresses: of the PyMethodDefs of `execute` and `launch` (METH_FASTCALL), of `reset` and of `stop`. Loops have phi nodes or
variables on the stack, which LLVM turns into registers. A function that makes a Python object returns null with Python's error set.
"""

from __future__ import annotations

import mmap
import sys

from .launch_code import LAUNCHES
from .memory import HUGE_PAGE
from .threads import pool_text

POLL_NANOSECONDS = 50_000_000
"""How often signals are looked for."""

EXECUTE = """
@execute.name = private constant [8 x i8] c"execute\\00"
@execute.method = internal global { ptr, ptr, i32, ptr } { ptr @execute.name, ptr @execute, i32 128, ptr null }
@launch.name = private constant [7 x i8] c"launch\\00"
@launch.method = internal global { ptr, ptr, i32, ptr } { ptr @launch.name, ptr @launch, i32 128, ptr null }
@exports = global [4 x ptr] [ptr @execute.method, ptr @launch.method, ptr @reset, ptr @stop]
@address.text = private constant [8 x i8] c"address\\00"
@address = internal global ptr null

declare i64 @PyLong_AsLongLong(ptr)
declare i64 @PyLong_AsUnsignedLongLongMask(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyNumber_Long(ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PySequence_GetItem(ptr, i64)
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyList_New(i64)
declare ptr @PyUnicode_InternFromString(ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_CheckSignals()
declare ptr @PyErr_NoMemory()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @malloc(i64)

; Whether a signal's handler raised. %clock: the time of the last look, and the thread that gave Python's lock away.
define internal i32 @poll(ptr %clock) nounwind {
entry:
  %time = alloca [2 x i64]
  %read = call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %seconds = load i64, ptr %time
  %fraction.at = getelementptr i64, ptr %time, i64 1
  %fraction = load i64, ptr %fraction.at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %fraction
  %last = load i64, ptr %clock
  %passed = sub i64 %now, %last
  %due = icmp sgt i64 %passed, POLL
  br i1 %due, label %look, label %fine
fine:
  ret i32 0
look:
  store i64 %now, ptr %clock
  %thread.at = getelementptr i64, ptr %clock, i64 1
  %thread = load ptr, ptr %thread.at
  %first = icmp eq i64 %last, 0
  br i1 %first, label %fine, label %ask
ask:
  call void @PyEval_RestoreThread(ptr %thread)
  %raised = call i32 @PyErr_CheckSignals()
  %saved = call ptr @PyEval_SaveThread()
  %bad = icmp ne i32 %raised, 0
  %result = zext i1 %bad to i32
  ret i32 %result
}

; The address of a buffer; 0 with Python's error set, also for a buffer that is null. Takes the reference.
define internal i64 @address_of(ptr %buffer) nounwind {
entry:
  %none = icmp eq ptr %buffer, null
  br i1 %none, label %nothing, label %ask
ask:
  %name = load ptr, ptr @address
  %attribute = call ptr @PyObject_GetAttr(ptr %buffer, ptr %name)
  call void @Py_DecRef(ptr %buffer)
  %missing = icmp eq ptr %attribute, null
  br i1 %missing, label %nothing, label %convert
convert:
  %value = call i64 @PyLong_AsLongLong(ptr %attribute)
  call void @Py_DecRef(ptr %attribute)
  ret i64 %value
nothing:
  ret i64 0
}

; A number as the 8 bytes of a slot; takes the reference. Errors as above.
define internal i64 @number(ptr %object, i64 %kind) nounwind {
entry:
  %none = icmp eq ptr %object, null
  br i1 %none, label %nothing, label %convert
convert:
  %integer = icmp eq i64 %kind, 2
  br i1 %integer, label %whole, label %real
whole:
  %long = call ptr @PyNumber_Long(ptr %object)
  call void @Py_DecRef(ptr %object)
  %missing = icmp eq ptr %long, null
  br i1 %missing, label %nothing, label %mask
mask:
  %bits = call i64 @PyLong_AsUnsignedLongLongMask(ptr %long)
  call void @Py_DecRef(ptr %long)
  ret i64 %bits
real:
  %double = call double @PyFloat_AsDouble(ptr %object)
  call void @Py_DecRef(ptr %object)
  %wide = icmp eq i64 %kind, 0
  br i1 %wide, label %as.double, label %as.float
as.double:
  %double.bits = bitcast double %double to i64
  ret i64 %double.bits
as.float:
  %float = fptrunc double %double to float
  %float.bits = bitcast float %float to i32
  %extended = zext i32 %float.bits to i64
  ret i64 %extended
nothing:
  ret i64 0
}

; A buffer for one output, as a new reference: from its ring if nothing else refers to it, else from %make.
define internal ptr @take(ptr %ring, ptr %make, i64 %index) nounwind {
entry:
  %none = icmp eq ptr %ring, null
  br i1 %none, label %nothing, label %begin
begin:
  %count = call i64 @PyList_Size(ptr %ring)
  br label %next
next:
  %at = phi i64 [ 0, %begin ], [ %at.next, %taken ]
  %some = icmp slt i64 %at, %count
  br i1 %some, label %look, label %new
look:
  %item = call ptr @PyList_GetItem(ptr %ring, i64 %at)
  %references = load i32, ptr %item                ; the first word of an object, in builds with Python's lock
  %free = icmp eq i32 %references, 1
  br i1 %free, label %use, label %taken
use:
  call void @Py_IncRef(ptr %item)
  ret ptr %item
taken:
  %at.next = add i64 %at, 1
  br label %next
new:
  %number = call ptr @PyLong_FromLongLong(i64 %index)
  %unlucky = icmp eq ptr %number, null
  br i1 %unlucky, label %nothing, label %call
call:
  %made = call ptr @PyObject_CallOneArg(ptr %make, ptr %number)
  call void @Py_DecRef(ptr %number)
  ret ptr %made
nothing:
  ret ptr null
}

define ptr @execute(ptr %self, ptr %arguments, i64 %count) nounwind {
entry:
  %clock = alloca [2 x i64]
  %memory = alloca ptr
  %enough = icmp eq i64 %count, 7
  br i1 %enough, label %named, label %misused
misused:
  %minus = call ptr @PyLong_FromLongLong(i64 -1)
  ret ptr %minus
named:
  %known = load ptr, ptr @address
  %new = icmp eq ptr %known, null
  br i1 %new, label %name, label %read
name:
  %interned = call ptr @PyUnicode_InternFromString(ptr @address.text)
  store ptr %interned, ptr @address
  br label %read
read:
  %program.object = load ptr, ptr %arguments
  %program.address = call i64 @PyLong_AsLongLong(ptr %program.object)
  %program = inttoptr i64 %program.address to ptr
  %rings.at = getelementptr ptr, ptr %arguments, i64 1
  %rings = load ptr, ptr %rings.at
  %make.at = getelementptr ptr, ptr %arguments, i64 2
  %make = load ptr, ptr %make.at
  %buffers.at = getelementptr ptr, ptr %arguments, i64 3
  %buffers = load ptr, ptr %buffers.at
  %numbers.at = getelementptr ptr, ptr %arguments, i64 4
  %numbers = load ptr, ptr %numbers.at
  %dims.at = getelementptr ptr, ptr %arguments, i64 5
  %dims = load ptr, ptr %dims.at
  %threads.at = getelementptr ptr, ptr %arguments, i64 6
  %threads.object = load ptr, ptr %threads.at
  %threads = call i64 @PyLong_AsLongLong(ptr %threads.object)
  %wrong = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %wrong, null
  br i1 %fine, label %header, label %nothing
nothing:
  ret ptr null
header:
  %inputs = load i64, ptr %program
  %n1 = getelementptr i64, ptr %program, i64 1
  %news = load i64, ptr %n1
  %n2 = getelementptr i64, ptr %program, i64 2
  %scalars = load i64, ptr %n2
  %n3 = getelementptr i64, ptr %program, i64 3
  %sizes = load i64, ptr %n3
  %n4 = getelementptr i64, ptr %program, i64 4
  %patches = load i64, ptr %n4
  %n5 = getelementptr i64, ptr %program, i64 5
  %words = load i64, ptr %n5
  %n6 = getelementptr i64, ptr %program, i64 6
  %launches = load i64, ptr %n6
  %n7 = getelementptr i64, ptr %program, i64 7
  %scratch = load i64, ptr %n7
  %n8 = getelementptr i64, ptr %program, i64 8
  %bundles = load i64, ptr %n8
  %n9 = getelementptr i64, ptr %program, i64 9
  %whole = load i64, ptr %n9
  %kinds = getelementptr i64, ptr %program, i64 10
  %patch.table = getelementptr i64, ptr %kinds, i64 %scalars
  %patch.words = mul i64 %patches, 3
  %launch.table = getelementptr i64, ptr %patch.table, i64 %patch.words
  %launch.words = mul i64 %launches, 5
  %bundle.table = getelementptr i64, ptr %launch.table, i64 %launch.words
  %first.number = add i64 %inputs, %news
  %first.dim = add i64 %first.number, %scalars
  %own.address = add i64 %first.dim, %sizes
  %values.count = add i64 %own.address, 1
  %all.words = add i64 %values.count, %words
  %bytes = mul i64 %all.words, 8
  %values = call ptr @malloc(i64 %bytes)
  %refused = icmp eq ptr %values, null
  br i1 %refused, label %no.memory, label %table
no.memory:
  %complaint = call ptr @PyErr_NoMemory()
  ret ptr null
table:
  %slots = getelementptr i64, ptr %values, i64 %values.count
  %slot.bytes = mul i64 %words, 8
  call void @llvm.memset.p0.i64(ptr %slots, i8 0, i64 %slot.bytes, i1 false)
  %slots.number = ptrtoint ptr %slots to i64
  %own.at = getelementptr i64, ptr %values, i64 %own.address
  store i64 %slots.number, ptr %own.at
  %result = call ptr @PyList_New(i64 %news)
  %no.list = icmp eq ptr %result, null
  br i1 %no.list, label %fail, label %input
input:
  %i = phi i64 [ 0, %table ], [ %i.next, %input.one ]
  %i.more = icmp slt i64 %i, %inputs
  br i1 %i.more, label %input.one, label %output
input.one:
  %i.buffer = call ptr @PySequence_GetItem(ptr %buffers, i64 %i)
  %i.address = call i64 @address_of(ptr %i.buffer)
  %i.at = getelementptr i64, ptr %values, i64 %i
  store i64 %i.address, ptr %i.at
  %i.next = add i64 %i, 1
  br label %input
output:
  %o = phi i64 [ 0, %input ], [ %o.next, %output.keep ]
  %o.more = icmp slt i64 %o, %news
  br i1 %o.more, label %output.one, label %scalar
output.one:
  %ring = call ptr @PyTuple_GetItem(ptr %rings, i64 %o)
  %o.buffer = call ptr @take(ptr %ring, ptr %make, i64 %o)
  %o.none = icmp eq ptr %o.buffer, null
  br i1 %o.none, label %fail.result, label %output.keep
output.keep:
  call void @Py_IncRef(ptr %o.buffer)
  %o.address = call i64 @address_of(ptr %o.buffer)
  %kept = call i32 @PyList_SetItem(ptr %result, i64 %o, ptr %o.buffer)
  %o.position = add i64 %inputs, %o
  %o.at = getelementptr i64, ptr %values, i64 %o.position
  store i64 %o.address, ptr %o.at
  %o.next = add i64 %o, 1
  br label %output
scalar:
  %n = phi i64 [ 0, %output ], [ %n.next, %scalar.one ]
  %n.more = icmp slt i64 %n, %scalars
  br i1 %n.more, label %scalar.one, label %size
scalar.one:
  %n.object = call ptr @PySequence_GetItem(ptr %numbers, i64 %n)
  %n.kind.at = getelementptr i64, ptr %kinds, i64 %n
  %n.kind = load i64, ptr %n.kind.at
  %n.bits = call i64 @number(ptr %n.object, i64 %n.kind)
  %n.position = add i64 %first.number, %n
  %n.at = getelementptr i64, ptr %values, i64 %n.position
  store i64 %n.bits, ptr %n.at
  %n.next = add i64 %n, 1
  br label %scalar
size:
  %d = phi i64 [ 0, %scalar ], [ %d.next, %size.one ]
  %d.more = icmp slt i64 %d, %sizes
  br i1 %d.more, label %size.one, label %converted
size.one:
  %d.object = call ptr @PySequence_GetItem(ptr %dims, i64 %d)
  %d.bits = call i64 @number(ptr %d.object, i64 2)
  %d.position = add i64 %first.dim, %d
  %d.at = getelementptr i64, ptr %values, i64 %d.position
  store i64 %d.bits, ptr %d.at
  %d.next = add i64 %d, 1
  br label %size
converted:
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %patch, label %fail.result
patch:
  %p = phi i64 [ 0, %converted ], [ %p.next, %patch.one ]
  %p.more = icmp slt i64 %p, %patches
  br i1 %p.more, label %patch.one, label %borrow
patch.one:
  %p.word = mul i64 %p, 3
  %p.record = getelementptr i64, ptr %patch.table, i64 %p.word
  %p.slot = load i64, ptr %p.record
  %p.value.at = getelementptr i64, ptr %p.record, i64 1
  %p.value = load i64, ptr %p.value.at
  %p.added.at = getelementptr i64, ptr %p.record, i64 2
  %p.added = load i64, ptr %p.added.at
  %p.from = getelementptr i64, ptr %values, i64 %p.value
  %p.bits = load i64, ptr %p.from
  %p.sum = add i64 %p.bits, %p.added
  %p.to = getelementptr i64, ptr %slots, i64 %p.slot
  store i64 %p.sum, ptr %p.to
  %p.next = add i64 %p, 1
  br label %patch
borrow:
  store ptr null, ptr %memory
  %borrows = icmp sgt i64 %scratch, 0
  br i1 %borrows, label %borrow.some, label %run
borrow.some:
  %no.scratch = call i32 @borrow(ptr %memory, i64 %scratch)
  %lacking = icmp ne i32 %no.scratch, 0
  br i1 %lacking, label %fail.memory, label %run
fail.memory:
  %cry = call ptr @PyErr_NoMemory()
  br label %fail.result
run:
  %local = load ptr, ptr %memory
  %unbroken = icmp ne i64 %whole, 0
  br i1 %unbroken, label %run.whole, label %run.free
run.whole:                                        ; it writes where others look: until it has ended nobody does, and no signal is looked for
  store i64 9223372036854775807, ptr %clock
  %whole.status = call i64 @launch_all(ptr %launch.table, ptr %bundle.table, i64 %bundles, ptr %slots, ptr %local, i64 %threads, ptr %clock)
  br label %ran
run.free:
  store i64 0, ptr %clock
  %thread = call ptr @PyEval_SaveThread()
  %thread.at = getelementptr i64, ptr %clock, i64 1
  store ptr %thread, ptr %thread.at
  %free.status = call i64 @launch_all(ptr %launch.table, ptr %bundle.table, i64 %bundles, ptr %slots, ptr %local, i64 %threads, ptr %clock)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %ran
ran:
  %status = phi i64 [ %whole.status, %run.whole ], [ %free.status, %run.free ]
  call void @free(ptr %local)
  call void @free(ptr %values)
  %ok = icmp eq i64 %status, 0
  br i1 %ok, label %success, label %failed
success:
  ret ptr %result
failed:
  call void @Py_DecRef(ptr %result)
  %raised = icmp slt i64 %status, 0
  br i1 %raised, label %nothing, label %report
report:
  %code = call ptr @PyLong_FromLongLong(i64 %status)
  ret ptr %code
fail.result:
  call void @Py_DecRef(ptr %result)
  br label %fail
fail:
  call void @free(ptr %values)
  ret ptr null
}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""

LAUNCH = """; One kernel: its address, that of its slots, the first trip and the end (negative: all), the grain, scratch bytes, threads.
define ptr @launch(ptr %self, ptr %arguments, i64 %count) nounwind {
entry:
  %given = alloca [7 x i64]
  %clock = alloca [2 x i64]
  %memory = alloca ptr
  store ptr null, ptr %memory
  store i64 0, ptr %clock
  %enough = icmp eq i64 %count, 7
  br i1 %enough, label %argument, label %result
argument:
  %i = phi i64 [ 0, %entry ], [ %i.next, %argument ]
  %object.at = getelementptr ptr, ptr %arguments, i64 %i
  %object = load ptr, ptr %object.at
  %value = call i64 @PyLong_AsLongLong(ptr %object)
  %value.at = getelementptr i64, ptr %given, i64 %i
  store i64 %value, ptr %value.at
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, 7
  br i1 %more, label %argument, label %converted
converted:
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %prepare, label %nothing
prepare:
  %function = load ptr, ptr %given
  %slots.at = getelementptr i64, ptr %given, i64 1
  %slots = load ptr, ptr %slots.at
  %begin.at = getelementptr i64, ptr %given, i64 2
  %begin = load i64, ptr %begin.at
  %end.at = getelementptr i64, ptr %given, i64 3
  %end = load i64, ptr %end.at
  %grain.at = getelementptr i64, ptr %given, i64 4
  %grain = load i64, ptr %grain.at
  %scratch.at = getelementptr i64, ptr %given, i64 5
  %scratch = load i64, ptr %scratch.at
  %threads.at = getelementptr i64, ptr %given, i64 6
  %threads = load i64, ptr %threads.at
  %borrows = icmp sgt i64 %scratch, 0
  br i1 %borrows, label %borrow, label %run
borrow:
  %refused = call i32 @borrow(ptr %memory, i64 %scratch)
  %lacking = icmp ne i32 %refused, 0
  br i1 %lacking, label %no.memory, label %run
no.memory:
  %cry = call ptr @PyErr_NoMemory()
  ret ptr null
run:
  %local = load ptr, ptr %memory
  %thread = call ptr @PyEval_SaveThread()
  %thread.at = getelementptr i64, ptr %clock, i64 1
  store ptr %thread, ptr %thread.at
  %all = icmp slt i64 %end, 0
  %divides = icmp sgt i64 %grain, 0
  %region = and i1 %all, %divides
  br i1 %region, label %divided, label %straight
straight:
  call void %function(ptr %slots, i64 %begin, i64 %end, ptr %local)
  br label %ran
divided:
  %stopped = call i32 @region(ptr %function, ptr %slots, i64 %grain, ptr %local, i64 %scratch, i64 %threads, ptr %clock)
  br label %ran
ran:
  %raised = phi i32 [ 0, %straight ], [ %stopped, %divided ]
  call void @PyEval_RestoreThread(ptr %thread)
  call void @free(ptr %local)
  %interrupted = icmp ne i32 %raised, 0
  br i1 %interrupted, label %nothing, label %result
nothing:
  ret ptr null
result:
  %done = phi i64 [ -1, %entry ], [ 0, %ran ]
  %number = call ptr @PyLong_FromLongLong(i64 %done)
  ret ptr %number
}
"""


BORROW = """; Scratch memory: where its address goes, bytes. Much of it lies in huge pages: small ones took a quarter of the time of a sort.
define internal i32 @borrow(ptr %memory, i64 %bytes) nounwind {
  %large = icmp uge i64 %bytes, HUGE
  br i1 %large, label %huge, label %plain
plain:
  %small = call i32 @posix_memalign(ptr %memory, i64 64, i64 %bytes)
  ret i32 %small
huge:
  %lacking = call i32 @posix_memalign(ptr %memory, i64 PAGE, i64 %bytes)
  %there = icmp eq i32 %lacking, 0
  br i1 %there, label %advise, label %done
advise:
  %address = load ptr, ptr %memory
  %refused = call i32 @madvise(ptr %address, i64 %bytes, i32 ADVICE)
  ret i32 0
done:
  ret i32 %lacking
}
declare i32 @madvise(ptr, i64, i32)
"""


def executor_text() -> str:
    """The executor and the pool, for this machine."""
    clock = "6" if sys.platform == "darwin" else "1"
    text = EXECUTE.replace("CLOCK", clock).replace("POLL", str(POLL_NANOSECONDS))
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    least = sys.maxsize if advice is None else 2 * HUGE_PAGE
    borrow = BORROW.replace("HUGE", str(least)).replace("PAGE", str(HUGE_PAGE))
    borrow = borrow.replace("ADVICE", str(advice or 0))
    return f"{text}\n{borrow}\n{LAUNCHES}\n{LAUNCH}\n{pool_text()}"
