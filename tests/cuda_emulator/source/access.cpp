// Every read and write of a kernel, before it is made: is it inside something that the kernel may use, and does it race with another?
//
// g++ -fsanitize=thread calls the functions at the end; the runtime that usually answers them is not linked. Two accesses race when they touch
// the same byte, one of them writes, not both are atomic, and nothing orders them: they are of different blocks of one launch, or of
// different threads of one block between the same two barriers (and, in one warp, the same two __syncwarp).
#include "emulator.hpp"

namespace emulator {

bool check_races = true;

namespace {

constexpr int ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719, MISALIGNED = 716;
enum How { READ, WRITE, ATOMIC };
const char *const NAMES[] = {"a read", "a write", "an atomic operation"};

Variable *last_variable;

bool concurrent(const Access &earlier, uint32_t warp_epoch, bool shared) {
  if (earlier.phase < block.launch_phase) return false;
  if (earlier.phase < block.first_phase) return !shared && !block.follows_earlier_blocks;
  if (earlier.phase != block.phase) return false;
  const bool other_lane = earlier.thread != current->linear &&
                          (earlier.thread / WARP != current->linear / WARP || earlier.epoch == warp_epoch);
  return other_lane || earlier.other_warp || (earlier.other_lane && earlier.epoch == warp_epoch);
}

[[noreturn]] void race(const Access &earlier, How how, const char *with, uint64_t address, const std::string &where, const void *site) {
  const bool here = earlier.phase >= block.first_phase;
  const std::string whom = !here ? "a thread of another block" : earlier.thread == current->linear ? "other threads" : text("thread %u", unsigned(earlier.thread));
  failed(LAUNCH_FAILED, std::string("race: ") + NAMES[how] + " of what " + whom + (here ? " of the block " : " ") + with + " with no barrier between, " + where, address, site);
}

std::string describe_in(const Variable &variable, uint64_t address) {
  return text("byte %lld of %s %s (%llu bytes)", (long long)(address - variable.begin), variable.shared ? "the shared" : "the variable",
              variable.name.c_str(), (unsigned long long)(variable.end - variable.begin));
}

std::string where(uint64_t address, bool shared) { return shared ? describe_in(*variable_of(address), address) : describe(address); }

void note(Shadow &shadow, uint64_t address, uint32_t mask, How how, bool shared, const void *site) {
  const uint32_t epoch = block.warps[current->linear / WARP].epoch & 0x7fff;
  Access &write = shadow.write, &read = shadow.read;
  if ((write.bytes & mask) && !(how == ATOMIC && write.atomic) && concurrent(write, epoch, shared))
    race(write, how, write.atomic ? "changes atomically" : "writes", address, where(address, shared), site);
  if (how == READ) {
    const bool same = read.phase == block.phase && (read.bytes & mask);
    const bool other = same && read.thread != current->linear;
    const bool other_warp = same && (read.other_warp || (other && read.thread / WARP != current->linear / WARP));
    const bool other_lane = same && read.epoch == epoch && (read.other_lane || other);
    read = {block.phase, current->linear, mask, 0, other_warp, other_lane, epoch};
    return;
  }
  if ((read.bytes & mask) && concurrent(read, epoch, shared)) race(read, how, "reads", address, where(address, shared), site);
  write = {block.phase, current->linear, mask, how == ATOMIC, 0, 0, epoch};
}

template <class Lookup>
void note_all(uint64_t address, uint64_t bytes, How how, const Lookup &shadow, bool shared, const void *site) {
  for (uint64_t at = address & ~3ull; at < address + bytes; at += 4) {
    uint32_t mask = 15;
    if (at < address) mask &= 15u << (address - at);
    if (at + 4 > address + bytes) mask &= 15u >> (at + 4 - address - bytes);
    note(shadow(at), at < address ? address : at, mask, how, shared, site);
  }
}

[[noreturn]] void outside(uint64_t address, uint64_t bytes, How how, const void *site) {
  const Allocation *found = allocation_of(address);
  std::string where = describe(address);
  if (const Variable *variable = variable_of(address)) where = "past the end of " + describe_in(*variable, address);
  else if (address - block.module->begin < block.module->end - block.module->begin) where = "between the variables of the module (an overrun of shared memory?)";
  else if (found && found->live && address + bytes <= found->end && address >= found->begin)
    where += text(", which device %d may not use: no peer access", block.device);
  failed(ILLEGAL_ADDRESS, text("%s of %llu bytes, ", NAMES[how], (unsigned long long)bytes) + where, address, site);
}

// The slow half: shared memory, the thread's own stack, registered memory of the host, constants of the module.
void elsewhere(uint64_t address, uint64_t bytes, How how, const void *site) {
  if (address - stacks_begin < stacks_end - stacks_begin) return;
  Variable *variable = last_variable;
  if (!variable || address < variable->begin || address >= variable->end) variable = nullptr;
  for (Variable &candidate : block.module->variables)
    if (!variable && address >= candidate.begin && address < candidate.end) variable = &candidate;
  if (variable) {
    if (address + bytes > variable->end) outside(address, bytes, how, site);
    last_variable = variable;
    if (how == READ && block.copies && !variable->copies.empty())
      for (uint64_t at = (address - variable->begin) / 4; at <= (address + bytes - 1 - variable->begin) / 4; ++at)
        if (variable->copies[at])
          failed(LAUNCH_FAILED, "a read of what an asynchronous copy, which has not been waited for, writes, " + where(address, true), address, site);
    if (check_races) {
      const uint64_t first = variable->begin & ~3ull;
      note_all(address, bytes, how, [&](uint64_t at) -> Shadow & { return variable->shadow[(at - first) / 4]; }, variable->shared, site);
    }
    return;
  }
  if (const Allocation *found = allocation_of(address); found && found->live && address + bytes <= found->end) return;
  outside(address, bytes, how, site);
}

__attribute__((always_inline)) inline void check(const void *pointer, uint64_t bytes, How how, const void *site) {
  if (!current) return;  // the module's own initialisation
  const uint64_t address = reinterpret_cast<uint64_t>(pointer), offset = address - arena_begin;
  if (offset >= ARENA_BYTES) return elsewhere(address, bytes, how, site);
  const Allocation &owner = allocations[page_owner[offset / PAGE]];
  if (address < owner.begin || address + bytes > owner.end || !owner.live || (owner.kind == Kind::device && !(peers[block.device] >> owner.device & 1)))
    outside(address, bytes, how, site);
  if (check_races) note_all(address, bytes, how, [](uint64_t at) -> Shadow & { return arena_shadow[(at - arena_begin) / 4]; }, false, site);
}

[[noreturn]] void misaligned(const void *pointer, uint64_t bytes, How how, const void *site) {
  failed(MISALIGNED, text("%s of %llu bytes at an address that is no multiple of it, ", NAMES[how], (unsigned long long)bytes) +
                         describe(reinterpret_cast<uint64_t>(pointer)),
         reinterpret_cast<uint64_t>(pointer), site);
}

inline void aligned(const void *pointer, uint64_t bytes, How how, const void *site) {
  if (reinterpret_cast<uint64_t>(pointer) & (bytes - 1)) misaligned(pointer, bytes, how, site);
}

struct Located {  // how g++ -fsanitize=bounds and =alignment say where
  const char *file;
  uint32_t line, column;
};
struct TypeName {
  uint16_t kind, info;
  char name[1];
};
struct IndexCheck {
  Located place;
  const TypeName *array, *index;
};
struct PointerCheck {
  Located place;
  const TypeName *type;
  unsigned char alignment_log2, kind;
};

}  // namespace

void forget_variables() { last_variable = nullptr; }

void note_copy(void *target, uint64_t bytes, bool begins) {
  const uint64_t address = reinterpret_cast<uint64_t>(target);
  Variable *variable = variable_of(address);
  if (!variable || !variable->shared) return;
  if (variable->copies.empty()) variable->copies.resize((variable->end - variable->begin + 3) / 4);
  for (uint64_t at = (address - variable->begin) / 4; at < (address + bytes - variable->begin) / 4; ++at) variable->copies[at] += begins ? 1 : -1;
  block.copies += begins ? 1 : -1;
}

}  // namespace emulator

using namespace emulator;

#define SITE __builtin_return_address(0)
#define ACCESSES(N)                                                                                                                            \
  void __tsan_read##N(void *p) { aligned(p, N, READ, SITE), check(p, N, READ, SITE); }                                                       \
  void __tsan_write##N(void *p) { aligned(p, N, WRITE, SITE), check(p, N, WRITE, SITE); }                                                    \
  void __tsan_unaligned_read##N(void *p) { check(p, N, READ, SITE); }                                                                        \
  void __tsan_unaligned_write##N(void *p) { check(p, N, WRITE, SITE); }                                                                      \
  void __tsan_volatile_read##N(void *p) { aligned(p, N, READ, SITE), check(p, N, READ, SITE); }                                             \
  void __tsan_volatile_write##N(void *p) { aligned(p, N, WRITE, SITE), check(p, N, WRITE, SITE); }

extern "C" {
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void *p, unsigned long bytes) { check(p, bytes, READ, SITE); }
void __tsan_write_range(void *p, unsigned long bytes) { check(p, bytes, WRITE, SITE); }
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}

// The functions of the shim call these for what is not instrumented there.
void emulator_read(const void *p, uint64_t bytes) { check(p, bytes, READ, SITE); }
void emulator_write(const void *p, uint64_t bytes) { check(p, bytes, WRITE, SITE); }
void emulator_atomic(const void *p, uint64_t bytes) {
  aligned(p, bytes, ATOMIC, SITE);
  check(p, bytes, ATOMIC, SITE);
  if (current && current->fenced && !variable_of(reinterpret_cast<uint64_t>(p))) block.follows_earlier_blocks = true;
}
void emulator_fence() { current->fenced = true; }

void __ubsan_handle_out_of_bounds(IndexCheck *check, uint64_t index) {
  failed(ILLEGAL_ADDRESS, text("index %lld is outside of an array of type %s", (long long)index, check->array->name), 0, SITE);
}
void __ubsan_handle_type_mismatch_v1(PointerCheck *check, uint64_t address) {
  if (!current) return;
  if (address == 0) failed(ILLEGAL_ADDRESS, "use of the null pointer", address, SITE);
  failed(MISALIGNED, text("use as %s of an address that is no multiple of %u, ", check->type->name, 1u << check->alignment_log2) + describe(address), address, SITE);
}
}
