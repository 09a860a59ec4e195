// Which Gaussians reach which blocks of pixels, front to back.
//
// The Gaussians are sorted by depth once; pairs are then distributed to tiles in that order, so each
// tile's list is sorted without sorting pairs.  Chunks of Gaussians are handled by different threads,
// but a tile's list is the concatenation of the chunks in order: the result does not depend on them.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "outline.hpp"
#include "workspace.hpp"

namespace isk {

namespace {

// Sort the visible Gaussians by depth (positive floats order like their bits); equal depths by index.
void sort_by_depth(Workspace& w, const isk_scene& s) {
  const uint32_t n = static_cast<uint32_t>(s.num_gaussians);
  uint32_t *order = w.order.reserve(n), *other = w.order_tmp.reserve(n);
  uint32_t *keys = w.keys.reserve(n), *other_keys = w.keys_tmp.reserve(n);
  constexpr int BITS = 11, BINS = 1 << BITS;
  std::vector<uint32_t> counts(3 * BINS, 0);
  uint32_t visible = 0;
  for (uint32_t g = 0; g < n; ++g) {
    const float z = w.extents[g].pz;
    if (!(z > 0.0f)) continue;
    uint32_t key;
    std::memcpy(&key, &z, 4);
    keys[visible] = key;
    order[visible++] = g;
    for (int pass = 0; pass < 3; ++pass) ++counts[pass * BINS + ((key >> (pass * BITS)) & (BINS - 1))];
  }
  for (int pass = 0; pass < 3; ++pass) {
    uint32_t* count = counts.data() + pass * BINS;
    uint32_t total = 0;
    for (int bin = 0; bin < BINS; ++bin) {
      const uint32_t c = count[bin];
      count[bin] = total;
      total += c;
    }
    for (uint32_t i = 0; i < visible; ++i) {
      const uint32_t to = count[(keys[i] >> (pass * BITS)) & (BINS - 1)]++;
      other_keys[to] = keys[i];
      other[to] = order[i];
    }
    std::swap(keys, other_keys);
    std::swap(order, other);
  }
  // Three passes end in the temporary buffers.
  std::copy_n(order, visible, other);  // not memcpy: without Gaussians there are no buffers
  w.num_visible = visible;
}

// Block columns [first, last] that the splat may reach, for L consecutive block rows from `row`.
void spans(const Splat& g, const Extent& e, int row, F* first, F* last) {
  alignas(64) static const float LANES[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const F y0 =
      (F(static_cast<float>(row)) + load(LANES)) * F(static_cast<float>(BH)) + F(0.5f - g.my - g.rest_y);
  const F y1 = y0 + F(static_cast<float>(BH - 1)), zero(0.0f);
  // Circle of the screen filter.
  const F nearest = min(max(zero, y0), y1), margin(0.05f);
  const F room = F(e.radius2) - nearest * nearest;
  F half = sqrt(max(room, zero)) + margin;
  const Mask in_circle = room >= F(-0.2f);
  F lo = select(in_circle, -half, F(1e9f)), hi = select(in_circle, half, F(-1e9f));
  // Ellipse: x-range over the strip; its extreme points count where they lie inside the strip.
  const float hx = std::sqrt(e.sxx), hy = std::sqrt(e.syy), slack = 0.05f + 1e-3f * hx;
  const float slack_y = 0.05f + 1e-3f * hy;
  const float slope = e.syy > 1e-12f ? e.sxy / e.syy : 0.0f;
  const float rest = std::max(0.0f, e.sxx - slope * e.sxy);
  const float y_top = hx > 1e-6f ? e.sxy / hx : 0.0f;  // where x is greatest; least at −y_top
  const F k0 = max(y0 - F(e.cy), F(-hy)), k1 = min(y1 - F(e.cy), F(hy));
  const Mask in_ellipse = (y0 - F(e.cy) <= F(hy + slack_y)) & (y1 - F(e.cy) >= F(-hy - slack_y));
  const float inv = e.syy > 1e-12f ? 1.0f / e.syy : 0.0f;
  const F c0 = min(max(F(y_top), min(k0, k1)), max(k0, k1)),
          c1 = min(max(F(-y_top), min(k0, k1)), max(k0, k1));
  const F right = fma(c0, F(slope), sqrt(F(rest) * max(zero, F(1.0f) - c0 * c0 * F(inv)))) + F(e.cx + slack);
  const F left = fma(c1, F(slope), -sqrt(F(rest) * max(zero, F(1.0f) - c1 * c1 * F(inv)))) + F(e.cx - slack);
  hi = max(hi, select(in_ellipse, right, F(-1e9f)));
  lo = min(lo, select(in_ellipse, left, F(1e9f)));
  // Pixel centres of block column b: 4b + 0.5 … 4b + 3.5.
  const F per(1.0f / BW);
  *first = (lo + F(g.mx + g.rest_x + 0.5f - BW)) * per;
  *last = (hi + F(g.mx + g.rest_x - 0.5f)) * per;
}

struct RowRange {
  int first, last;
};

// Block rows that hold pixel centres between `top` and `bottom`, clipped to the image.
RowRange rows_between(double top, double bottom, int rows) {
  const double first = std::ceil((top + 0.5 - BH) / BH), last = std::floor((bottom - 0.5) / BH);
  return {static_cast<int>(std::max(0.0, std::min(first, 1e6))),
          static_cast<int>(std::min(rows - 1.0, std::max(last, -1.0)))};
}

constexpr double MARGIN = 0.1;  // pixels, against rounding

// What a splat reaches whose disk passes through the camera plane: its outline, and the screen filter's
// circle.
struct Crossing {
  Outline outline;
  double x, y, radius;  // of the circle, pixels

  Crossing(const isk_scene& s, const Splat& g, const Extent& e, uint32_t index)
      : outline(s, index, std::sqrt(e.radius2 * LOW_PASS)),
        x(static_cast<double>(g.mx) + g.rest_x),
        y(static_cast<double>(g.my) + g.rest_y),
        radius(std::sqrt(e.radius2)) {}

  RowRange row_range(int rows) const {
    double top = y - radius, bottom = y + radius;
    outline.widen_rows(&top, &bottom);
    return rows_between(top - MARGIN, bottom + MARGIN, rows);
  }

  // As spans() below for one block row.
  void span(int row, float* first, float* last) const {
    const double top = row * BH + 0.5 - MARGIN, bottom = top + BH - 1 + 2 * MARGIN;
    double low = 1e9, high = -1e9;
    outline.widen(top, bottom, &low, &high);
    const double off = std::max({0.0, top - y, y - bottom}), room = radius * radius - off * off;
    if (room >= 0) low = std::min(low, x - std::sqrt(room)), high = std::max(high, x + std::sqrt(room));
    *first = static_cast<float>((low - MARGIN + 0.5 - BW) / BW);
    *last = static_cast<float>((high + MARGIN - 0.5) / BW);
  }
};

// Block rows the splat may reach.
RowRange row_range(const Splat& g, const Extent& e, int rows) {
  const float hy = std::sqrt(e.syy) * 1.001f + 0.1f, rl = std::sqrt(e.radius2) + 0.1f;
  const float my = g.my + g.rest_y;
  return rows_between(my + std::min(e.cy - hy, -rl), my + std::max(e.cy + hy, rl), rows);
}

constexpr uint32_t AHEAD = 12;  // Gaussians to prefetch

// Append the pairs of one Gaussian.
void emit(const isk_scene& s, const Splat& g, const Extent& e, uint32_t index, int cols, int rows,
          int tiles_x, Scratch& scratch) {
  std::optional<Crossing> crossing;
  if (e.syy < 0.0f) crossing.emplace(s, g, e, index);
  const RowRange range = crossing ? crossing->row_range(rows) : row_range(g, e, rows);
  if (range.first > range.last) return;
  constexpr int MAX_TILE_ROWS_AT_ONCE = L / BLOCK_ROWS > 0 ? L / BLOCK_ROWS : 1;
  constexpr int LANES = BLOCK_ROWS > L ? BLOCK_ROWS : L;
  alignas(64) float first[LANES], last[LANES];
  const int t0 = range.first / BLOCK_ROWS, t1 = range.last / BLOCK_ROWS;
  for (int group = t0; group <= t1; group += MAX_TILE_ROWS_AT_ONCE) {
    for (int part = 0; part < LANES; part += L) {
      F lo, hi;
      if (crossing) {
        for (int lane = part; lane < part + L; ++lane)
          crossing->span(group * BLOCK_ROWS + lane, first + lane, last + lane);
        lo = load(first + part), hi = load(last + part);
      } else {
        spans(g, e, group * BLOCK_ROWS + part, &lo, &hi);
      }
      store(first + part, min(max(lo, F(-1.0f)), F(1e6f)));  // ceil below stays ≥ −1
      store(last + part, max(min(hi, F(cols - 1.0f)), F(-1.0f)));
    }
    for (int tile_row = group; tile_row < group + MAX_TILE_ROWS_AT_ONCE && tile_row <= t1; ++tile_row) {
      int b0[BLOCK_ROWS], b1[BLOCK_ROWS], least = cols, most = -1;
      for (int k = 0; k < BLOCK_ROWS; ++k) {
        const int row = tile_row * BLOCK_ROWS + k, lane = row - group * BLOCK_ROWS;
        b0[k] = 1, b1[k] = 0;
        if (row < range.first || row > range.last) continue;
        const int a = std::max(0, static_cast<int>(std::ceil(first[lane])));
        const int b = last[lane] < 0.0f ? -1 : static_cast<int>(last[lane]);
        if (a > b) continue;
        b0[k] = a, b1[k] = b;
        least = std::min(least, a), most = std::max(most, b);
      }
      if (most < 0) continue;
      for (int tile_col = least / BLOCK_COLS; tile_col <= most / BLOCK_COLS; ++tile_col) {
        uint64_t mask = 0;
        const int left = tile_col * BLOCK_COLS;
        for (int k = 0; k < BLOCK_ROWS; ++k) {
          const int a = std::max(b0[k] - left, 0), b = std::min(b1[k] - left, BLOCK_COLS - 1);
          if (a <= b) mask |= static_cast<uint64_t>(((2u << b) - 1u) & ~((1u << a) - 1u)) << (k * BLOCK_COLS);
        }
        if (!mask) continue;
        const uint32_t tile = static_cast<uint32_t>(tile_row * tiles_x + tile_col);
        ++scratch.tile_counts[tile];
        scratch.pairs[scratch.num_pairs++] = {index, tile, mask};
      }
    }
  }
}

// The Gaussians, by rank in depth, that a thread takes.
struct Ranks {
  Ranks(uint32_t visible, int chunk, int chunks)
      : begin(static_cast<uint64_t>(visible) * chunk / chunks),
        end(static_cast<uint64_t>(visible) * (chunk + 1) / chunks) {}
  uint32_t begin, end;
};

// Writes the pairs of `ranks`, Gaussian by Gaussian; w.segments[rank] counts from the chunk's first.
void emit_pairs(Workspace& w, const isk_scene& s, Ranks ranks, Scratch& scratch) {
  const int cols = (s.width + BW - 1) / BW, rows = (s.height + BH - 1) / BH, tiles = w.tiles_x * w.tiles_y;
  scratch.tile_counts.assign(tiles, 0);
  scratch.num_pairs = 0;
  Buffer<Pair>& pairs = scratch.pairs;
  size_t capacity = pairs.bytes() / sizeof(Pair);
  for (uint32_t rank = ranks.begin; rank < ranks.end; ++rank) {
    if (scratch.num_pairs + tiles > capacity) {  // a Gaussian has at most one pair per tile
      pairs.grow((capacity + tiles) * 2 + 4096, scratch.num_pairs);
      capacity = pairs.bytes() / sizeof(Pair);
    }
    w.segments[rank] = static_cast<uint32_t>(scratch.num_pairs);
    const uint32_t g = w.order[rank];
    if (rank + AHEAD < ranks.end) {  // depth order jumps through memory
      __builtin_prefetch(&w.splats[w.order[rank + AHEAD]]);
      __builtin_prefetch(&w.extents[w.order[rank + AHEAD]]);
    }
    emit(s, w.splats[g], w.extents[g], g, cols, rows, w.tiles_x, scratch);
  }
}

// Where each tile's entries begin; the chunks' tile_counts become their cursors.
void lay_out_tiles(Workspace& w, int chunks) {
  const int tiles = w.tiles_x * w.tiles_y;
  uint32_t* tile_begin = w.tile_begin.reserve(tiles + 1);
  uint32_t total = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    tile_begin[tile] = total;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const uint32_t count = w.scratch[chunk].tile_counts[tile];
      w.scratch[chunk].tile_counts[tile] = total;
      total += count;
    }
  }
  tile_begin[tiles] = total;
  w.num_entries = total;
  w.segments[w.num_visible] = total;
}

}  // namespace

void bin(Workspace& w, const isk_scene& s) {
  w.tiles_x = (s.width + TILE - 1) / TILE;
  w.tiles_y = (s.height + TILE - 1) / TILE;
  sort_by_depth(w, s);
  const uint32_t visible = w.num_visible;
  const int threads = std::max(1, s.num_threads);
  if (static_cast<int>(w.scratch.size()) < threads) w.scratch = std::vector<Scratch>(threads);
  uint32_t* segments = w.segments.reserve(visible + 1);
  bool failed = false;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int chunk = 0; chunk < threads; ++chunk) {
    try {
      emit_pairs(w, s, Ranks(visible, chunk, threads), w.scratch[chunk]);
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      failed = true;
    }
  }
  if (failed) throw std::bad_alloc();
  lay_out_tiles(w, threads);
  Entry* entries = w.entries.reserve(w.num_entries);

  // Distribute to the tiles; a pair's slot is its place in Gaussian order.
  std::vector<uint32_t> bases(threads, 0);
  for (int chunk = 1; chunk < threads; ++chunk)
    bases[chunk] = bases[chunk - 1] + static_cast<uint32_t>(w.scratch[chunk - 1].num_pairs);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int chunk = 0; chunk < threads; ++chunk) {
    Scratch& scratch = w.scratch[chunk];
    const Ranks ranks(visible, chunk, threads);
    for (uint32_t rank = ranks.begin; rank < ranks.end; ++rank) segments[rank] += bases[chunk];
    for (size_t i = 0; i < scratch.num_pairs; ++i) {
      const Pair& pair = scratch.pairs[i];
      entries[scratch.tile_counts[pair.tile]++] = {pair.gaussian, bases[chunk] + static_cast<uint32_t>(i),
                                                   pair.blocks};
    }
  }
}

}  // namespace isk
