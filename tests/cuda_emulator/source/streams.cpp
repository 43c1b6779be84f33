// Streams, events, captured graphs, and the copies that go through them.
//
// What is submitted to a stream runs at once, or, with CUDA_EMULATOR_DEFERRED=1, not before something waits for it: then a program that forgets to wait reads
// what was there before. The null stream and the streams that are not "non-blocking" wait for each other, as the driver's do.
#include <chrono>
#include <cstring>
#include <deque>
#include <list>
#include <set>

#include "driver.hpp"

using namespace emulator;

bool deferred;

struct CUgraphNode_st {
  Work work;
  std::vector<CUgraphNode> after;  // what must have run before it
};
struct CUgraph_st {
  std::vector<CUgraphNode> nodes;
  ~CUgraph_st() {
    for (CUgraphNode node : nodes) delete node;
  }
  CUgraphNode add(Work work, std::vector<CUgraphNode> after) {
    nodes.push_back(new CUgraphNode_st{std::move(work), std::move(after)});
    return nodes.back();
  }
};
struct CUgraphExec_st {
  std::vector<CUgraphNode> order;
  std::map<CUgraphNode, Work> works;
};

struct CUstream_st {
  CUcontext context = nullptr;
  bool blocking = true, running = false;
  unsigned flags = 0;
  uint64_t submitted = 0, done = 0;
  std::deque<Work> queue;
  CUgraph capture = nullptr;
};

struct CUevent_st {
  unsigned flags = 0;
  CUstream stream = nullptr;
  uint64_t place = 0;  // how many works of the stream come before it
  bool recorded = false;
  std::shared_ptr<double> time = std::make_shared<double>(0);
};

namespace {

std::set<CUstream> streams;
std::map<CUcontext, CUstream> null_streams;
uint64_t graph_launches;

CUstream stream_of(CUstream given) {
  if (given && given != CU_STREAM_LEGACY && given != CU_STREAM_PER_THREAD) return streams.count(given) ? given : nullptr;
  CUstream &null = null_streams[current_context()];
  if (!null) {
    null = new CUstream_st;
    null->context = current_context();
  }
  return null;
}

bool is_null(CUstream stream) { return !streams.count(stream); }

CUresult drain(CUstream stream, uint64_t until = ~0ull) {
  CUresult result = CUDA_SUCCESS;
  while (!stream->queue.empty() && stream->done < until && !stream->running) {
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->running = true;
    const CUresult one = work();
    stream->running = false;
    ++stream->done;
    if (one && !result) result = one;
  }
  return result;
}

// Before something of this stream: the streams that it waits for by being the null stream, or by not being it.
CUresult drain_others(CUstream stream) {
  CUresult result = CUDA_SUCCESS;
  if (!stream->blocking) return result;
  if (!is_null(stream)) return null_streams.count(stream->context) ? drain(null_streams[stream->context]) : result;
  for (CUstream other : streams)
    if (other->blocking && other->context == stream->context)
      if (const CUresult one = drain(other); one && !result) result = one;
  return result;
}

double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool host_side(uint64_t place) {
  const Allocation *found = allocation_of(place);
  return !found || !found->live || found->kind != Kind::device;
}

bool is_pinned(const void *place) {
  const Allocation *found = allocation_of(reinterpret_cast<uint64_t>(place));
  return found && found->live;
}

CUresult bad_copy(const char *what, uint64_t place, uint64_t bytes) {
  failure = CUDA_ERROR_INVALID_VALUE;
  report = text("%s of %llu bytes, ", what, (unsigned long long)bytes) + describe(place);
  return CUDA_ERROR_INVALID_VALUE;
}

template <class Later>
CUresult copy(CUdeviceptr target, bool target_on_device, CUdeviceptr source, bool source_on_device, size_t bytes, Later later) {
  if (!bytes) return CUDA_SUCCESS;
  if (target_on_device && !whole(target, bytes)) return bad_copy("a copy to", target, bytes);
  if (source_on_device && !whole(source, bytes)) return bad_copy("a copy from", source, bytes);
  return later([=] {
    memmove(reinterpret_cast<void *>(target), reinterpret_cast<void *>(source), bytes);
    return CUDA_SUCCESS;
  });
}

// In order with everything of the null stream, and done when this returns.
CUresult now_in_order(Work work) {
  const CUresult submitted = submit(nullptr, std::move(work));
  const CUresult earlier = drain(stream_of(nullptr));
  return submitted ? submitted : earlier;
}

template <class T>
CUresult fill(CUdeviceptr place, T value, size_t count, CUstream stream) {
  if (!count) return CUDA_SUCCESS;
  if (place % sizeof(T)) return CUDA_ERROR_INVALID_VALUE;
  if (!whole(place, count * sizeof(T))) return bad_copy("a fill", place, count * sizeof(T));
  return submit(stream, [=] {
    std::fill_n(reinterpret_cast<T *>(place), count, value);
    return CUDA_SUCCESS;
  });
}

template <class T>
CUresult fill_rows(CUdeviceptr place, size_t pitch, T value, size_t width, size_t height, CUstream stream) {
  for (size_t row = 0; row < height; ++row)
    if (const CUresult bad = fill<T>(place + row * pitch, value, width, stream)) return bad;
  return CUDA_SUCCESS;
}

CUresult rows(const CUDA_MEMCPY2D *given, CUstream stream, bool wait) {
  const CUDA_MEMCPY2D what = *given;
  const auto address = [](CUmemorytype type, const void *host, CUdeviceptr device, size_t x, size_t y, size_t pitch) {
    return (type == CU_MEMORYTYPE_HOST ? reinterpret_cast<uint64_t>(host) : device) + y * pitch + x;
  };
  if (what.srcMemoryType == CU_MEMORYTYPE_ARRAY || what.dstMemoryType == CU_MEMORYTYPE_ARRAY) return CUDA_ERROR_NOT_SUPPORTED;
  for (size_t row = 0; row < what.Height; ++row) {
    const uint64_t source = address(what.srcMemoryType, what.srcHost, what.srcDevice, what.srcXInBytes, what.srcY + row, what.srcPitch);
    const uint64_t target = address(what.dstMemoryType, what.dstHost, what.dstDevice, what.dstXInBytes, what.dstY + row, what.dstPitch);
    const CUresult one = copy(target, what.dstMemoryType != CU_MEMORYTYPE_HOST, source, what.srcMemoryType != CU_MEMORYTYPE_HOST, what.WidthInBytes,
                              [&](Work work) { return submit(stream, std::move(work)); });
    if (one) return one;
  }
  return wait ? drain(stream_of(stream)) : CUDA_SUCCESS;
}

}  // namespace

CUresult submit(CUstream given, Work work) {
  std::lock_guard held(driver_lock);
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT;
  CUstream stream = stream_of(given);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (CUgraph graph = stream->capture) {
    std::vector<CUgraphNode> after;
    if (!graph->nodes.empty()) after.push_back(graph->nodes.back());
    return graph->add(std::move(work), after), CUDA_SUCCESS;
  }
  CUresult earlier = drain_others(stream);
  stream->queue.push_back(std::move(work));
  ++stream->submitted;
  if (!deferred)
    if (const CUresult one = drain(stream); one && !earlier) earlier = one;
  return earlier;
}

CUresult synchronize(CUcontext context) {
  std::lock_guard held(driver_lock);
  CUresult result = CUDA_SUCCESS;
  if (null_streams.count(context)) result = drain(null_streams[context]);
  for (CUstream stream : streams)
    if (stream->context == context)
      if (const CUresult one = drain(stream); one && !result) result = one;
  return result;
}

CUresult synchronize_all() {
  CUresult result = CUDA_SUCCESS;
  std::set<CUcontext> all;
  for (CUstream stream : streams) all.insert(stream->context);
  for (auto &[context, stream] : null_streams) all.insert(context);
  for (CUcontext context : all)
    if (const CUresult one = synchronize(context); one && !result) result = one;
  return result;
}

extern "C" {

// --- streams and events

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  NEEDS_CONTEXT;
  *stream = new CUstream_st;
  (*stream)->context = current_context();
  (*stream)->flags = flags;
  (*stream)->blocking = !(flags & CU_STREAM_NON_BLOCKING);
  streams.insert(*stream);
  return CUDA_SUCCESS;
}
CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
CUresult cuStreamDestroy(CUstream stream) {
  std::lock_guard held(driver_lock);
  if (!streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
  const CUresult earlier = drain(stream);
  streams.erase(stream);  // an event may still name it
  return earlier;
}
CUresult cuStreamSynchronize(CUstream given) {
  NEEDS_CONTEXT;
  CUstream stream = stream_of(given);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  const CUresult earlier = drain_others(stream), own = drain(stream);
  return earlier ? earlier : own;
}
CUresult cuStreamQuery(CUstream given) {  // asking again and again comes to an end
  NEEDS_CONTEXT;
  CUstream stream = stream_of(given);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (const CUresult one = drain(stream, stream->done + 1)) return one;
  return stream->queue.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
CUresult cuEventCreate(CUevent *event, unsigned flags) {
  NEEDS_CONTEXT;
  *event = new CUevent_st;
  (*event)->flags = flags;
  return CUDA_SUCCESS;
}
CUresult cuEventDestroy(CUevent event) { return delete event, CUDA_SUCCESS; }
CUresult cuEventRecord(CUevent event, CUstream given) {
  NEEDS_CONTEXT;
  CUstream stream = stream_of(given);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture) return CUDA_SUCCESS;
  event->stream = stream;
  event->recorded = true;
  event->time = std::make_shared<double>(0);
  const CUresult result = submit(given, [time = event->time] { return *time = now(), CUDA_SUCCESS; });
  event->place = stream->submitted;
  return result;
}
CUresult cuStreamWaitEvent(CUstream given, CUevent event, unsigned) {
  NEEDS_CONTEXT;
  if (!event->recorded) return CUDA_SUCCESS;
  return submit(given, [stream = event->stream, place = event->place] { return drain(stream, place); });
}
CUresult cuEventSynchronize(CUevent event) {
  NEEDS_CONTEXT;
  return event->recorded ? drain(event->stream, event->place) : CUDA_SUCCESS;
}
CUresult cuEventQuery(CUevent event) {
  NEEDS_CONTEXT;
  if (!event->recorded || event->stream->done >= event->place) return CUDA_SUCCESS;
  if (const CUresult one = drain(event->stream, event->stream->done + 1)) return one;
  return event->stream->done >= event->place ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
CUresult cuEventElapsedTime(float *milliseconds, CUevent first, CUevent second) {
  NEEDS_CONTEXT;
  if (!first->recorded || !second->recorded || (first->flags | second->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
  if (first->stream->done < first->place || second->stream->done < second->place) return CUDA_ERROR_NOT_READY;
  return *milliseconds = float(*second->time - *first->time), CUDA_SUCCESS;
}

// --- graphs: what was submitted while a stream was captured, or kernels that were put into one

CUresult cuStreamBeginCapture(CUstream given, CUstreamCaptureMode) {
  NEEDS_CONTEXT;
  if (!given || !streams.count(given) || given->capture) return CUDA_ERROR_INVALID_VALUE;
  return given->capture = new CUgraph_st, CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream given, CUgraph *graph) {
  NEEDS_CONTEXT;
  if (!streams.count(given) || !given->capture) return CUDA_ERROR_INVALID_VALUE;
  *graph = given->capture;
  return given->capture = nullptr, CUDA_SUCCESS;
}
CUresult cuStreamIsCapturing(CUstream given, CUstreamCaptureStatus *status) {
  *status = given && streams.count(given) && given->capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}
CUresult cuGraphCreate(CUgraph *graph, unsigned) { return *graph = new CUgraph_st, CUDA_SUCCESS; }
CUresult cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count, const CUDA_KERNEL_NODE_PARAMS *what) {
  NEEDS_CONTEXT;
  Work work;
  if (const CUresult bad = kernel_work(*what, work)) return bad;
  return *node = graph->add(std::move(work), std::vector<CUgraphNode>(after, after + count)), CUDA_SUCCESS;
}
// Nodes run in the order of what they come after, otherwise backwards: what should wait for another, and does not, is seen.
CUresult cuGraphInstantiateWithFlags(CUgraphExec *made, CUgraph graph, unsigned long long) {
  auto *exec = new CUgraphExec_st;
  for (CUgraphNode node : graph->nodes) exec->works[node] = node->work;
  std::set<CUgraphNode> done;
  while (done.size() < graph->nodes.size()) {
    const auto next = std::find_if(graph->nodes.rbegin(), graph->nodes.rend(), [&](CUgraphNode node) {
      return !done.count(node) && std::all_of(node->after.begin(), node->after.end(), [&](CUgraphNode before) { return done.count(before); });
    });
    if (next == graph->nodes.rend()) return delete exec, CUDA_ERROR_INVALID_VALUE;
    exec->order.push_back(*next);
    done.insert(*next);
  }
  return *made = exec, CUDA_SUCCESS;
}
CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec graph, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *what) {
  NEEDS_CONTEXT;
  return graph->works.count(node) ? kernel_work(*what, graph->works[node]) : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream) {
  std::vector<Work> works;
  for (CUgraphNode node : graph->order) works.push_back(graph->works[node]);
  ++graph_launches;
  return submit(stream, [works] {
    for (const Work &work : works)
      if (const CUresult bad = work()) return bad;
    return CUDA_SUCCESS;
  });
}
unsigned long emulator_graph_launches() { return graph_launches; }
CUresult cuGraphDestroy(CUgraph graph) { return delete graph, CUDA_SUCCESS; }
CUresult cuGraphExecDestroy(CUgraphExec graph) { return delete graph, CUDA_SUCCESS; }

// --- copies

CUresult cuMemcpyHtoD(CUdeviceptr target, const void *source, size_t bytes) {
  NEEDS_CONTEXT;
  return copy(target, true, reinterpret_cast<uint64_t>(source), false, bytes, now_in_order);
}
CUresult cuMemcpyDtoH(void *target, CUdeviceptr source, size_t bytes) {
  NEEDS_CONTEXT;
  return copy(reinterpret_cast<uint64_t>(target), false, source, true, bytes, now_in_order);
}
CUresult cuMemcpyDtoD(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
  NEEDS_CONTEXT;
  return copy(target, true, source, true, bytes, now_in_order);
}
CUresult cuMemcpyPeer(CUdeviceptr target, CUcontext, CUdeviceptr source, CUcontext, size_t bytes) {
  NEEDS_CONTEXT;
  const CUresult earlier = synchronize_all();
  const CUresult own = copy(target, true, source, true, bytes, now_in_order);
  return earlier ? earlier : own;
}
// From memory that is not pinned a copy takes what is there now; to it, it is done when this returns.
CUresult cuMemcpyHtoDAsync(CUdeviceptr target, const void *source, size_t bytes, CUstream stream) {
  NEEDS_CONTEXT;
  if (bytes && !whole(target, bytes)) return bad_copy("a copy to", target, bytes);
  if (is_pinned(source)) return copy(target, true, reinterpret_cast<uint64_t>(source), false, bytes, [&](Work work) { return submit(stream, std::move(work)); });
  return submit(stream, [target, taken = std::string(static_cast<const char *>(source), bytes)] {
    memcpy(reinterpret_cast<void *>(target), taken.data(), taken.size());
    return CUDA_SUCCESS;
  });
}
CUresult cuMemcpyDtoHAsync(void *target, CUdeviceptr source, size_t bytes, CUstream stream) {
  NEEDS_CONTEXT;
  const CUresult result = copy(reinterpret_cast<uint64_t>(target), false, source, true, bytes, [&](Work work) { return submit(stream, std::move(work)); });
  return result || is_pinned(target) ? result : cuStreamSynchronize(stream);
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr target, CUdeviceptr source, size_t bytes, CUstream stream) {
  NEEDS_CONTEXT;
  return copy(target, true, source, true, bytes, [&](Work work) { return submit(stream, std::move(work)); });
}
CUresult cuMemcpyPeerAsync(CUdeviceptr target, CUcontext, CUdeviceptr source, CUcontext, size_t bytes, CUstream stream) {
  return cuMemcpyDtoDAsync(target, source, bytes, stream);
}
CUresult cuMemcpy(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
  NEEDS_CONTEXT;
  return copy(target, !host_side(target), source, !host_side(source), bytes, now_in_order);
}
CUresult cuMemcpy2D(const CUDA_MEMCPY2D *what) {
  NEEDS_CONTEXT;
  return rows(what, nullptr, true);
}
CUresult cuMemcpy2DUnaligned(const CUDA_MEMCPY2D *what) { return cuMemcpy2D(what); }
CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D *what, CUstream stream) {
  NEEDS_CONTEXT;
  return rows(what, stream, what->dstMemoryType == CU_MEMORYTYPE_HOST);
}
CUresult cuMemsetD8(CUdeviceptr place, unsigned char value, size_t count) { return fill(place, value, count, nullptr); }
CUresult cuMemsetD16(CUdeviceptr place, unsigned short value, size_t count) { return fill(place, value, count, nullptr); }
CUresult cuMemsetD32(CUdeviceptr place, unsigned value, size_t count) { return fill(place, value, count, nullptr); }
CUresult cuMemsetD8Async(CUdeviceptr place, unsigned char value, size_t count, CUstream stream) { return fill(place, value, count, stream); }
CUresult cuMemsetD16Async(CUdeviceptr place, unsigned short value, size_t count, CUstream stream) { return fill(place, value, count, stream); }
CUresult cuMemsetD32Async(CUdeviceptr place, unsigned value, size_t count, CUstream stream) { return fill(place, value, count, stream); }
CUresult cuMemsetD2D8(CUdeviceptr place, size_t pitch, unsigned char value, size_t width, size_t height) { return fill_rows(place, pitch, value, width, height, nullptr); }
CUresult cuMemsetD2D16(CUdeviceptr place, size_t pitch, unsigned short value, size_t width, size_t height) { return fill_rows(place, pitch, value, width, height, nullptr); }
CUresult cuMemsetD2D32(CUdeviceptr place, size_t pitch, unsigned value, size_t width, size_t height) { return fill_rows(place, pitch, value, width, height, nullptr); }
}
