"""The thread pool of the CPU device, as LLVM IR, and how many threads it may have.

In: a kernel whose trips are independent, and how many trips make a chunk. The thread that asks opens a region, takes chunks
itself, and waits only for chunks that others have taken; a chunk is claimed by one atomic addition, so nobody waits for
a thread that the system has put aside. Workers look for a new region for some microseconds before they sleep. One region is
open at a time: who finds the pool busy (another Python thread, a signal handler inside a region) runs its trips alone. Which
thread runs a chunk never changes a result.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys

from lazygrad import config

MOST_THREADS = 256
"""The pool has at most this many workers."""
SPINS = 400
"""How often an idle worker looks for work before it sleeps: some 20 microseconds."""

POOL = """
; What the open region runs. Written only while no worker is inside.
@function = internal global ptr null
@slots = internal global ptr null
@trips = internal global i64 0
@grain = internal global i64 0
@scratch = internal global i64 0
@helpers = internal global i64 0
; The next trip to claim; the number of the open region or 0; the workers inside. Each has a cache line.
@next = internal global [8 x i64] zeroinitializer, align 64
@open = internal global [8 x i64] zeroinitializer, align 64
@inside = internal global [8 x i64] zeroinitializer, align 64
; Whether a region is open, how many there have been, the workers asleep, those started, whether they must leave, forks so far.
@busy = internal global i64 0, align 64
@regions = internal global i64 0
@asleep = internal global i64 0
@started = internal global i64 0
@leaving = internal global i64 0
@forks = internal global i64 0
@mutex = internal global [16 x i64] zeroinitializer, align 64
@wake = internal global [16 x i64] zeroinitializer, align 64
@workers = internal global [MOST_THREADS x i64] zeroinitializer

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sched_yield()
declare i32 @usleep(i32)
declare i32 @clock_gettime(i32, ptr)
declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)

; A worker: wait for a region that it has not served, take chunks, start over.
define internal ptr @worker(ptr %argument) nounwind {
entry:
  %served = alloca i64
  %memory = alloca ptr
  %size = alloca i64
  %spins = alloca i64
  store i64 0, ptr %served
  store ptr null, ptr %memory
  store i64 0, ptr %size
  %number = ptrtoint ptr %argument to i64
  br label %idle
idle:
  store i64 0, ptr %spins
  br label %look
look:
  %leave = load atomic i64, ptr @leaving seq_cst, align 8
  %must.leave = icmp ne i64 %leave, 0
  br i1 %must.leave, label %end, label %look.region
look.region:
  %region = load atomic i64, ptr @open seq_cst, align 8
  %before = load i64, ptr %served
  %closed = icmp eq i64 %region, 0
  %known = icmp eq i64 %region, %before
  %none = or i1 %closed, %known
  br i1 %none, label %spin, label %join
join:                                             ; the fields stay as they are while somebody is inside
  %in = atomicrmw add ptr @inside, i64 1 seq_cst
  %again = load atomic i64, ptr @open seq_cst, align 8
  %still = icmp eq i64 %again, %region
  br i1 %still, label %serve, label %out
serve:
  store i64 %region, ptr %served
  %helpers = load i64, ptr @helpers
  %wanted = icmp slt i64 %number, %helpers
  br i1 %wanted, label %prepare, label %out
prepare:
  %need = load i64, ptr @scratch
  %have = load i64, ptr %size
  %small = icmp sgt i64 %need, %have
  br i1 %small, label %grow, label %work
grow:
  %old = load ptr, ptr %memory
  call void @free(ptr %old)
  store ptr null, ptr %memory
  store i64 0, ptr %size
  %refused = call i32 @posix_memalign(ptr %memory, i64 64, i64 %need)
  %got = icmp eq i32 %refused, 0
  br i1 %got, label %grown, label %out
grown:
  store i64 %need, ptr %size
  br label %work
work:
  %local = load ptr, ptr %memory
  %function = load ptr, ptr @function
  %slots = load ptr, ptr @slots
  %trips = load i64, ptr @trips
  %grain = load i64, ptr @grain
  br label %claim
claim:
  %begin = atomicrmw add ptr @next, i64 %grain monotonic
  %some = icmp slt i64 %begin, %trips
  br i1 %some, label %chunk, label %out
chunk:
  %after = add i64 %begin, %grain
  %end.trip = call i64 @llvm.smin.i64(i64 %after, i64 %trips)
  call void %function(ptr %slots, i64 %begin, i64 %end.trip, ptr %local)
  br label %claim
out:
  %left = atomicrmw sub ptr @inside, i64 1 seq_cst
  br label %idle
spin:
  PAUSE
  %turn = load i64, ptr %spins
  %turn.next = add i64 %turn, 1
  store i64 %turn.next, ptr %spins
  %more = icmp slt i64 %turn.next, SPINS
  br i1 %more, label %look, label %sleep
sleep:
  %locked = call i32 @pthread_mutex_lock(ptr @mutex)
  %fell = atomicrmw add ptr @asleep, i64 1 seq_cst
  br label %asleep
asleep:                                           ; who opens a region looks at @asleep afterwards
  %leave.now = load atomic i64, ptr @leaving seq_cst, align 8
  %stays = icmp eq i64 %leave.now, 0
  %region.now = load atomic i64, ptr @open seq_cst, align 8
  %served.now = load i64, ptr %served
  %closed.now = icmp eq i64 %region.now, 0
  %known.now = icmp eq i64 %region.now, %served.now
  %none.now = or i1 %closed.now, %known.now
  %rest = and i1 %stays, %none.now
  br i1 %rest, label %wait, label %awake
wait:
  %waited = call i32 @pthread_cond_wait(ptr @wake, ptr @mutex)
  br label %asleep
awake:
  %rose = atomicrmw sub ptr @asleep, i64 1 seq_cst
  %unlocked = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %idle
end:
  %last = load ptr, ptr %memory
  call void @free(ptr %last)
  ret ptr null
}

; Start workers until there are %wanted, with every signal blocked: signals are for Python's main thread.
define internal void @start(i64 %wanted) nounwind {
entry:
  %all = alloca [32 x i64], align 16
  %old = alloca [32 x i64], align 16
  %most = call i64 @llvm.smin.i64(i64 %wanted, i64 MOST_THREADS)
  %filled = call i32 @sigfillset(ptr %all)
  %blocked = call i32 @pthread_sigmask(i32 SETMASK, ptr %all, ptr %old)
  br label %next
next:
  %number = load i64, ptr @started
  %more = icmp slt i64 %number, %most
  br i1 %more, label %one, label %done
one:
  %handle = getelementptr i64, ptr @workers, i64 %number
  %argument = inttoptr i64 %number to ptr
  %failed = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %argument)
  %fine = icmp eq i32 %failed, 0
  br i1 %fine, label %count, label %done
count:
  %number.next = add i64 %number, 1
  store i64 %number.next, ptr @started
  br label %next
done:
  %restored = call i32 @pthread_sigmask(i32 SETMASK, ptr %old, ptr null)
  ret void
}

; Run all trips of a kernel: 0, or 1 after a signal whose handler raised (some trips have not run then).
define internal i32 @region(ptr %function, ptr %slots, i64 %grain, ptr %memory, i64 %scratch, i64 %threads, ptr %clock) nounwind {
entry:
  %begin = alloca i64
  %stopped = alloca i32
  %turn = alloca i64
  store i32 0, ptr %stopped
  %trips = call i64 %function(ptr %slots, i64 0, i64 0, ptr %memory)
  %several = icmp sgt i64 %threads, 1
  %divisible = icmp sgt i64 %trips, %grain
  %worth = and i1 %several, %divisible
  br i1 %worth, label %acquire, label %serial
acquire:
  %claim = cmpxchg ptr @busy, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %claim, 1
  br i1 %mine, label %check, label %serial
check:
  %leave = load atomic i64, ptr @leaving seq_cst, align 8
  %stays = icmp eq i64 %leave, 0
  br i1 %stays, label %staff, label %release.serial
release.serial:
  store atomic i64 0, ptr @busy seq_cst, align 8
  br label %serial
staff:
  %forks = load i64, ptr @forks
  %others = sub i64 %threads, 1
  %present = load i64, ptr @started
  %few = icmp slt i64 %present, %others
  br i1 %few, label %hire, label %publish
hire:
  call void @start(i64 %others)
  br label %publish
publish:
  store ptr %function, ptr @function
  store ptr %slots, ptr @slots
  store i64 %trips, ptr @trips
  store i64 %grain, ptr @grain
  store i64 %scratch, ptr @scratch
  store i64 %others, ptr @helpers
  store atomic i64 0, ptr @next seq_cst, align 8
  %last = load i64, ptr @regions
  %region = add i64 %last, 1
  store i64 %region, ptr @regions
  store atomic i64 %region, ptr @open seq_cst, align 8
  %asleep = load atomic i64, ptr @asleep seq_cst, align 8
  %call = icmp sgt i64 %asleep, 0
  br i1 %call, label %rouse, label %claim.chunk
rouse:
  %locked = call i32 @pthread_mutex_lock(ptr @mutex)
  %roused = call i32 @pthread_cond_broadcast(ptr @wake)
  %unlocked = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %claim.chunk
claim.chunk:
  %from = atomicrmw add ptr @next, i64 %grain monotonic
  %some = icmp slt i64 %from, %trips
  br i1 %some, label %chunk, label %close
chunk:
  %after = add i64 %from, %grain
  %to = call i64 @llvm.smin.i64(i64 %after, i64 %trips)
  call void %function(ptr %slots, i64 %from, i64 %to, ptr %memory)
  %signal = call i32 @poll(ptr %clock)
  %raised = icmp ne i32 %signal, 0
  br i1 %raised, label %stop, label %claim.chunk
stop:
  store i32 1, ptr %stopped
  store atomic i64 %trips, ptr @next seq_cst, align 8
  br label %close
close:
  store atomic i64 0, ptr @open seq_cst, align 8
  store i64 0, ptr %turn
  br label %join
join:                                             ; for those that still run a chunk
  %inside = load atomic i64, ptr @inside seq_cst, align 8
  %left = icmp eq i64 %inside, 0
  br i1 %left, label %finish, label %pause
pause:
  PAUSE
  %turns = load i64, ptr %turn
  %turns.next = add i64 %turns, 1
  store i64 %turns.next, ptr %turn
  %spinning = icmp slt i64 %turns.next, SPINS
  br i1 %spinning, label %join, label %doze
doze:
  %short = icmp slt i64 %turns.next, 1000
  br i1 %short, label %yield, label %nap
yield:
  %yielded = call i32 @sched_yield()
  br label %join
nap:
  %napped = call i32 @usleep(i32 50)
  br label %join
finish:
  %forks.now = load i64, ptr @forks
  %same = icmp eq i64 %forks, %forks.now
  br i1 %same, label %free, label %result           ; a forked child has a new pool, which is not busy
free:
  store atomic i64 0, ptr @busy seq_cst, align 8
  br label %result
result:
  %code = load i32, ptr %stopped
  %forked = icmp ne i64 %forks, %forks.now
  %whole = icmp eq i32 %code, 0
  %lost = and i1 %forked, %whole                  ; forked inside the region: the workers' chunks are missing
  br i1 %lost, label %serial, label %return
return:
  ret i32 %code
serial:
  store i64 0, ptr %begin
  br label %serial.next
serial.next:
  %at = load i64, ptr %begin
  %rest = icmp slt i64 %at, %trips
  br i1 %rest, label %serial.chunk, label %serial.done
serial.chunk:
  %at.after = add i64 %at, %grain
  %at.end = call i64 @llvm.smin.i64(i64 %at.after, i64 %trips)
  call void %function(ptr %slots, i64 %at, i64 %at.end, ptr %memory)
  store i64 %at.end, ptr %begin
  %serial.signal = call i32 @poll(ptr %clock)
  %serial.raised = icmp ne i32 %serial.signal, 0
  br i1 %serial.raised, label %serial.stop, label %serial.next
serial.stop:
  ret i32 1
serial.done:
  ret i32 0
}

; Forget the workers: at the beginning, and in a forked child, which has none.
define void @reset() nounwind {
  store i64 0, ptr @open
  store i64 0, ptr @inside
  store i64 0, ptr @busy
  store i64 0, ptr @asleep
  store i64 0, ptr @started
  %forks = load i64, ptr @forks
  %forks.next = add i64 %forks, 1
  store i64 %forks.next, ptr @forks
  %mutex = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %wake = call i32 @pthread_cond_init(ptr @wake, ptr null)
  ret void
}

; End all workers, for good: regions run in the threads that ask from now on.
define void @stop() nounwind {
entry:
  %locked = call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @leaving seq_cst, align 8
  %roused = call i32 @pthread_cond_broadcast(ptr @wake)
  %unlocked = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %next
next:
  %count = load i64, ptr @started
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %one, label %done
one:
  %number = sub i64 %count, 1
  store i64 %number, ptr @started
  %handle = getelementptr i64, ptr @workers, i64 %number
  %thread = load i64, ptr %handle
  %joined = call i32 @pthread_join(i64 %thread, ptr null)
  br label %next
done:
  ret void
}

declare i64 @llvm.smin.i64(i64, i64)
"""


def pool_text() -> str:
    """The pool's functions for this machine: `region`, `reset` and `stop`. It needs `poll` from the executor."""
    arm = platform.machine() in ("aarch64", "arm64")
    pause = "call void @llvm.aarch64.hint(i32 1)" if arm else "call void @llvm.x86.sse2.pause()"
    declared = (
        "declare void @llvm.aarch64.hint(i32)" if arm else "declare void @llvm.x86.sse2.pause()"
    )
    words = {
        "PAUSE": pause,
        "SPINS": str(SPINS),
        "MOST_THREADS": str(MOST_THREADS),
        "SETMASK": "3" if sys.platform == "darwin" else "2",
    }
    text = POOL
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return f"{text}{declared}\n"


# --- how many threads


class _Chosen:
    """What set_num_threads said; 0 before it is called."""

    def __init__(self) -> None:
        self.threads = 0
        self.available = 0


_CHOSEN = _Chosen()


def thread_count() -> int:
    """The threads that a plan may use here: the block's setting, set_num_threads, the environment's, or the processors there are."""
    set_here = config.active().num_threads
    if set_here and set_here != config.environment.num_threads:
        return set_here
    return _CHOSEN.threads or set_here or available()


def available() -> int:
    """The processors that this process may keep busy: by its affinity, and by the quota of its control group."""
    if not _CHOSEN.available:
        if hasattr(os, "sched_getaffinity"):
            count = len(os.sched_getaffinity(0))
        else:
            count = os.cpu_count() or 1
        _CHOSEN.available = max(1, min(count, _quota() or count))
    return _CHOSEN.available


def _quota() -> int:
    """The processors of the control group, rounded up; 0 where there is no limit."""
    with contextlib.suppress(OSError, ValueError):
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return 0 if quota == "max" else -(-int(quota) // int(period))
    with contextlib.suppress(OSError, ValueError):
        folder = "/sys/fs/cgroup/cpu/cpu.cfs_"
        with open(f"{folder}quota_us") as file, open(f"{folder}period_us") as other:
            share = int(file.read())
            return -(-share // int(other.read())) if share > 0 else 0
    return 0


def get_num_threads() -> int:
    """How many threads operations may use, as torch.get_num_threads."""
    return thread_count()


def set_num_threads(count: int) -> None:
    """Let operations use `count` threads, as torch.set_num_threads. No result depends on it.

    Raises:
        RuntimeError: `count` is not positive.
    """
    if type(count) is not int:
        raise TypeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _CHOSEN.threads = count
