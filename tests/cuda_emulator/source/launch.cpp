// One launch: its blocks one after another, and what is said when one of them failed.
#include "emulator.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace emulator {

int failure;
std::string report;
[[noreturn]] void abandon();
void forget_variables();

namespace {

uint32_t phases = 1;

std::string where(const Index3 &index) { return text("(%u, %u, %u)", index.x, index.y, index.z); }

}  // namespace

std::string text(const char *format, ...) {
  char buffer[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

void failed(int code, const std::string &what, uint64_t address, const void *site) {
  failure = code;
  report = text("kernel %s, block %s, thread %s: ", block.kernel->name, where(block.index).c_str(), where(current->index).c_str()) + what;
  if (address) report += text(", address 0x%llx", (unsigned long long)address);
  if (site) report += source_line(*block.module, reinterpret_cast<uint64_t>(site) - 1);
  abandon();
}

int launch(Function &function, int device, Index3 grid, Index3 size, uint64_t dynamic_bytes, void **arguments) {
  report.clear();
  const uint64_t count = uint64_t(size.x) * size.y * size.z;
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 || !count || size.z > 64) return 1;
  if (count > MOST_THREADS || (function.table->most_threads && count > function.table->most_threads)) return count > MOST_THREADS ? 1 : 701;
  if (function.shared_bytes + dynamic_bytes > SHARED_LIMIT) return 1;
  block.grid = grid, block.size = size, block.count = count, block.device = device;
  const bool checked = !function.unchecked || function.launches++ < checked_launches;
  block.module = function.module, block.kernel = checked ? function.table : function.unchecked, block.arguments = arguments;
  block.threads.resize(count);
  block.warps.resize((count + WARP - 1) / WARP);
  for (uint32_t i = 0; i < count; ++i) {
    block.threads[i].linear = i;
    block.threads[i].index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
  }
  forget_variables();
  block.launch_phase = ++phases;
  for (uint32_t z = 0; z < grid.z; ++z)
    for (uint32_t y = 0; y < grid.y; ++y)
      for (uint32_t x = 0; x < grid.x; ++x) {
        block.index = {x, y, z};
        for (const Variable *variable : function.shared[checked]) memset(reinterpret_cast<void *>(variable->begin), 0xff, variable->end - variable->begin);
        block.first_phase = phases + 1;
        const bool good = run_block();
        phases = block.phase;
        if (!good) {
          fprintf(stderr, "CUDA emulator: %s\n", report.c_str());
          return failure;
        }
      }
  return 0;
}

}  // namespace emulator
