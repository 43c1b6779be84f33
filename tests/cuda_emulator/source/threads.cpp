// The threads of one block: fibers that run until they wait for others, in an order that is always the same.
//
// A thread gets a stack when it starts and gives it back when it ends, so a kernel that waits for nothing runs as a plain loop on one stack.
// What waits: __syncthreads (all threads of the block, which must all come to the same one), and exchanges of a warp's lanes, of which
// shuffles, votes, __syncwarp and the matrix instructions are made. When nobody can run and not all are done, a barrier was divergent.
#include "emulator.hpp"

#include <sys/mman.h>

#include <cstring>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

Block block;
Thread *current;
uint64_t stacks_begin, stacks_end;

namespace {

constexpr uint64_t STACK_BYTES = 256 * 1024;
constexpr int LAUNCH_FAILED = 719;
std::vector<unsigned char *> free_stacks;
void *scheduler;
bool has_failed;

#if defined(__x86_64__)
// Saves what a call must keep, changes the stack, and returns there.
asm(R"(
.text
.type emulator_switch,@function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch,.-emulator_switch
)");
extern "C" void emulator_switch(void **saved, void *other) __attribute__((visibility("hidden")));

void *new_fiber(unsigned char *stack, void (*body)()) {
  void **top = reinterpret_cast<void **>(stack + STACK_BYTES) - 3;  // on entry the stack is 8 off a multiple of 16, as after a call
  *top = nullptr;
  *--top = reinterpret_cast<void *>(body);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  return top;
}
#else
void emulator_switch(void **saved, void *other) {
  ucontext_t here;
  *saved = &here;
  swapcontext(&here, static_cast<ucontext_t *>(other));
}

void *new_fiber(unsigned char *stack, void (*body)()) {
  auto *context = reinterpret_cast<ucontext_t *>(stack + 4096);
  getcontext(context);
  context->uc_stack.ss_sp = stack + 4096 + sizeof(ucontext_t);
  context->uc_stack.ss_size = STACK_BYTES - 4096 - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, body, 0);
  return context;
}
#endif

void open_stacks() {
  const uint64_t bytes = STACK_BYTES * MOST_THREADS;
  void *place = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  stacks_begin = reinterpret_cast<uint64_t>(place), stacks_end = stacks_begin + bytes;
  for (int i = MOST_THREADS; i--;) {
    free_stacks.push_back(static_cast<unsigned char *>(place) + i * STACK_BYTES);
    mprotect(free_stacks.back(), 4096, PROT_NONE);
  }
}

void to_scheduler() {
  Thread *self = current;
  emulator_switch(&self->stack_pointer, scheduler);
}

bool complete(const Exchange &exchange, const Warp &warp) {
  return exchange.arrived && (exchange.arrived & warp.alive) == (exchange.mask & warp.alive);
}

void finish(Exchange &exchange) {
  for (uint32_t at = exchange.first; at < block.count && at < exchange.first + WARP; ++at) {
    Thread &thread = block.threads[at];
    if (thread.exchange == &exchange && thread.state == State::at_exchange) thread.state = State::ready;
  }
  exchange.took[exchange.parity] = exchange.arrived;
  exchange.arrived = 0;
  exchange.parity ^= 1;
}

void body() {
  block.kernel->call(block.arguments);
  current->state = State::done;
  to_scheduler();
}

void resume(Thread &thread) {
  if (thread.state == State::fresh) {
    thread.stack = free_stacks.back();
    free_stacks.pop_back();
    thread.stack_pointer = new_fiber(thread.stack, body);
    thread.state = State::ready;
  }
  current = &thread;
  emulator_switch(&scheduler, thread.stack_pointer);
  current = nullptr;
  if (thread.state != State::done || has_failed) return;
  free_stacks.push_back(thread.stack);
  thread.stack = nullptr;
  ++block.finished;
  Warp &warp = block.warps[thread.linear / WARP];
  warp.alive &= ~(1u << thread.linear % WARP);
  for (Exchange &exchange : warp.exchanges)
    if (complete(exchange, warp)) finish(exchange);
}

// Nobody can run: who waits where?
void report_deadlock() {
  for (Thread &thread : block.threads) {
    if (thread.state != State::at_barrier && thread.state != State::at_exchange) continue;
    current = &thread;
    if (thread.state == State::at_barrier) {
      uint32_t here = 0, elsewhere = 0;
      for (const Thread &other : block.threads) {
        here += other.state == State::at_barrier && other.line == thread.line;
        elsewhere += other.state != State::done && !(other.state == State::at_barrier && other.line == thread.line);
      }
      failed(LAUNCH_FAILED, text("divergent barrier: %u of %u threads came to __syncthreads in line %u; %u wait elsewhere, %u have left the kernel", here,
                                 block.count, thread.line, elsewhere, block.finished), 0, nullptr);
    }
    const Exchange &exchange = *thread.exchange;
    failed(LAUNCH_FAILED, text("divergent %s in line %u: of the lanes %08x only %08x came", exchange.what, exchange.line, exchange.mask, exchange.arrived), 0, nullptr);
  }
}

void run_warps() {
  while (block.finished < block.count) {
    bool progress = false;
    for (uint32_t first = 0; first < block.count; first += WARP) {
      for (bool ran = true; ran;) {
        ran = false;
        for (uint32_t at = first; at < block.count && at < first + WARP; ++at) {
          Thread &thread = block.threads[at];
          if (thread.state != State::fresh && thread.state != State::ready) continue;
          resume(thread);
          ran = progress = true;
        }
      }
    }
    if (!progress) report_deadlock();
  }
}

void *beginning;

}  // namespace

void abandon() {
  has_failed = true;
  void *left;
  emulator_switch(&left, beginning);
  __builtin_unreachable();
}

// The scheduler is a fiber too, so that a failure leaves it and all threads from wherever it is noticed.
bool run_block() {
  if (!stacks_begin) open_stacks();
  static unsigned char *const stack = static_cast<unsigned char *>(mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  has_failed = false;
  block.waiting = block.finished = 0;
  block.phase = block.first_phase;
  block.follows_earlier_blocks = false;
  for (uint32_t i = 0; i < block.count; ++i) {
    Thread &thread = block.threads[i];
    thread.state = State::fresh;
    thread.exchange = nullptr;
    thread.fenced = false;
    thread.copy_group = 0;
    for (const PendingCopy &copy : thread.copies) note_copy(copy.target, copy.bytes, false);
    thread.copies.clear();
  }
  for (uint32_t i = 0; i < block.warps.size(); ++i) {
    const uint32_t lanes = block.count - i * WARP;
    block.warps[i].alive = lanes >= WARP ? ~0u : (1u << lanes) - 1;
    block.warps[i].epoch = 0;
    block.warps[i].exchanges.clear();
    block.warps[i].exchanges.reserve(2 * WARP);  // their addresses stay
  }
  emulator_switch(&beginning, new_fiber(stack, [] {
    run_warps();
    void *left;
    emulator_switch(&left, beginning);
  }));
  current = nullptr;
  if (has_failed)
    for (Thread &thread : block.threads)
      if (thread.stack) free_stacks.push_back(thread.stack), thread.stack = nullptr;
  return !has_failed;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

__attribute__((const)) Index3 emulator_thread_index() { return current->index; }
__attribute__((const)) Index3 emulator_block_index() { return block.index; }
__attribute__((const)) Index3 emulator_block_size() { return block.size; }
__attribute__((const)) Index3 emulator_grid_size() { return block.grid; }
__attribute__((const)) uint32_t emulator_lane() { return current->linear % WARP; }
uint32_t emulator_came() { return current->came; }  // which lanes were in the thread's last exchange
uint32_t emulator_active_mask() { return block.warps[current->linear / WARP].alive; }

void emulator_barrier(uint32_t line) {
  Thread &self = *current;
  self.line = line;
  self.state = State::at_barrier;
  if (++block.waiting < block.count) return to_scheduler();
  for (const Thread &thread : block.threads)
    if (thread.line != line)
      failed(LAUNCH_FAILED, text("divergent barrier: some threads came to __syncthreads in line %u, others to the one in line %u", line, thread.line), 0, __builtin_return_address(0));
  for (Thread &thread : block.threads) thread.state = State::ready;
  block.waiting = 0;
  ++block.phase;
}

// Leaves `bytes` of each lane of the mask for all of them; returns the place of lane 0's, EXCHANGED_BYTES before lane 1's, until the next exchange.
const void *emulator_exchange(uint32_t mask, const void *value, uint32_t bytes, const char *what, uint32_t line, bool orders_memory) {
  Thread &self = *current;
  const uint32_t lane = self.linear % WARP;
  Warp &warp = block.warps[self.linear / WARP];
  if (!(mask >> lane & 1)) failed(LAUNCH_FAILED, text("%s: lane %u is not in its mask %08x", what, lane, mask), 0, __builtin_return_address(0));
  Exchange *exchange = nullptr;
  for (Exchange &other : warp.exchanges)
    if (other.mask == mask) exchange = &other;
  if (!exchange) {
    if (warp.exchanges.size() == 2 * WARP) failed(LAUNCH_FAILED, text("%s: too many different masks in one warp", what), 0, __builtin_return_address(0));
    exchange = &warp.exchanges.emplace_back();
    exchange->mask = mask;
    exchange->first = self.linear - lane;
    memset(exchange->values, 0xff, sizeof exchange->values);
  }
  if (exchange->arrived && (exchange->line != line || exchange->what != what))
    failed(LAUNCH_FAILED, text("divergent warp: %s in line %u, while other lanes are at %s in line %u", what, line, exchange->what, exchange->line), 0, __builtin_return_address(0));
  exchange->line = line;
  exchange->what = what;
  const uint32_t parity = exchange->parity;
  memcpy(exchange->values[parity][lane], value, bytes);
  exchange->arrived |= 1u << lane;
  self.exchange = exchange;
  if (complete(*exchange, warp)) {
    if (orders_memory && (mask & warp.alive) == warp.alive) ++warp.epoch;
    finish(*exchange);
  } else {
    self.state = State::at_exchange;
    self.line = line;
    to_scheduler();
  }
  self.came = exchange->took[parity];
  return exchange->values[parity];
}

void emulator_read(const void *p, uint64_t bytes);
void emulator_write(const void *p, uint64_t bytes);

// What an asynchronous copy reads and writes is checked both when it begins and when it is waited for: it may happen at any time between.
void emulator_copy_async(void *target, const void *source, uint32_t bytes) {
  if ((reinterpret_cast<uint64_t>(target) | reinterpret_cast<uint64_t>(source)) % bytes)
    failed(716, text("cp.async of %u bytes with an address that is no multiple of it", bytes), 0, __builtin_return_address(0));
  if (source) emulator_read(source, bytes);
  emulator_write(target, bytes);
  note_copy(target, bytes, true);
  current->copies.push_back({target, source, bytes, current->copy_group});
}
void emulator_copy_commit() { ++current->copy_group; }
void emulator_copy_wait(uint32_t groups_left) {
  std::vector<PendingCopy> &copies = current->copies;
  size_t done = 0;
  for (; done < copies.size() && copies[done].group + groups_left < current->copy_group; ++done) {
    const auto [target, source, bytes, group] = copies[done];
    emulator_write(target, bytes);
    note_copy(target, bytes, false);
    if (source) emulator_read(source, bytes), memcpy(target, source, bytes);
    else memset(target, 0, bytes);
  }
  copies.erase(copies.begin(), copies.begin() + done);
}

void emulator_trap(const char *what) { failed(710, what, 0, __builtin_return_address(0)); }
}
