// The driver's functions that pycuda calls: devices, contexts, memory, modules, kernels. Streams and events are in streams.cpp.
#include "driver.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

using namespace emulator;

std::recursive_mutex driver_lock;

namespace {

int devices;
std::vector<std::unique_ptr<CUctx_st>> primary;
thread_local std::vector<CUcontext> contexts;  // the current one is the last

int setting(const char *name, int value) {
  const char *given = getenv(name);
  return given ? atoi(given) : value;
}

CUresult exists(CUdevice device) { return device >= 0 && device < devices ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; }

}  // namespace

CUcontext current_context() { return contexts.empty() ? nullptr : contexts.back(); }

// Arguments come one by one, or packed as a C struct; both are copied before this returns.
CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS &what, Work &work) {
  auto &function = *reinterpret_cast<Function *>(what.func);
  const KernelTable &table = *function.table;
  const unsigned char *packed = nullptr;
  size_t given = 0, offset = 0;
  for (void **extra = what.extra; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) packed = static_cast<const unsigned char *>(extra[1]);
    if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) given = *static_cast<size_t *>(extra[1]);
  }
  std::vector<size_t> offsets;
  for (unsigned i = 0; i < table.count; ++i) {
    offset = (offset + table.alignments[i] - 1) / table.alignments[i] * table.alignments[i];
    offsets.push_back(offset);
    offset += table.sizes[i];
  }
  if (packed ? given < offset : (!what.kernelParams && table.count)) {
    failure = CUDA_ERROR_INVALID_VALUE;
    report = text("kernel %s takes %zu bytes of arguments, not %zu", table.name, offset, given);
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto copy = std::make_shared<std::vector<uint64_t>>(offset / 8 + 2);
  auto *bytes = reinterpret_cast<unsigned char *>(copy->data());
  for (unsigned i = 0; i < table.count; ++i) memcpy(bytes + offsets[i], packed ? packed + offsets[i] : what.kernelParams[i], table.sizes[i]);
  const int device = current_context()->device;
  const Index3 grid{what.gridDimX, what.gridDimY, what.gridDimZ}, size{what.blockDimX, what.blockDimY, what.blockDimZ};
  const uint64_t dynamic = what.sharedMemBytes;
  work = [=, &function] {
    std::vector<void *> places;
    for (size_t place : offsets) places.push_back(reinterpret_cast<unsigned char *>(copy->data()) + place);
    return CUresult(launch(function, device, grid, size, dynamic, places.data()));
  };
  return CUDA_SUCCESS;
}

extern "C" {

// --- the driver and its devices

CUresult cuInit(unsigned) {
  std::lock_guard held(driver_lock);
  if (devices) return CUDA_SUCCESS;
  devices = std::min(std::max(setting("CUDA_EMULATOR_DEVICES", 1), 0), MOST_DEVICES);
  if (!devices) return CUDA_ERROR_NO_DEVICE;
  check_races = setting("CUDA_EMULATOR_RACES", 1);
  deferred = setting("CUDA_EMULATOR_DEFERRED", 0);
  if (getenv("CUDA_EMULATOR_CHECKED")) checked_launches = std::max(setting("CUDA_EMULATOR_CHECKED", 0), 0);
  open_memory(devices);
  for (int device = 0; device < devices; ++device) {
    primary.push_back(std::make_unique<CUctx_st>());
    primary.back()->device = device;
  }
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { return *count = devices, devices ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED; }
CUresult cuDeviceGet(CUdevice *device, int number) { return *device = number, exists(number); }

CUresult cuDeviceGetName(char *name, int bytes, CUdevice device) {
  snprintf(name, bytes, "CUDA emulator %d", device);
  return exists(device);
}

CUresult cuDeviceGetPCIBusId(char *name, int bytes, CUdevice device) {
  snprintf(name, bytes, "0000:%02x:00.0", device);
  return exists(device);
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
  if (exists(device)) return exists(device);
  return *bytes = memory_limit(device), CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice) {
  const int capability = setting("CUDA_EMULATOR_CAPABILITY", 80);
  return *major = capability / 10, *minor = capability % 10, CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  static const std::map<int, int> values{
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, MOST_THREADS}, {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024}, {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64}, {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7fffffff}, {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
      {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535}, {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, int(SHARED_LIMIT)}, {CU_DEVICE_ATTRIBUTE_WARP_SIZE, WARP},
      {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536}, {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536}, {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1410000},
      {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1215000}, {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120}, {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 108},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048}, {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1}, {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1}, {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3}, {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 40 << 20},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 164 << 10}, {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, int(SHARED_LIMIT)},
      {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32}, {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536}, {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1}, {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512}, {CU_DEVICE_ATTRIBUTE_MAX_PITCH, 0x7fffffff}};
  int major, minor;
  cuDeviceComputeCapability(&major, &minor, device);
  const auto found = values.find(attribute);
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? major
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? minor
           : attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID               ? device
           : found == values.end()                                     ? 0
                                                                       : found->second;
  return exists(device);
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice other) { return *can = device != other, exists(device) ? exists(device) : exists(other); }

// An error's text; what the last failed launch did follows its name.
CUresult cuGetErrorString(CUresult code, const char **message) {
  static const std::map<int, const char *> names{
      {0, "no error"}, {1, "invalid argument"}, {2, "out of memory"}, {3, "initialization error"}, {100, "no CUDA-capable device is detected"}, {101, "invalid device ordinal"},
      {200, "device kernel image is invalid"}, {201, "invalid device context"}, {400, "invalid resource handle"}, {500, "named symbol not found"}, {600, "device not ready"},
      {700, "an illegal memory access was encountered"}, {701, "too many resources requested for launch"}, {704, "peer access is already enabled"},
      {705, "peer access has not been enabled"}, {710, "device-side assert triggered"}, {712, "part or all of the requested memory range is already mapped"},
      {713, "pointer does not correspond to a registered memory region"}, {716, "misaligned address"}, {719, "unspecified launch failure"}, {801, "operation not supported"}};
  static thread_local std::string last;
  const auto found = names.find(code);
  last = found == names.end() ? text("error %d", int(code)) : found->second;
  if (!report.empty() && code == CUresult(failure)) last += ": " + report;
  *message = last.c_str();
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult code, const char **message) { return cuGetErrorString(code, message); }

// --- contexts

#undef cuCtxCreate
#if CUDA_VERSION >= 13000
CUresult cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *, unsigned, CUdevice device) {
#else
CUresult cuCtxCreate_v2(CUcontext *context, unsigned, CUdevice device) {
#endif
  if (!devices) return CUDA_ERROR_NOT_INITIALIZED;
  if (exists(device)) return exists(device);
  *context = new CUctx_st;
  (*context)->device = device;
  contexts.push_back(*context);
  return CUDA_SUCCESS;
}
CUresult cuCtxDestroy(CUcontext context) {
  synchronize(context);
  if (current_context() == context) contexts.pop_back();
  return CUDA_SUCCESS;
}
CUresult cuCtxAttach(CUcontext *context, unsigned) { return (*context = current_context()) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }
CUresult cuCtxDetach(CUcontext context) { return cuCtxDestroy(context); }
CUresult cuCtxPushCurrent(CUcontext context) { return contexts.push_back(context), CUDA_SUCCESS; }
CUresult cuCtxPopCurrent(CUcontext *context) {
  if (contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = contexts.back();
  return contexts.pop_back(), CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) {
  if (!contexts.empty()) contexts.pop_back();
  if (context) contexts.push_back(context);
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *context) { return *context = current_context(), CUDA_SUCCESS; }
CUresult cuCtxGetDevice(CUdevice *device) {
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  return *device = current_context()->device, CUDA_SUCCESS;
}
CUresult cuCtxGetApiVersion(CUcontext, unsigned *version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuCtxSynchronize(void) { return current_context() ? synchronize(current_context()) : CUDA_ERROR_INVALID_CONTEXT; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  if (!devices) return CUDA_ERROR_NOT_INITIALIZED;
  if (exists(device)) return exists(device);
  return *context = primary[device].get(), CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice device) { return exists(device); }
CUresult cuCtxSetLimit(CUlimit, size_t) { return CUDA_SUCCESS; }
CUresult cuCtxGetLimit(size_t *value, CUlimit) { return *value = 0, CUDA_SUCCESS; }
CUresult cuCtxSetCacheConfig(CUfunc_cache) { return CUDA_SUCCESS; }
CUresult cuCtxGetCacheConfig(CUfunc_cache *value) { return *value = CU_FUNC_CACHE_PREFER_NONE, CUDA_SUCCESS; }
CUresult cuCtxEnablePeerAccess(CUcontext other, unsigned) {
  NEEDS_CONTEXT;
  uint32_t &usable = peers[current_context()->device];
  if (usable >> other->device & 1) return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  return usable |= 1u << other->device, CUDA_SUCCESS;
}
CUresult cuCtxDisablePeerAccess(CUcontext other) {
  NEEDS_CONTEXT;
  uint32_t &usable = peers[current_context()->device];
  if (other->device == current_context()->device || !(usable >> other->device & 1)) return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  return usable &= ~(1u << other->device), CUDA_SUCCESS;
}

// --- memory

CUresult cuMemGetInfo(size_t *available, size_t *total) {
  NEEDS_CONTEXT;
  const int device = current_context()->device;
  const uint64_t limit = memory_limit(device), used = memory_used(device);
  return *total = limit, *available = used < limit ? limit - used : 0, CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr *place, size_t bytes) {
  NEEDS_CONTEXT;
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  *place = allocate(Kind::device, current_context()->device, bytes, 0);
  return *place ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemAllocManaged(CUdeviceptr *place, size_t bytes, unsigned flags) {
  NEEDS_CONTEXT;
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  *place = allocate(Kind::managed, current_context()->device, bytes, flags);
  return *place ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemAllocPitch(CUdeviceptr *place, size_t *pitch, size_t width, size_t height, unsigned) {
  *pitch = (width + 511) / 512 * 512;
  return cuMemAlloc(place, *pitch * height);
}
CUresult cuMemFree(CUdeviceptr place) {
  NEEDS_CONTEXT;
  if (!place) return CUDA_SUCCESS;
  const CUresult earlier = synchronize_all();
  if (!release(place)) return CUDA_ERROR_INVALID_VALUE;
  return earlier;
}
CUresult cuMemGetAddressRange(CUdeviceptr *begin, size_t *bytes, CUdeviceptr place) {
  const Allocation *found = allocation_of(place);
  if (!found || !found->live || place >= found->end) return CUDA_ERROR_INVALID_VALUE;
  if (begin) *begin = found->begin;
  if (bytes) *bytes = found->end - found->begin;
  return CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void **place, size_t bytes, unsigned flags) {
  NEEDS_CONTEXT;
  *place = reinterpret_cast<void *>(allocate(Kind::pinned, current_context()->device, std::max<size_t>(bytes, 1), flags));
  return *place ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemAllocHost(void **place, size_t bytes) { return cuMemHostAlloc(place, bytes, 0); }
CUresult cuMemFreeHost(void *place) {
  std::lock_guard held(driver_lock);
  const CUresult earlier = synchronize_all();
  return release(reinterpret_cast<uint64_t>(place)) ? earlier : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuMemHostGetDevicePointer(CUdeviceptr *pointer, void *place, unsigned) { return *pointer = reinterpret_cast<uint64_t>(place), CUDA_SUCCESS; }
CUresult cuMemHostGetFlags(unsigned *flags, void *place) {
  const Allocation *found = allocation_of(reinterpret_cast<uint64_t>(place));
  if (!found || !found->live) return CUDA_ERROR_INVALID_VALUE;
  return *flags = found->flags, CUDA_SUCCESS;
}
CUresult cuMemHostRegister(void *place, size_t bytes, unsigned flags) {
  NEEDS_CONTEXT;
  return register_host(reinterpret_cast<uint64_t>(place), bytes, flags) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}
CUresult cuMemHostUnregister(void *place) {
  NEEDS_CONTEXT;
  synchronize_all();
  return unregister_host(reinterpret_cast<uint64_t>(place)) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}
CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr place) {
  const Allocation *found = allocation_of(place);
  if (!found || !found->live) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) *static_cast<int *>(value) = found->device;
  else if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) *static_cast<int *>(value) = found->kind == Kind::device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  else return CUDA_ERROR_NOT_SUPPORTED;
  return CUDA_SUCCESS;
}

// --- modules and kernels

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  NEEDS_CONTEXT;
  std::string why;
  Module *loaded = load_module(image, why);
  for (auto it = loaded ? loaded->functions.begin() : std::map<std::string, Function>::iterator(); loaded && it != loaded->functions.end(); ++it) {
    if (it->second.shared_bytes <= SHARED_LIMIT) continue;
    why = text("kernel %s uses %llu bytes of shared memory, of %llu", it->first.c_str(), (unsigned long long)it->second.shared_bytes, (unsigned long long)SHARED_LIMIT);
    unload_module(loaded);
    loaded = nullptr;
    break;
  }
  *module = reinterpret_cast<CUmodule>(loaded);
  if (loaded) return CUDA_SUCCESS;
  report = why, failure = CUDA_ERROR_INVALID_IMAGE;
  return CUDA_ERROR_INVALID_IMAGE;
}
CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, CUjit_option *, void **) { return cuModuleLoadData(module, image); }
CUresult cuModuleUnload(CUmodule module) {
  std::lock_guard held(driver_lock);
  const CUresult earlier = synchronize_all();
  unload_module(reinterpret_cast<Module *>(module));
  return earlier;
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  auto &functions = reinterpret_cast<Module *>(module)->functions;
  const auto found = functions.find(name);
  if (found == functions.end()) return CUDA_ERROR_NOT_FOUND;
  return *function = reinterpret_cast<CUfunction>(&found->second), CUDA_SUCCESS;
}
CUresult cuModuleGetGlobal(CUdeviceptr *place, size_t *bytes, CUmodule module, const char *name) {
  for (const Variable &variable : reinterpret_cast<Module *>(module)->variables) {
    if (variable.shared || (variable.name != name && variable.name != text("_ZL%zu%s", strlen(name), name))) continue;
    if (place) *place = variable.begin;
    if (bytes) *bytes = variable.end - variable.begin;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}
CUresult cuFuncSetBlockShape(CUfunction function, int x, int y, int z) {
  if (x < 1 || y < 1 || z < 1) return CUDA_ERROR_INVALID_VALUE;
  reinterpret_cast<Function *>(function)->block = {unsigned(x), unsigned(y), unsigned(z)};
  return CUDA_SUCCESS;
}
CUresult cuFuncSetSharedSize(CUfunction, unsigned) { return CUDA_SUCCESS; }
CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
  const auto &function = *reinterpret_cast<Function *>(handle);
  int major, minor;
  cuDeviceComputeCapability(&major, &minor, 0);
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = function.table->most_threads ? function.table->most_threads : MOST_THREADS; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = function.shared_bytes; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = 10 * major + minor; break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned dynamic, CUstream stream,
                        void **arguments, void **extra) {
  NEEDS_CONTEXT;
  Work work;
  if (const CUresult bad = kernel_work({function, gx, gy, gz, bx, by, bz, dynamic, arguments, extra, nullptr, nullptr}, work)) return bad;
  return submit(stream, std::move(work));
}

// --- what tests of the emulator ask

const char *emulator_report() { return report.c_str(); }
void emulator_set_memory(int device, unsigned long bytes) { set_memory_limit(device, bytes); }
void emulator_set_deferred(int on) { deferred = on; }
}
