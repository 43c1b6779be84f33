// What the parts of the emulator know of each other: memory, accesses, threads of a block, modules, launches, reports.
//
// A launch runs one block after another, and the threads of a block as fibers of the calling host thread, so that every order
// is always the same. Kernels are host code that g++ has instrumented: each access calls access.cpp before it is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define OWN extern __attribute__((visibility("hidden")))  // what is asked at each access: one load away

namespace emulator {

constexpr int MOST_DEVICES = 8;
constexpr int WARP = 32;
constexpr int MOST_THREADS = 1024;
constexpr uint64_t SHARED_LIMIT = 48 * 1024;

struct Index3 {
  uint32_t x, y, z;
};

// --- memory.cpp: device and pinned memory, in one range of addresses

enum class Kind : uint8_t { none, device, pinned, managed, registered, global };

struct Allocation {
  uint64_t begin = 0, end = 0;
  Kind kind = Kind::none;
  uint8_t device = 0;
  bool live = false;
  uint32_t number = 0;
  unsigned flags = 0;
};

OWN uint64_t arena_begin;
constexpr uint64_t ARENA_BYTES = 1ull << 37, PAGE = 4096;
OWN uint32_t *page_owner;                  // the place in `allocations` of each page of the arena
OWN Allocation *allocations;               // the first one is no allocation
OWN uint32_t peers[MOST_DEVICES];          // bit d of peers[e]: kernels of device e may use the memory of device d

void open_memory(int devices);
uint64_t allocate(Kind kind, int device, uint64_t bytes, unsigned flags);  // 0: the limit of the device is reached
bool release(uint64_t address);
uint64_t memory_limit(int device);
uint64_t memory_used(int device);
void set_memory_limit(int device, uint64_t bytes);
bool register_host(uint64_t address, uint64_t bytes, unsigned flags);
bool unregister_host(uint64_t address);
const Allocation *allocation_of(uint64_t address);   // live or released; null where nothing has ever been
bool whole(uint64_t address, uint64_t bytes);        // all of it lies in one live allocation or one variable of a module
std::string describe(uint64_t address);              // "16 bytes after the end of allocation 3 (400 bytes of device 0)"

// --- access.cpp: what a kernel reads and writes

struct Access {  // the last one of its sort to four bytes
  uint64_t phase : 32;    // the blocks and barriers of all launches are counted: equal phases are concurrent
  uint64_t thread : 10;
  uint64_t bytes : 4;     // which of the four
  uint64_t atomic : 1;
  uint64_t other_warp : 1, other_lane : 1;  // a read: another thread has read too
  uint64_t epoch : 15;    // how often the warp had met
};
struct Shadow {
  Access write, read;
};
OWN Shadow *arena_shadow;
OWN bool check_races;
void note_copy(void *target, uint64_t bytes, bool begins);  // an asynchronous one: until it ends nobody may read what it writes

// --- module.cpp: one object that the stand-in of NVRTC has built

struct Variable {
  uint64_t begin = 0, end = 0;
  std::string name;
  std::string kernel;  // whose shared memory it is; empty for a variable of the module
  bool shared = false, checked = true;  // not checked: it is of the kernel's second text
  std::vector<Shadow> shadow;
  std::vector<uint16_t> copies;  // of each four bytes of a shared one: asynchronous copies into them that have not been waited for
};

struct KernelTable {  // what EMULATOR_KERNEL of the shim leaves in the object
  const char *name;
  void (*call)(void **arguments);
  uint32_t count;
  const uint32_t *sizes, *alignments;
  uint32_t most_threads;
};

struct Module;
struct Function {
  Module *module = nullptr;
  const KernelTable *table = nullptr, *unchecked = nullptr;
  uint64_t shared_bytes = 0, launches = 0;
  Index3 block{1, 1, 1};
  std::vector<Variable *> shared[2] = {};  // what its blocks share: unchecked, checked
};
OWN uint64_t checked_launches;  // of each kernel; what runs later is not checked

struct Module {
  void *handle = nullptr;
  uint64_t begin = 0, end = 0, bias = 0;
  std::vector<Variable> variables;
  std::map<std::string, Function> functions;
};

Module *load_module(const void *image, std::string &why);
void unload_module(Module *module);
Variable *variable_of(uint64_t address);                     // of any module
std::string source_line(const Module &module, uint64_t code);  // "kernel.cu:12: x[i] = y[i + 1];"

// --- threads.cpp: the threads of a block

enum class State : uint8_t { fresh, ready, at_barrier, at_exchange, done };

constexpr int EXCHANGED_BYTES = 64;
struct Exchange {  // lanes of a warp that meet
  uint32_t mask = 0, arrived = 0, parity = 0, line = 0, first = 0;
  const char *what = "";
  uint32_t took[2] = {};  // the lanes that met
  alignas(16) unsigned char values[2][WARP][EXCHANGED_BYTES];
};
struct Warp {
  uint32_t alive = 0, epoch = 0;
  std::vector<Exchange> exchanges;
};
struct PendingCopy {
  void *target;
  const void *source;  // null: zeros
  uint32_t bytes, group;
};
struct Thread {
  void *stack_pointer = nullptr;
  unsigned char *stack = nullptr;
  Index3 index{};
  uint32_t linear = 0, line = 0, came = 0;
  Exchange *exchange = nullptr;
  State state = State::fresh;
  bool fenced = false;
  uint32_t copy_group = 0;
  std::vector<PendingCopy> copies;  // asynchronous ones that the thread has not waited for
};
struct Block {
  Index3 index{}, size{}, grid{};
  uint32_t count = 0, waiting = 0, finished = 0;
  uint32_t launch_phase = 0, first_phase = 0, phase = 0;
  uint32_t copies = 0;  // asynchronous ones that have not been waited for
  bool follows_earlier_blocks = false;  // a fence and an atomic operation have ordered it after them
  int device = 0;
  Module *module = nullptr;
  const KernelTable *kernel = nullptr;
  void **arguments = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
};
OWN Block block;
OWN Thread *current;
OWN uint64_t stacks_begin, stacks_end;
bool run_block();                              // false: failed() has been called
[[noreturn]] void failed(int code, const std::string &what, uint64_t address, const void *site);

// --- launch.cpp

extern int failure;          // the CUresult of the last launch that failed
extern std::string report;   // and what is to be said about it
int launch(Function &function, int device, Index3 grid, Index3 size, uint64_t dynamic_bytes, void **arguments);
std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace emulator
