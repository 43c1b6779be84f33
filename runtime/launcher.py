"""A function that calls machine code from Python, itself compiled here: a sixth of what ctypes costs a launch.

In: the linker of a compiler. Out: `launch(address, slots, begin, end, scratch)`, all integers, which calls
`void (ptr slots, i64 begin, i64 end, ptr scratch)` at `address` with Python's lock released.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .llvm import Compiler

Launch = Callable[[int, int, int, int, int], int]

# PyMethodDef with METH_FASTCALL (128): the arguments come as an array. A bad one leaves Python's error set.
TEXT = """
@name = private constant [7 x i8] c"launch\\00"
@method = global { ptr, ptr, i32, ptr } { ptr @name, ptr @launch, i32 128, ptr null }

declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_FromLong(i64)
declare ptr @PyErr_Occurred()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)

define ptr @launch(ptr %self, ptr %arguments, i64 %count) nounwind {
entry:
  %enough = icmp eq i64 %count, 5
  br i1 %enough, label %convert, label %nothing
convert:
  %object0 = load ptr, ptr %arguments, align 8
  %value0 = call i64 @PyLong_AsLongLong(ptr %object0)
  %at1 = getelementptr inbounds ptr, ptr %arguments, i64 1
  %object1 = load ptr, ptr %at1, align 8
  %value1 = call i64 @PyLong_AsLongLong(ptr %object1)
  %at2 = getelementptr inbounds ptr, ptr %arguments, i64 2
  %object2 = load ptr, ptr %at2, align 8
  %value2 = call i64 @PyLong_AsLongLong(ptr %object2)
  %at3 = getelementptr inbounds ptr, ptr %arguments, i64 3
  %object3 = load ptr, ptr %at3, align 8
  %value3 = call i64 @PyLong_AsLongLong(ptr %object3)
  %at4 = getelementptr inbounds ptr, ptr %arguments, i64 4
  %object4 = load ptr, ptr %at4, align 8
  %value4 = call i64 @PyLong_AsLongLong(ptr %object4)
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %run, label %bad
run:
  %function = inttoptr i64 %value0 to ptr
  %slots = inttoptr i64 %value1 to ptr
  %scratch = inttoptr i64 %value4 to ptr
  %thread = call ptr @PyEval_SaveThread()
  call void %function(ptr %slots, i64 %value2, i64 %value3, ptr %scratch)
  call void @PyEval_RestoreThread(ptr %thread)
  %done = call ptr @PyLong_FromLong(i64 0)
  ret ptr %done
nothing:
  %minus = call ptr @PyLong_FromLong(i64 -1)
  ret ptr %minus
bad:
  ret ptr null
}
"""


def build(compiler: Compiler) -> Launch:
    """The function. Its code is its `self`, so that Python drops the one after the other."""
    address, code = compiler.support(TEXT, "method")
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    make.restype = ctypes.py_object
    function: Launch = make(address, code, None)
    return function
