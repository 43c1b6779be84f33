// What the driver's functions share: contexts, streams, and the order in which what is submitted runs.
#pragma once

#include <cuda.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "emulator.hpp"

struct CUctx_st {
  int device = 0;
};

extern std::recursive_mutex driver_lock;
extern bool deferred;  // what is submitted waits until something waits for it

using Work = std::function<CUresult()>;

CUcontext current_context();
CUresult submit(CUstream stream, Work work);
CUresult kernel_work(const CUDA_KERNEL_NODE_PARAMS &what, Work &work);  // one launch; its arguments are copied
CUresult synchronize(CUcontext context);
CUresult synchronize_all();

#define NEEDS_CONTEXT                        \
  std::lock_guard held(driver_lock);         \
  if (!current_context()) return CUDA_ERROR_INVALID_CONTEXT
