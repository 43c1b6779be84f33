// The instructions that kernels write in PTX, as C++: matrix instructions of a warp, and copies that are under way while the thread goes on.
//
// Each has the name and the arguments of the device function that stands in the kernel's text behind #ifndef LAZYGRAD_EMULATOR.
#pragma once

// --- asynchronous copies from global to shared memory: what is copied arrives at the wait, and not before

extern "C" {
void emulator_copy_async(void *shared, const void *global, unsigned bytes);
void emulator_copy_commit();
void emulator_copy_wait(unsigned groups_left);
}

EMULATOR_PLAIN void lg_cp_async_4(void *shared, const void *global) { emulator_copy_async(shared, global, 4); }
EMULATOR_PLAIN void lg_cp_async_8(void *shared, const void *global) { emulator_copy_async(shared, global, 8); }
EMULATOR_PLAIN void lg_cp_async_16(void *shared, const void *global) { emulator_copy_async(shared, global, 16); }
EMULATOR_PLAIN void lg_cp_async_zero_4(void *shared, const void *global, bool valid) { emulator_copy_async(shared, valid ? global : nullptr, 4); }
EMULATOR_PLAIN void lg_cp_async_zero_8(void *shared, const void *global, bool valid) { emulator_copy_async(shared, valid ? global : nullptr, 8); }
EMULATOR_PLAIN void lg_cp_async_zero_16(void *shared, const void *global, bool valid) { emulator_copy_async(shared, valid ? global : nullptr, 16); }
EMULATOR_PLAIN int lg_kept(int x) { return x; }
EMULATOR_PLAIN void lg_cp_async_commit() { emulator_copy_commit(); }
template <int groups_left>
EMULATOR_PLAIN void lg_cp_async_wait() { emulator_copy_wait(groups_left); }

// --- neighbours in memory, all at once

template <int bytes>
EMULATOR_PLAIN void emulator_copy(void *to, const void *from) {
  emulator_read(from, bytes), emulator_write(to, bytes);
  if ((reinterpret_cast<size_t>(to) | reinterpret_cast<size_t>(from)) % bytes) emulator_trap("a copy at once, with an address that is no multiple of its size");
  memcpy(to, from, bytes);
}

EMULATOR_PLAIN void lg_copy_2(void *to, const void *from) { emulator_copy<2>(to, from); }
EMULATOR_PLAIN void lg_copy_4(void *to, const void *from) { emulator_copy<4>(to, from); }
EMULATOR_PLAIN void lg_copy_8(void *to, const void *from) { emulator_copy<8>(to, from); }
EMULATOR_PLAIN void lg_copy_16(void *to, const void *from) { emulator_copy<16>(to, from); }

// --- ldmatrix: 8 x 8 matrices of 16-bit elements; lane 8 m + r has the address of row r of matrix m

template <int count, bool transposed>
EMULATOR_PLAIN void emulator_ldmatrix(unsigned *result, const void *row, unsigned line) {
  const unsigned lane = emulator_lane();
  if (lane < 8 * count) emulator_read(row, 16);
  if (lane < 8 * count && reinterpret_cast<size_t>(row) % 16) emulator_trap("ldmatrix: the address of a row is no multiple of 16");
  unsigned short own[8] = {};
  if (lane < 8 * count) memcpy(own, row, 16);
  const void *rows = emulator_exchange(0xffffffffu, own, 16, "ldmatrix", line, false);
  for (int matrix = 0; matrix < count; ++matrix) {
    const auto element = [&](int r, int c) EMULATOR_LAMBDA -> unsigned {
      unsigned short value;
      memcpy(&value, static_cast<const char *>(rows) + (8 * matrix + r) * EMULATOR_EXCHANGED + 2 * c, 2);
      return value;
    };
    const int major = lane / 4, minor = lane % 4 * 2;
    result[matrix] = transposed ? element(minor, major) | element(minor + 1, major) << 16 : element(major, minor) | element(major, minor + 1) << 16;
  }
}

EMULATOR_PLAIN void lg_ldmatrix_x1(unsigned *result, const void *row) { emulator_ldmatrix<1, false>(result, row, __LINE__); }
EMULATOR_PLAIN void lg_ldmatrix_x2(unsigned *result, const void *row) { emulator_ldmatrix<2, false>(result, row, __LINE__); }
EMULATOR_PLAIN void lg_ldmatrix_x4(unsigned *result, const void *row) { emulator_ldmatrix<4, false>(result, row, __LINE__); }
EMULATOR_PLAIN void lg_ldmatrix_x1_trans(unsigned *result, const void *row) { emulator_ldmatrix<1, true>(result, row, __LINE__); }
EMULATOR_PLAIN void lg_ldmatrix_x2_trans(unsigned *result, const void *row) { emulator_ldmatrix<2, true>(result, row, __LINE__); }
EMULATOR_PLAIN void lg_ldmatrix_x4_trans(unsigned *result, const void *row) { emulator_ldmatrix<4, true>(result, row, __LINE__); }

// --- mma.sync.m16n8k16: d (16 x 8, float) += a (16 x 16, rows) b (16 x 8, columns), a quarter of a row of each in each lane

inline float emulator_from_f16(unsigned short bits) { return __half2float(emulator_bits<__half>(bits)); }
inline float emulator_from_bf16(unsigned short bits) { return emulator_bits<float>(unsigned(bits) << 16); }
EMULATOR_PLAIN float lg_expand_f16(unsigned short bits) { return emulator_from_f16(bits); }
EMULATOR_PLAIN unsigned short lg_pack_f16(float x) { return x != x ? 0x7e00 : emulator_bits<unsigned short>(__float2half_rn(x)); }
EMULATOR_PLAIN unsigned short lg_pack_bf16(float x) { return x != x ? 0x7fc0 : emulator_bits<unsigned short>(__float2bfloat16_rn(x)); }

EMULATOR_PLAIN void emulator_mma(float *d, const unsigned *a, const unsigned *b, float (*number)(unsigned short), unsigned line) {
  unsigned own[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const void *all = emulator_exchange(0xffffffffu, own, sizeof own, "mma", line, false);
  const auto half = [&](int lane, int word, int which) EMULATOR_LAMBDA {
    unsigned value;
    memcpy(&value, static_cast<const char *>(all) + lane * EMULATOR_EXCHANGED + 4 * word, 4);
    return number((unsigned short)(value >> 16 * which));
  };
  const auto left = [&](int row, int k) EMULATOR_LAMBDA { return half(row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2, k % 2); };
  const auto right = [&](int k, int column) EMULATOR_LAMBDA { return half(column * 4 + k % 8 / 2, 4 + k / 8, k % 2); };
  const int lane = emulator_lane();
  for (int i = 0; i < 4; ++i) {
    float sum = d[i];
    for (int k = 0; k < 16; ++k) sum += left(lane / 4 + i / 2 * 8, k) * right(k, lane % 4 * 2 + i % 2);
    d[i] = sum;
  }
}

EMULATOR_PLAIN void lg_mma_m16n8k16_f16(float *d, const unsigned *a, const unsigned *b) { emulator_mma(d, a, b, emulator_from_f16, __LINE__); }
EMULATOR_PLAIN void lg_mma_m16n8k16_bf16(float *d, const unsigned *a, const unsigned *b) { emulator_mma(d, a, b, emulator_from_bf16, __LINE__); }
