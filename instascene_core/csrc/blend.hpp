// What the forward pass, the backward pass and the tracer share: one Gaussian seen by one block of pixels.
#pragma once

#include <algorithm>

#include "workspace.hpp"

namespace isk {

struct Hit {
  F dx, dy;     // pixels from the projected mean
  F q, iq;      // q of Splat and its inverse
  F u, v, rho;  // disk coordinates in standard deviations; rho = squared distance that counts
  F gauss, alpha;
  Mask disk;  // true: the disk's own Gaussian, false: the screen filter (2DGS eq. 11)
};

inline Hit evaluate(const Splat& g, F px, F py, F inv_near) {
  Hit h;
  h.dx = (px - F(g.mx)) - F(g.rest_x);  // the first difference is exact
  h.dy = (py - F(g.my)) - F(g.rest_y);
  h.q = fma(F(g.qx), h.dx, fma(F(g.qy), h.dy, F(g.q0)));
  h.iq = F(1.0f) / h.q;
  h.u = fma(F(g.ux), h.dx, F(g.uy) * h.dy) * h.iq;
  h.v = fma(F(g.vx), h.dx, F(g.vy) * h.dy) * h.iq;
  const F rho_disk = fma(h.u, h.u, h.v * h.v);
  const F rho_screen = fma(h.dx, h.dx, h.dy * h.dy) * F(LOW_PASS);
  // Behind the camera or on the plane through its centre (q ≤ 0, NaN): the screen filter.
  h.disk = (h.q > F(0.0f)) & (h.q * F(g.inv_d) <= inv_near) & (rho_disk <= rho_screen);
  h.rho = select(h.disk, rho_disk, rho_screen);
  h.gauss = exp2(max(h.rho * F(-0.5f * 1.44269504f), F(-80.0f)));  // exp(−rho / 2)
  h.alpha = min(h.gauss * F(g.opacity), F(ALPHA_MAX));
  return h;
}

// 1 / z of the hit: of the intersection, or of the disk's centre where the screen filter acts.
inline F inverse_depth(const Splat& g, const Hit& h) { return select(h.disk, h.q * F(g.inv_d), F(g.inv_pz)); }

// Centres of the pixels of a block.
struct BlockPixels {
  F x, y;
  BlockPixels(int tile_x, int tile_y, int block) {
    alignas(64) static const float X[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
    alignas(64) static const float Y[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    left = tile_x * TILE + (block % BLOCK_COLS) * BW;
    top = tile_y * TILE + (block / BLOCK_COLS) * BH;
    x = load(X) + F(left + 0.5f);
    y = load(Y) + F(top + 0.5f);
  }
  int left, top;
};

// Call f(lane, pixel index) for the block's lanes inside the image.
template <class Function>
inline void for_each_pixel(const BlockPixels& p, int width, int height, Function f) {
  const int cols = std::min(BW, width - p.left), rows = std::min(BH, height - p.top);
  for (int row = 0; row < rows; ++row)
    for (int col = 0; col < cols; ++col)
      f(row * BW + col, static_cast<int64_t>(p.top + row) * width + p.left + col);
}

inline int record_stride(int channels) { return 16 + (channels + 3) / 4 * 4; }
inline int row_stride(int channels) { return (R_COLOR + channels + 3) / 4 * 4; }

// The tile's splats and colours, copied side by side; [entries, record_stride].
inline const float* load_records(const Workspace& w, const isk_scene& s, int tile, int channels,
                                 Scratch& scratch) {
  const uint32_t begin = w.tile_begin[tile], count = w.tile_begin[tile + 1] - begin;
  const int stride = record_stride(channels);
  float* records = scratch.records.reserve(static_cast<size_t>(count) * stride + 16);
  for (uint32_t i = 0; i < count; ++i) {
    if (i + 16 < count) __builtin_prefetch(&w.splats[w.entries[begin + i + 16].gaussian]);
    if (i + 16 < count && channels)
      __builtin_prefetch(s.colors + static_cast<size_t>(w.entries[begin + i + 16].gaussian) * channels);
    const uint32_t g = w.entries[begin + i].gaussian;
    float* record = records + static_cast<size_t>(i) * stride;
    std::memcpy(record, &w.splats[g], sizeof(Splat));
    for (int c = 0; c < channels; ++c) record[16 + c] = s.colors[static_cast<size_t>(g) * channels + c];
  }
  return records;
}

inline const Splat& splat_of(const float* record) { return *reinterpret_cast<const Splat*>(record); }

// Per block the indices into the tile's list; lists[b * count ...], with lengths in `lengths`.
inline const uint32_t* block_lists(const Workspace& w, int tile, Scratch& scratch, uint32_t* lengths) {
  const uint32_t begin = w.tile_begin[tile], count = w.tile_begin[tile + 1] - begin;
  uint32_t* lists = scratch.lists.reserve(static_cast<size_t>(count) * BLOCKS + 1);
  for (int b = 0; b < BLOCKS; ++b) lengths[b] = 0;
  for (uint32_t i = 0; i < count; ++i)
    for (uint64_t left = w.entries[begin + i].blocks; left; left &= left - 1) {
      const int b = __builtin_ctzll(left);
      lists[static_cast<size_t>(b) * count + lengths[b]++] = i;
    }
  return lists;
}

inline float* tile_state(Workspace& w, int tile) {
  return w.state.data() + static_cast<size_t>(tile) * S_COUNT * TILE_PIXELS;
}

}  // namespace isk
