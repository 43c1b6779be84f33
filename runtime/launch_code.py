"""The part of the executor that walks a plan's launches, LLVM IR: `launch_all`, and `bundle`, which makes one kernel of several.

In: the records of launches and bundles (executor.py), and the slots of a run. Launches of a bundle do not depend on each other: their
chunks, and those that are too small for chunks whole, are the trips of one region of the thread pool, in the order of the launches.
"""

from __future__ import annotations

LAUNCHES = """
; The chunks of several launches as the trips of one kernel. %bundle: their records, how many they are, and the slots of the run; then
; for each launch the chunks before its end, and its trips (-1: it is one chunk, which runs it whole). Those are counted where %end is 0.
define internal i64 @bundle(ptr %bundle, i64 %begin, i64 %end, ptr %memory) nounwind {
entry:
  %records = load ptr, ptr %bundle
  %count.at = getelementptr i64, ptr %bundle, i64 1
  %count = load i64, ptr %count.at
  %slots.at = getelementptr i64, ptr %bundle, i64 2
  %slots = load ptr, ptr %slots.at
  %counts = getelementptr i64, ptr %bundle, i64 3
  %asks = icmp eq i64 %end, 0
  br i1 %asks, label %count.next, label %search
count.next:
  %c = phi i64 [ 0, %entry ], [ %c.next, %counted ]
  %total = phi i64 [ 0, %entry ], [ %total.next, %counted ]
  %c.more = icmp slt i64 %c, %count
  br i1 %c.more, label %count.one, label %count.done
count.one:
  %c.first = mul i64 %c, 5
  %c.record = getelementptr i64, ptr %records, i64 %c.first
  %c.grain.at = getelementptr i64, ptr %c.record, i64 3
  %c.grain = load i64, ptr %c.grain.at
  %c.divides = icmp sgt i64 %c.grain, 0
  br i1 %c.divides, label %count.trips, label %counted
count.trips:
  %c.function = load ptr, ptr %c.record
  %c.start.at = getelementptr i64, ptr %c.record, i64 1
  %c.start = load i64, ptr %c.start.at
  %c.slots = getelementptr i64, ptr %slots, i64 %c.start
  %c.trips = call i64 %c.function(ptr %c.slots, i64 0, i64 0, ptr %memory)
  %c.most = add i64 %c.trips, %c.grain
  %c.over = sub i64 %c.most, 1
  %c.chunks = sdiv i64 %c.over, %c.grain
  br label %counted
counted:
  %chunks = phi i64 [ 1, %count.one ], [ %c.chunks, %count.trips ]
  %trips = phi i64 [ -1, %count.one ], [ %c.trips, %count.trips ]
  %total.next = add i64 %total, %chunks
  %c.pair = mul i64 %c, 2
  %c.end.at = getelementptr i64, ptr %counts, i64 %c.pair
  store i64 %total.next, ptr %c.end.at
  %c.trips.at = getelementptr i64, ptr %c.end.at, i64 1
  store i64 %trips, ptr %c.trips.at
  %c.next = add i64 %c, 1
  br label %count.next
count.done:
  ret i64 %total
search:                                           ; the first launch that ends behind %begin
  %low = phi i64 [ 0, %entry ], [ %low.next, %narrowed ]
  %high = phi i64 [ %count, %entry ], [ %high.next, %narrowed ]
  %open = icmp slt i64 %low, %high
  br i1 %open, label %halve, label %run.next
halve:
  %sum = add i64 %low, %high
  %middle = lshr i64 %sum, 1
  %m.pair = mul i64 %middle, 2
  %m.end.at = getelementptr i64, ptr %counts, i64 %m.pair
  %m.end = load i64, ptr %m.end.at
  %behind = icmp sgt i64 %m.end, %begin
  %above = add i64 %middle, 1
  br label %narrowed
narrowed:
  %low.next = select i1 %behind, i64 %low, i64 %above
  %high.next = select i1 %behind, i64 %middle, i64 %high
  br label %search
run.next:
  %number = phi i64 [ %low, %search ], [ %number.next, %ran ]
  %at = phi i64 [ %begin, %search ], [ %stop, %ran ]
  %more = icmp slt i64 %at, %end
  br i1 %more, label %run.one, label %done
run.one:
  %pair = mul i64 %number, 2
  %end.at = getelementptr i64, ptr %counts, i64 %pair
  %own.end = load i64, ptr %end.at
  %stop = call i64 @llvm.smin.i64(i64 %own.end, i64 %end)
  %first = mul i64 %number, 5
  %record = getelementptr i64, ptr %records, i64 %first
  %function = load ptr, ptr %record
  %start.at = getelementptr i64, ptr %record, i64 1
  %start = load i64, ptr %start.at
  %own = getelementptr i64, ptr %slots, i64 %start
  %trips.at = getelementptr i64, ptr %end.at, i64 1
  %own.trips = load i64, ptr %trips.at
  %empty = icmp sle i64 %stop, %at
  br i1 %empty, label %ran, label %some
some:
  %whole = icmp slt i64 %own.trips, 0
  br i1 %whole, label %run.whole, label %run.part
run.whole:
  call void %function(ptr %own, i64 0, i64 -1, ptr %memory)
  br label %ran
run.part:
  %grain.at = getelementptr i64, ptr %record, i64 3
  %grain = load i64, ptr %grain.at
  %own.more = add i64 %own.trips, %grain
  %own.over = sub i64 %own.more, 1
  %own.chunks = sdiv i64 %own.over, %grain
  %own.begin = sub i64 %own.end, %own.chunks
  %from.chunk = sub i64 %at, %own.begin
  %from = mul i64 %from.chunk, %grain
  %to.chunk = sub i64 %stop, %own.begin
  %to.most = mul i64 %to.chunk, %grain
  %to = call i64 @llvm.smin.i64(i64 %to.most, i64 %own.trips)
  call void %function(ptr %own, i64 %from, i64 %to, ptr %memory)
  br label %ran
ran:
  %number.next = add i64 %number, 1
  br label %run.next
done:
  ret i64 0
}

; Every bundle, in a plan that can be interrupted without Python's lock: 0, the number of a failed check, or -1 with Python's error set.
define internal i64 @launch_all(ptr %launches, ptr %bundles, i64 %count, ptr %slots, ptr %memory, i64 %threads, ptr %clock) nounwind {
entry:
  br label %next
next:
  %bundle = phi i64 [ 0, %entry ], [ %bundle.next, %go.on ]
  %more = icmp slt i64 %bundle, %count
  br i1 %more, label %one, label %done
one:
  %bundle.first = mul i64 %bundle, 5
  %about = getelementptr i64, ptr %bundles, i64 %bundle.first
  %first = load i64, ptr %about
  %members.at = getelementptr i64, ptr %about, i64 1
  %members = load i64, ptr %members.at
  %past = add i64 %first, %members
  %record.first = mul i64 %first, 5
  %record = getelementptr i64, ptr %launches, i64 %record.first
  %several = icmp sgt i64 %members, 1
  br i1 %several, label %together, label %alone
together:
  %place.at = getelementptr i64, ptr %about, i64 2
  %place = load i64, ptr %place.at
  %description = getelementptr i64, ptr %slots, i64 %place
  store ptr %record, ptr %description
  %members.to = getelementptr i64, ptr %description, i64 1
  store i64 %members, ptr %members.to
  %slots.to = getelementptr i64, ptr %description, i64 2
  store ptr %slots, ptr %slots.to
  %claim.at = getelementptr i64, ptr %about, i64 3
  %claim = load i64, ptr %claim.at
  %most.at = getelementptr i64, ptr %about, i64 4
  %most = load i64, ptr %most.at
  %left = call i32 @region(ptr @bundle, ptr %description, i64 %claim, ptr %memory, i64 %most, i64 %threads, ptr %clock)
  br label %ran
alone:
  %function = load ptr, ptr %record
  %start.at = getelementptr i64, ptr %record, i64 1
  %start = load i64, ptr %start.at
  %own = getelementptr i64, ptr %slots, i64 %start
  %grain.at = getelementptr i64, ptr %record, i64 3
  %grain = load i64, ptr %grain.at
  %divides = icmp sgt i64 %grain, 0
  br i1 %divides, label %chunks, label %whole
whole:
  call void %function(ptr %own, i64 0, i64 -1, ptr %memory)
  %again = add i64 %bundle, 1
  %last = icmp eq i64 %again, %count
  br i1 %last, label %check, label %look
look:
  %signal = call i32 @poll(ptr %clock)
  br label %ran
chunks:
  %scratch.at = getelementptr i64, ptr %record, i64 4
  %scratch = load i64, ptr %scratch.at
  %stopped = call i32 @region(ptr %function, ptr %own, i64 %grain, ptr %memory, i64 %scratch, i64 %threads, ptr %clock)
  br label %ran
ran:
  %raised = phi i32 [ %signal, %look ], [ %stopped, %chunks ], [ %left, %together ]
  %bad = icmp ne i32 %raised, 0
  br i1 %bad, label %interrupted, label %check
check:
  %number = phi i64 [ %first, %whole ], [ %first, %ran ], [ %number.next, %passed ]
  %some = icmp slt i64 %number, %past
  br i1 %some, label %check.one, label %go.on
check.one:
  %checked.first = mul i64 %number, 5
  %error.word = add i64 %checked.first, 2
  %error.at = getelementptr i64, ptr %launches, i64 %error.word
  %error = load i64, ptr %error.at
  %unchecked = icmp slt i64 %error, 0
  br i1 %unchecked, label %passed, label %read
read:
  %word.at = getelementptr i64, ptr %slots, i64 %error
  %word = load i64, ptr %word.at
  %fine = icmp eq i64 %word, 0
  br i1 %fine, label %passed, label %failed
passed:
  %number.next = add i64 %number, 1
  br label %check
go.on:
  %bundle.next = add i64 %bundle, 1
  br label %next
failed:
  %high = shl i64 %number, 32
  %code = or i64 %high, %word
  ret i64 %code
interrupted:
  ret i64 -1
done:
  ret i64 0
}
"""
