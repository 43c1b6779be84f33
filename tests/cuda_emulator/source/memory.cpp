// Device, pinned and managed memory: allocations on pages of their own in one reserved range of addresses.
//
// A page belongs to one allocation, between two there is at least one page of none, and addresses are used again as late as possible:
// an access past an end, or to what was released, is told from a good one by two loads and two comparisons.
#include "emulator.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace emulator {

uint64_t arena_begin;
uint32_t *page_owner;
Allocation *allocations;
uint32_t peers[MOST_DEVICES];
Shadow *arena_shadow;

namespace {

constexpr uint64_t FILLED = 16 << 20;  // new memory of this size at most is filled, so that reading it before writing shows
uint64_t limits[MOST_DEVICES], used[MOST_DEVICES];
uint64_t next_place;
std::map<uint64_t, uint32_t> by_address;  // live allocations of the arena, and registered memory of the host
uint32_t made = 1;
constexpr uint32_t MOST = 1 << 26;

uint32_t add(const Allocation &allocation) {
  if (made == MOST) abort();
  allocations[made] = allocation;
  return allocations[made].number = made, made++;
}

void *reserve(uint64_t bytes) {
  void *place = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) {
    perror("CUDA emulator: reserving addresses");
    abort();
  }
  return place;
}

// The first free range from next_place on, else from the beginning; 0 if there is none.
uint64_t find_place(uint64_t bytes) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    uint64_t place = attempt ? arena_begin + PAGE : next_place;
    for (auto live = by_address.lower_bound(place); place + bytes + PAGE <= arena_begin + ARENA_BYTES; ++live) {
      if (live == by_address.end() || live->first >= arena_begin + ARENA_BYTES || place + bytes + PAGE <= live->first) return place;
      place = (allocations[live->second].end + 2 * PAGE - 1) / PAGE * PAGE;
    }
  }
  return 0;
}

}  // namespace

void open_memory(int devices) {
  arena_begin = (reinterpret_cast<uint64_t>(reserve(ARENA_BYTES + PAGE)) + PAGE - 1) / PAGE * PAGE;
  page_owner = static_cast<uint32_t *>(reserve(ARENA_BYTES / PAGE * sizeof(uint32_t)));
  arena_shadow = static_cast<Shadow *>(reserve(ARENA_BYTES / 4 * sizeof(Shadow)));
  next_place = arena_begin + PAGE;
  allocations = static_cast<Allocation *>(reserve(MOST * sizeof(Allocation)));
  const char *given = getenv("CUDA_EMULATOR_MEMORY");
  for (int device = 0; device < devices; ++device) {
    limits[device] = given ? strtoull(given, nullptr, 0) : 8ull << 30;
    peers[device] = 1u << device;
  }
}

uint64_t memory_limit(int device) { return limits[device]; }
uint64_t memory_used(int device) { return used[device]; }
void set_memory_limit(int device, uint64_t bytes) { limits[device] = bytes; }

uint64_t allocate(Kind kind, int device, uint64_t bytes, unsigned flags) {
  const bool counted = kind != Kind::pinned;
  if (counted && (bytes > limits[device] || used[device] > limits[device] - bytes)) return 0;
  const uint64_t place = find_place(bytes);
  if (!place) return 0;
  next_place = (place + bytes + 2 * PAGE - 1) / PAGE * PAGE;
  const uint32_t slot = add({place, place + bytes, kind, uint8_t(device), true, 0, flags});
  for (uint64_t page = (place - arena_begin) / PAGE; page * PAGE < place + bytes - arena_begin; ++page) page_owner[page] = slot;
  by_address[place] = slot;
  if (counted) used[device] += bytes;
  if (bytes <= FILLED) memset(reinterpret_cast<void *>(place), 0xff, bytes);
  return place;
}

bool release(uint64_t address) {
  const auto found = by_address.find(address);
  if (found == by_address.end() || allocations[found->second].kind == Kind::registered) return false;
  Allocation &allocation = allocations[found->second];
  allocation.live = false;
  by_address.erase(found);
  const uint64_t bytes = allocation.end - allocation.begin;
  if (allocation.kind != Kind::pinned) used[allocation.device] -= bytes;
  madvise(reinterpret_cast<void *>(allocation.begin), bytes, MADV_DONTNEED);
  if (bytes >= PAGE) madvise(arena_shadow + (allocation.begin - arena_begin) / 4, bytes / 4 * sizeof(Shadow), MADV_DONTNEED);
  return true;
}

bool register_host(uint64_t address, uint64_t bytes, unsigned flags) {
  const Allocation *there = allocation_of(address);
  if ((there && there->live) || !bytes) return false;
  by_address[address] = add({address, address + bytes, Kind::registered, 0, true, 0, flags});
  return true;
}

bool unregister_host(uint64_t address) {
  const auto found = by_address.find(address);
  if (found == by_address.end() || allocations[found->second].kind != Kind::registered) return false;
  allocations[found->second].live = false;
  by_address.erase(found);
  return true;
}

const Allocation *allocation_of(uint64_t address) {
  if (address - arena_begin < ARENA_BYTES) {
    const uint32_t slot = page_owner[(address - arena_begin) / PAGE];
    return slot ? &allocations[slot] : nullptr;
  }
  auto next = by_address.upper_bound(address);
  if (next == by_address.begin()) return nullptr;
  const Allocation &before = allocations[(--next)->second];
  return address < before.end ? &before : nullptr;
}

bool whole(uint64_t address, uint64_t bytes) {
  if (const Allocation *found = allocation_of(address)) return found->live && address >= found->begin && address + bytes <= found->end;
  const Variable *variable = variable_of(address);
  return variable && !variable->shared && address + bytes <= variable->end;
}

std::string describe(uint64_t address) {
  const Allocation *found = allocation_of(address);
  for (uint64_t back = PAGE; !found && address - arena_begin < ARENA_BYTES && back <= 16 * PAGE && address - arena_begin >= back; back += PAGE)
    found = allocation_of(address - back);  // a page of none: what ends before it
  const Variable *variable = found ? nullptr : variable_of(address);
  if (variable) return text("byte %lld of the variable %s", (long long)(address - variable->begin), variable->name.c_str());
  const Allocation *behind = !found || address >= found->end + PAGE ? allocation_of(address + PAGE) : nullptr;
  if (behind && behind->begin > address) found = behind;
  if (!found) return address < PAGE ? "near the null pointer" : "in no allocation";
  static const char *const kinds[] = {"", "of device", "pinned, device", "managed, device", "registered, device", "of a module, device"};
  const std::string what = text("allocation %u (%llu bytes %s %d%s)", found->number, (unsigned long long)(found->end - found->begin),
                                kinds[int(found->kind)], found->device, found->live ? "" : ", released");
  if (address < found->begin) return text("%llu bytes before ", (unsigned long long)(found->begin - address)) + what;
  if (address >= found->end) return text("%llu bytes after the end of ", (unsigned long long)(address - found->end)) + what;
  return text("byte %llu of ", (unsigned long long)(address - found->begin)) + what;
}

}  // namespace emulator
