// CUDA C for g++: what a kernel's text may use without an #include, in terms of the emulator's functions.
//
// The stand-in of NVRTC puts this before the text, precompiled. Functions that touch memory for the kernel are not instrumented themselves: they
// tell the emulator what they do. Instructions that lazygrad's kernels write in PTX are in instructions.hpp.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>
#include <vector_types.h>

#define LAZYGRAD_EMULATOR 1

#undef __shared__
#undef __global__
#undef __device__
#undef __constant__
#undef __launch_bounds__
#undef __noinline__
#undef __forceinline__
#undef __grid_constant__
#define __shared__ static
#define __global__
#define __device__
#define __constant__ static __attribute__((used))
#define __launch_bounds__(...)
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __grid_constant__
#ifndef __align__
#define __align__(bytes) __attribute__((aligned(bytes)))
#endif

#define EMULATOR_PLAIN __attribute__((no_sanitize("thread", "bounds", "alignment"), unused)) static
#define EMULATOR_LAMBDA __attribute__((no_sanitize("thread", "bounds", "alignment")))

struct emulator_index {
  unsigned x, y, z;
};
extern "C" {
__attribute__((const)) emulator_index emulator_thread_index();
__attribute__((const)) emulator_index emulator_block_index();
__attribute__((const)) emulator_index emulator_block_size();
__attribute__((const)) emulator_index emulator_grid_size();
__attribute__((const)) unsigned emulator_lane();
unsigned emulator_active_mask();
unsigned emulator_came();
void emulator_barrier(unsigned line);
const void *emulator_exchange(unsigned mask, const void *value, unsigned bytes, const char *what, unsigned line, bool orders_memory);
void emulator_read(const void *place, unsigned long bytes);
void emulator_write(const void *place, unsigned long bytes);
void emulator_atomic(const void *place, unsigned long bytes);
void emulator_fence();
[[noreturn]] void emulator_trap(const char *what);
}

#define threadIdx emulator_thread_index()
#define blockIdx emulator_block_index()
#define blockDim emulator_block_size()
#define gridDim emulator_grid_size()
#define warpSize 32

// --- barriers, votes, shuffles

#define __syncthreads() emulator_barrier(__LINE__)
#define __syncwarp(...) emulator_meet(__LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_sync(mask, ...) emulator_shuffle("__shfl_sync", __LINE__, emulator_to_lane, mask, __VA_ARGS__)
#define __shfl_up_sync(mask, ...) emulator_shuffle("__shfl_up_sync", __LINE__, emulator_up, mask, __VA_ARGS__)
#define __shfl_down_sync(mask, ...) emulator_shuffle("__shfl_down_sync", __LINE__, emulator_down, mask, __VA_ARGS__)
#define __shfl_xor_sync(mask, ...) emulator_shuffle("__shfl_xor_sync", __LINE__, emulator_xor, mask, __VA_ARGS__)
#define __ballot_sync(mask, predicate) emulator_ballot("__ballot_sync", __LINE__, mask, predicate)
#define __any_sync(mask, predicate) (emulator_ballot("__any_sync", __LINE__, mask, predicate) != 0)
#define __all_sync(mask, predicate) (emulator_ballot("__all_sync", __LINE__, mask, !(predicate)) == 0)
#define __activemask() emulator_active_mask()
#define __reduce_add_sync(mask, value) emulator_reduce("__reduce_add_sync", __LINE__, mask, value, [](auto a, auto b) { return a + b; })
#define __reduce_min_sync(mask, value) emulator_reduce("__reduce_min_sync", __LINE__, mask, value, [](auto a, auto b) { return a < b ? a : b; })
#define __reduce_max_sync(mask, value) emulator_reduce("__reduce_max_sync", __LINE__, mask, value, [](auto a, auto b) { return a > b ? a : b; })
#define __threadfence() emulator_fence()
#define __threadfence_block() ((void)0)
#define __threadfence_system() emulator_fence()
#define __trap() emulator_trap("__trap()")
#define assert(condition) ((condition) ? (void)0 : emulator_trap("assertion failed: " #condition))

constexpr unsigned EMULATOR_EXCHANGED = 64;

EMULATOR_PLAIN void emulator_meet(unsigned line, unsigned mask = 0xffffffffu) {
  char nothing = 0;
  emulator_exchange(mask, &nothing, 1, "__syncwarp", line, true);
}

// The value that a lane has left.
template <class T>
EMULATOR_PLAIN T emulator_left(const void *values, unsigned lane) {
  T value;
  memcpy(&value, static_cast<const char *>(values) + lane * EMULATOR_EXCHANGED, sizeof(T));
  return value;
}

inline int emulator_to_lane(int, int first, int, int source, int width) { return first + (source & (width - 1)); }
inline int emulator_up(int lane, int first, int, int delta, int) { return lane - delta < first ? lane : lane - delta; }
inline int emulator_down(int lane, int, int last, int delta, int) { return lane + delta > last ? lane : lane + delta; }
inline int emulator_xor(int lane, int, int last, int mask, int) { return (lane ^ mask) > last ? lane : lane ^ mask; }

template <class T>
EMULATOR_PLAIN T emulator_shuffle(const char *what, unsigned line, int (*from)(int, int, int, int, int), unsigned mask, T value, int which, int width = 32) {
  const int lane = emulator_lane(), first = lane / width * width;
  return emulator_left<T>(emulator_exchange(mask, &value, sizeof(T), what, line, false), from(lane, first, first + width - 1, which, width));
}

EMULATOR_PLAIN unsigned emulator_ballot(const char *what, unsigned line, unsigned mask, bool predicate) {
  const void *values = emulator_exchange(mask, &predicate, sizeof predicate, what, line, false);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (emulator_came() >> lane & 1) votes |= unsigned(emulator_left<bool>(values, lane)) << lane;
  return votes;
}

template <class T, class Combine>
EMULATOR_PLAIN T emulator_reduce(const char *what, unsigned line, unsigned mask, T value, Combine combine) {
  const void *values = emulator_exchange(mask, &value, sizeof(T), what, line, false);
  T all = value;
  bool first = true;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(emulator_came() >> lane & 1)) continue;
    all = first ? emulator_left<T>(values, lane) : combine(all, emulator_left<T>(values, lane));
    first = false;
  }
  return all;
}

// --- atomic operations: the threads of a block never run at the same time, so only the emulator must know

#define EMULATOR_ATOMIC(NAME, RESULT)                                                   \
  template <class T, class V>                                                           \
  EMULATOR_PLAIN std::enable_if_t<std::is_convertible_v<V, T>, T> NAME(T *place, V given) { \
    emulator_atomic((const void *)place, sizeof(T));                                    \
    const T old = *place, value = T(given);                                             \
    *place = RESULT;                                                                    \
    return old;                                                                         \
  }                                                                                     \
  template <class T, class V>                                                           \
  EMULATOR_PLAIN T NAME##_block(T *place, V given) { return NAME(place, given); }
EMULATOR_ATOMIC(atomicAdd, T(old + value))
EMULATOR_ATOMIC(atomicSub, T(old - value))
EMULATOR_ATOMIC(atomicExch, value)
EMULATOR_ATOMIC(atomicMin, value < old ? value : old)
EMULATOR_ATOMIC(atomicMax, old < value ? value : old)
EMULATOR_ATOMIC(atomicAnd, T(old & value))
EMULATOR_ATOMIC(atomicOr, T(old | value))
EMULATOR_ATOMIC(atomicXor, T(old ^ value))
EMULATOR_ATOMIC(atomicInc, old >= value ? T(0) : T(old + 1))
EMULATOR_ATOMIC(atomicDec, old == T(0) || old > value ? value : T(old - 1))

template <class T>
EMULATOR_PLAIN T atomicCAS(T *place, std::common_type_t<T> expected, std::common_type_t<T> value) {
  emulator_atomic((const void *)place, sizeof(T));
  const T old = *place;
  if (!memcmp(&old, &expected, sizeof(T))) *place = value;
  return old;
}

// --- loads and stores with a hint about caches

template <class T>
inline T __ldg(const T *place) { return *place; }
template <class T>
inline T __ldcg(const T *place) { return *place; }
template <class T>
inline T __ldcs(const T *place) { return *place; }
template <class T>
inline T __ldca(const T *place) { return *place; }
template <class T>
inline void __stcg(T *place, T value) { *place = value; }
template <class T>
inline void __stcs(T *place, T value) { *place = value; }
inline size_t __cvta_generic_to_shared(const void *place) { return reinterpret_cast<size_t>(place); }

// --- bits and integers

template <class To, class From>
inline To emulator_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &value, sizeof(To));
  return result;
}
inline int __float_as_int(float value) { return emulator_bits<int>(value); }
inline unsigned __float_as_uint(float value) { return emulator_bits<unsigned>(value); }
inline float __int_as_float(int value) { return emulator_bits<float>(value); }
inline float __uint_as_float(unsigned value) { return emulator_bits<float>(value); }
inline long long __double_as_longlong(double value) { return emulator_bits<long long>(value); }
inline double __longlong_as_double(long long value) { return emulator_bits<double>(value); }
inline int __clz(int value) { return value ? __builtin_clz(value) : 32; }
inline int __clzll(long long value) { return value ? __builtin_clzll(value) : 64; }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline unsigned __brev(unsigned value) {
  unsigned result = 0;
  for (int bit = 0; bit < 32; ++bit) result |= (value >> bit & 1u) << (31 - bit);
  return result;
}
inline unsigned long long __brevll(unsigned long long value) { return (unsigned long long)__brev(unsigned(value)) << 32 | __brev(unsigned(value >> 32)); }
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) { return (((unsigned long long)high << 32 | low) << (shift & 31)) >> 32; }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) { return ((unsigned long long)high << 32 | low) >> (shift & 31); }
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const unsigned long long both = (unsigned long long)high << 32 | low;
  unsigned result = 0;
  for (int byte = 0; byte < 4; ++byte) result |= unsigned(both >> (selector >> 4 * byte & 7) * 8 & 255) << 8 * byte;
  return result;
}

// --- numbers

template <class A, class B, class T = std::common_type_t<A, B>, class = std::enable_if_t<std::is_integral_v<A> && std::is_integral_v<B>>>
inline T min(A a, B b) { return T(a) < T(b) ? T(a) : T(b); }
template <class A, class B, class T = std::common_type_t<A, B>, class = std::enable_if_t<std::is_integral_v<A> && std::is_integral_v<B>>>
inline T max(A a, B b) { return T(a) > T(b) ? T(a) : T(b); }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

#define EMULATOR_ROUNDED(SUFFIX, T, LETTER, FMA)                                \
  inline T __##LETTER##add_##SUFFIX(T a, T b) { return a + b; }                \
  inline T __##LETTER##sub_##SUFFIX(T a, T b) { return a - b; }                \
  inline T __##LETTER##mul_##SUFFIX(T a, T b) { return a * b; }                \
  inline T __##LETTER##div_##SUFFIX(T a, T b) { return a / b; }                \
  inline T __##LETTER##sqrt_##SUFFIX(T a) { return sqrt(a); }                  \
  inline T __##LETTER##rcp_##SUFFIX(T a) { return 1 / a; }
EMULATOR_ROUNDED(rn, float, f, fmaf)
EMULATOR_ROUNDED(rn, double, d, fma)
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.7071067811865476); }
inline float sinpif(float x) { return float(sin(3.141592653589793 * x)); }
inline float cospif(float x) { return float(cos(3.141592653589793 * x)); }
inline int __float2int_rn(float x) { return int(rintf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline int __float2int_ru(float x) { return int(ceilf(x)); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }
inline long long clock64() { return 0; }
inline void __nanosleep(unsigned) {}

// --- kernels: how the emulator calls them

struct emulator_kernel {
  const char *name;
  void (*call)(void **arguments);
  unsigned count;
  const unsigned *sizes, *alignments;
  unsigned most_threads;
};

template <auto kernel>
struct emulator_caller;
template <class... A, void (*kernel)(A...)>
struct emulator_caller<kernel> {
  static constexpr unsigned sizes[] = {unsigned(sizeof(A))..., 0}, alignments[] = {unsigned(alignof(A))..., 0};
  template <size_t... I>
  EMULATOR_PLAIN void spread(void **arguments, std::index_sequence<I...>) { kernel(*static_cast<A *>(arguments[I])...); }
  EMULATOR_PLAIN void call(void **arguments) { spread(arguments, std::index_sequence_for<A...>()); }
  static constexpr emulator_kernel table(const char *name, unsigned most_threads) { return {name, call, sizeof...(A), sizes, alignments, most_threads}; }
};

#include "instructions.hpp"
