// Buffers of one view, kept between calls so that no call pays for fresh pages.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "kernel.h"
#include "simd.hpp"

namespace isk {

constexpr int TILE = 16;                 // pixels; a tile is the unit of work of one thread
constexpr int BW = 4, BH = L / 4;        // one vector holds a block of BW × BH pixels
constexpr int BLOCKS = TILE * TILE / L;  // blocks of a tile, at most 64 (bits of a mask)
constexpr int BLOCK_COLS = TILE / BW, BLOCK_ROWS = TILE / BH;
constexpr int TILE_PIXELS = TILE * TILE;

constexpr float ALPHA_MIN = 1.0f / 255.0f;  // contributions below are skipped
constexpr float ALPHA_MAX = 0.999f;
constexpr float TRANSMITTANCE_MIN = 1e-4f;  // a pixel is finished before falling below
constexpr float LOW_PASS = 2.0f;            // 1 / σ² of the paper's screen filter, σ = √2 / 2 pixels
constexpr float EDGE_ON = 1e-7f;            // metres from the camera centre to the disk's plane
constexpr float GRAZING = 1e-3f;            // least cosine (per unit ray z) of the mean plane for a depth
constexpr float DISTORTION_NEAR = 0.2f;     // distortion compares 1 − near / z

// Grows, never shrinks, never initialises.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }
  T* reserve(size_t count) {
    if (count > capacity_) {
      std::free(data_);
      capacity_ = 0;
      size_t bytes = (count + count / 4) * sizeof(T);
      bytes = (bytes + 63) / 64 * 64 + 64;
      data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
      if (!data_) throw std::bad_alloc();
      capacity_ = count + count / 4;
    }
    return data_;
  }
  // reserve(), keeping the first `used` values.
  T* grow(size_t count, size_t used) {
    if (count <= capacity_) return data_;
    T* old = data_;
    data_ = nullptr;
    const size_t old_capacity = capacity_;
    capacity_ = 0;
    try {
      reserve(count);
    } catch (...) {
      data_ = old;
      capacity_ = old_capacity;
      throw;
    }
    if (old) std::memcpy(static_cast<void*>(data_), old, used * sizeof(T));
    std::free(old);
    return data_;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t bytes() const { return capacity_ * sizeof(T); }

 private:
  T* data_ = nullptr;
  size_t capacity_ = 0;
};

// What the blending of one Gaussian needs: one cache line.  With dx, dy in pixels from the projected mean:
//   q = q0 + qx·dx + qy·dy,  u = (ux·dx + uy·dy) / q,  v = (vx·dx + vy·dy) / q,  1/z = q · inv_d
// (2DGS eq. 8–10 in coordinates relative to the mean, which keeps float32 accurate at grazing angles; for
// the same reason the mean is split into whole pixels and the rest).  The normal is (fx·qx, fy·qy, nz).
struct Splat {
  float mx, my, rest_x, rest_y, ux, uy, vx, vy, q0, qx, qy, opacity, inv_d, inv_pz, nz, d;
};
static_assert(sizeof(Splat) == 64, "one cache line");

// The projected disk cut where alpha reaches ALPHA_MIN: an ellipse (centre relative to the mean, second
// moments so that its half extents are √sxx, √syy), and the radius of the screen filter's circle.
struct Extent {
  float cx, cy, sxx, sxy, syy, radius2;  // syy < 0: unbounded, the disk passes through the camera plane
  float pz;                              // ≤ 0: culled
  float unused;
};

struct Pair {
  uint32_t gaussian, tile;
  uint64_t blocks;  // bit b: the Gaussian may reach block b of the tile
};
struct Slots {
  uint32_t begin, end;
};
struct Entry {
  uint32_t gaussian, slot;
  uint64_t blocks;
};

// Per-pixel state that backward needs: [tiles, BLOCKS, S_COUNT, L].
enum State { S_T, S_QX, S_QY, S_NZ, S_D, S_M1, S_M2, S_REF, S_LAST, S_MEDIAN, S_COUNT };

struct Scratch {  // per thread
  Buffer<float> records, pixels, sums;
  Buffer<uint32_t> lists;
  Buffer<Pair> pairs;
  size_t num_pairs = 0;
  std::vector<uint32_t> tile_counts;
};

struct Workspace {
  Buffer<Splat> splats;
  Buffer<Extent> extents;
  Buffer<uint32_t> order, order_tmp, keys, keys_tmp;  // visible Gaussians by depth
  Buffer<uint32_t> segments;                          // [visible + 1] first slot of each
  Buffer<Entry> entries;                              // tile by tile, front to back
  Buffer<uint32_t> tile_begin;                        // [tiles + 1]
  Buffer<float> state;                                // [tiles, BLOCKS, S_COUNT, L]
  Buffer<float> rows;                                 // [slots, row stride] gradients per Gaussian and tile
  Buffer<uint8_t> row_used;
  Buffer<Slots> slots;      // [N] the rows of each Gaussian
  Buffer<double> partials;  // per tile / per chunk sums of the camera's gradient
  std::vector<Scratch> scratch;
  uint32_t num_visible = 0, num_entries = 0;
  int tiles_x = 0, tiles_y = 0;
};

void project(Workspace& w, const isk_scene& s);
void bin(Workspace& w, const isk_scene& s);
void project_backward(Workspace& w, const isk_scene& s, int row_stride, const isk_gradients& out);

// Rows of gradients per (Gaussian, tile), see blend_backward.cpp and project_backward.cpp.
enum Row { R_MX, R_MY, R_UX, R_UY, R_VX, R_VY, R_NX, R_NY, R_NZ, R_D, R_PZ, R_OPACITY, R_COLOR };

}  // namespace isk
