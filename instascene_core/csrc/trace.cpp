// Per pixel the Gaussians that contribute, front to back: the same blending without channels, run twice.
#include <omp.h>

#include "blend.hpp"

namespace isk {

namespace {

struct TraceOutput {
  float transmittance_min, weight_min;
  int64_t* counts;         // counting: [H*W], else NULL
  const int64_t* offsets;  // writing: [H*W+1]
  int32_t* indices;
  float *weights, *transmittance;
};

void trace_block(const Workspace& w, const isk_scene& s, int tile, const float* records, const uint32_t* list,
                 uint32_t length, const BlockPixels& p, const TraceOutput& out) {
  const int stride = record_stride(0);
  const F inv_near(1.0f / s.near_plane), t_min(out.transmittance_min), w_min(out.weight_min);
  int64_t pixel[L] = {}, cursor[L] = {};
  for_each_pixel(p, s.width, s.height, [&](int lane, int64_t i) {
    pixel[lane] = i;
    cursor[lane] = out.counts ? 0 : out.offsets[i];
  });
  Mask live = (p.x < F(static_cast<float>(s.width))) & (p.y < F(static_cast<float>(s.height)));
  F t(1.0f);
  for (uint32_t k = 0; k < length; ++k) {
    const Splat& g = splat_of(records + static_cast<size_t>(list[k]) * stride);
    const Hit h = evaluate(g, p.x, p.y, inv_near);
    Mask hit = live & (h.alpha >= F(ALPHA_MIN));
    if (!any(hit)) continue;
    const F weight = h.alpha * t, next = t - weight;
    const Mask done = hit & (next < F(TRANSMITTANCE_MIN));
    hit = and_not(hit, done);
    const Mask kept = hit & (t > t_min) & (weight > w_min);
    if (any(kept)) {
      alignas(64) float weights[L], before[L];
      store(weights, weight);
      store(before, t);
      for (uint32_t left = bits(kept); left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        const int64_t at = cursor[lane]++;
        if (out.counts) continue;
        out.indices[at] = static_cast<int32_t>(w.entries[w.tile_begin[tile] + list[k]].gaussian);
        out.weights[at] = weights[lane];
        out.transmittance[at] = before[lane];
      }
    }
    t = select(hit, next, t);
    live = and_not(live, done) & (t > max(t_min, F(0.0f)));
    if (!any(live)) break;
  }
  if (out.counts)
    for_each_pixel(p, s.width, s.height, [&](int lane, int64_t i) { out.counts[i] = cursor[lane]; });
}

}  // namespace

static void trace(Workspace& w, const isk_scene& s, const TraceOutput& out) {
  const int tiles = w.tiles_x * w.tiles_y;
  bool failed = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s.num_threads)
  for (int tile = 0; tile < tiles; ++tile) {
    try {
      Scratch& scratch = w.scratch[omp_get_thread_num()];
      const float* records = load_records(w, s, tile, 0, scratch);
      const uint32_t count = w.tile_begin[tile + 1] - w.tile_begin[tile];
      uint32_t lengths[BLOCKS];
      const uint32_t* lists = block_lists(w, tile, scratch, lengths);
      for (int b = 0; b < BLOCKS; ++b) {
        const BlockPixels p(tile % w.tiles_x, tile / w.tiles_x, b);
        trace_block(w, s, tile, records, lists + static_cast<size_t>(b) * count, lengths[b], p, out);
      }
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      failed = true;
    }
  }
  if (failed) throw std::bad_alloc();
}

void trace_count(Workspace& w, const isk_scene& s, float t_min, float w_min, int64_t* offsets) {
  project(w, s);
  bin(w, s);
  trace(w, s, {t_min, w_min, offsets + 1, nullptr, nullptr, nullptr, nullptr});
  offsets[0] = 0;
  const int64_t pixels = static_cast<int64_t>(s.width) * s.height;
  for (int64_t i = 0; i < pixels; ++i) offsets[i + 1] += offsets[i];
}

void trace_write(Workspace& w, const isk_scene& s, float t_min, float w_min, const int64_t* offsets,
                 int32_t* indices, float* weights, float* transmittance) {
  trace(w, s, {t_min, w_min, nullptr, offsets, indices, weights, transmittance});
}

}  // namespace isk
