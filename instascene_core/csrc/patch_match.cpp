// Depth from posed images by slanted patches: PatchMatch stereo (Bleyer et al. 2011) over several views.
//
// Each pixel keeps a plane, as inverse depth there and its slopes per pixel: a plane's inverse depth is
// affine in the pixel, so a tap of the window needs three multiply-adds for its place in another view.  An
// iteration tries the planes of the best pixels around and some drawn near the own one, all pixels at once:
// each reads what the iteration before has left, so that the result depends on no order and no number of
// threads.
#include "patch_match.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.hpp"

namespace isk {

namespace {

constexpr int RADIUS = 2, MAX_SOURCES = 8;
// The window: every other pixel of 5 × 5, as on a chessboard.  All 25 take half as long again and are hardly
// more exact.
constexpr int TAPS = 13;
constexpr int TAP_X[TAPS] = {-2, 0, 2, -1, 1, -2, 0, 2, -1, 1, -2, 0, 2};
constexpr int TAP_Y[TAPS] = {-2, -2, -2, -1, -1, 0, 0, 0, 1, 1, 2, 2, 2};
constexpr int REACH[] = {1, 3, 5, 9};  // pixels away, in one direction: where a better plane is looked for
constexpr float NEUTRAL = 1.0f;        // cost where nothing can be compared
constexpr float STEPS = 128.0f;        // of a grey level, in a source as it is held
constexpr uint64_t OUTSIDE = 0xFFFF;   // where a source shows nothing: beyond 255 · STEPS

struct Plane {
  F w, du, dv;  // inverse depth at the pixel, and its slope per pixel right and down
};

// Another view: per pixel its grey value and those right of it, below and diagonally below, 16 bits each, so
// that bilinear interpolation takes one load.  Where one of the four shows nothing, all four say so.
std::vector<uint64_t> quads_of(const isk_stereo_source& source) {
  const int width = source.width, height = source.height;
  std::vector<uint64_t> quads(static_cast<size_t>(width) * height), values(quads.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const float grey = source.image[i];
    values[i] = grey < 0.0f ? OUTSIDE : static_cast<uint64_t>(std::min(grey, 255.0f) * STEPS + 0.5f);
  }
  for (int y = 0; y < height; ++y) {
    const uint64_t* row = values.data() + static_cast<size_t>(y) * width;
    const uint64_t* below = y + 1 < height ? row + width : row;
    for (int x = 0; x < width; ++x) {
      const int right = std::min(x + 1, width - 1);
      const uint64_t a = row[x], b = row[right], c = below[x], d = below[right];
      const bool shown = std::max({a, b, c, d}) != OUTSIDE;
      quads[static_cast<size_t>(y) * width + x] = shown ? a | b << 16 | c << 32 | d << 48 : ~uint64_t{0};
    }
  }
  return quads;
}

// The reference, padded by repeating its border, and what its pixels hold.
class Matcher {
 public:
  Matcher(const isk_stereo& s, float* planes, float* costs)
      : s_(s), planes_(planes), costs_(costs), pad_(RADIUS * s.spacing) {
    pixels_ = static_cast<size_t>(s.width) * s.height;
    stride_ = s.width + 2 * pad_ + L;
    padded_.resize(static_cast<size_t>(stride_) * (s.height + 2 * pad_));
    for (int y = -pad_; y < s.height + pad_; ++y)
      for (int x = -pad_; x < s.width + pad_ + L; ++x)
        padded_[static_cast<size_t>(y + pad_) * stride_ + x + pad_] =
            s.image[static_cast<size_t>(std::clamp(y, 0, s.height - 1)) * s.width +
                    std::clamp(x, 0, s.width - 1)];
    before_.resize(4 * pixels_);
    for (int k = 0; k < s.num_sources; ++k) quads_.push_back(quads_of(s.sources[k]));
  }

  void run() {
    each_block([&](int x, int y) {
      const Window window(*this, x, y);
      const Plane plane = held(x, y, planes_);
      write(x, y, plane, cost(window, x, y, plane));
    });
    for (int iteration = 0; iteration < s_.iterations; ++iteration) {
      std::copy(planes_, planes_ + 3 * pixels_, before_.begin());
      std::copy(costs_, costs_ + pixels_, before_.begin() + 3 * pixels_);
      each_block([&](int x, int y) { improve(x, y, iteration); });
    }
  }

 private:
  // What all comparisons of L neighbouring pixels share.
  struct Window {
    F grey[TAPS], weight[TAPS];
    F sum, mean, variance;  // of the weights; of the grey values
    Window(const Matcher& m, int x, int y) {
      const F center = load(m.at(x, y)), falloff(-1.0f / m.s_.grey_sigma);
      sum = F(0.0f);
      F first(0.0f), second(0.0f);
      for (int t = 0; t < TAPS; ++t) {
        const int dx = TAP_X[t] * m.s_.spacing, dy = TAP_Y[t] * m.s_.spacing;
        grey[t] = load(m.at(x + dx, y + dy));
        const F off = grey[t] - center;
        weight[t] = exp(max(max(off, -off) * falloff, F(-30.0f)));
        sum += weight[t];
        first = fma(weight[t], grey[t], first);
        second = fma(weight[t] * grey[t], grey[t], second);
      }
      mean = first / sum;
      variance = second / sum - mean * mean;
    }
  };

  const float* at(int x, int y) const {
    return padded_.data() + static_cast<size_t>(y + pad_) * stride_ + x + pad_;
  }

  // Columns x … x + L − 1 of row y; those past the image repeat its last one.
  F columns(int x) const {
    alignas(64) float tmp[L];
    for (int lane = 0; lane < L; ++lane) tmp[lane] = static_cast<float>(std::min(x + lane, s_.width - 1));
    return load(tmp);
  }

  Plane planes_at(F index, const float* planes) const {
    return {gather(planes, index), gather(planes + pixels_, index), gather(planes + 2 * pixels_, index)};
  }
  Plane held(int x, int y, const float* planes) const {
    return planes_at(columns(x) + F(static_cast<float>(y * s_.width)), planes);
  }

  void write(int x, int y, const Plane& plane, F cost) {
    alignas(64) float tmp[4][L];
    store(tmp[0], plane.w), store(tmp[1], plane.du), store(tmp[2], plane.dv), store(tmp[3], cost);
    const int lanes = std::min(L, s_.width - x);
    const size_t to = static_cast<size_t>(y) * s_.width + x;
    for (int k = 0; k < 3; ++k) std::copy_n(tmp[k], lanes, planes_ + k * pixels_ + to);
    std::copy_n(tmp[3], lanes, costs_ + to);
  }

  template <typename Body>
  void each_block(const Body& body) {
#pragma omp parallel for schedule(dynamic, 4) num_threads(s_.num_threads)
    for (int y = 0; y < s_.height; ++y)
      for (int x = 0; x < s_.width; x += L) body(x, y);
  }

  // 1 − NCC of the patch in one other view.
  F compare(const Window& window, int which, F u, F v, const Plane& plane) const {
    const isk_stereo_source& source = s_.sources[which];
    const uint64_t* quads = quads_[which].data();
    const double* m = source.from_pixel;
    F first(0.0f), second(0.0f), mixed(0.0f), most(0.0f);
    // Pixels of the source, homogeneous, at the patch's middle and per pixel right and down.
    F base[3], right[3], down[3];
    for (int k = 0; k < 3; ++k) {
      const F b(m[4 * k + 3]);
      base[k] = fma(F(m[4 * k]), u, fma(F(m[4 * k + 1]), v, fma(b, plane.w, F(m[4 * k + 2]))));
      right[k] = fma(b, plane.du, F(m[4 * k]));
      down[k] = fma(b, plane.dv, F(m[4 * k + 1]));
    }
    const F last_x(static_cast<float>(source.width - 1)), last_y(static_cast<float>(source.height - 1));
    const F per_row(static_cast<float>(source.width)), zero(0.0f);
    Mask inside = all_lanes();
    for (int t = 0; t < TAPS; ++t) {
      const F dx(static_cast<float>(TAP_X[t] * s_.spacing));
      const F dy(static_cast<float>(TAP_Y[t] * s_.spacing));
      const F z = fma(right[2], dx, fma(down[2], dy, base[2]));
      const F inverse = F(1.0f) / z, half(-0.5f);
      const F x = fma(fma(right[0], dx, fma(down[0], dy, base[0])), inverse, half);
      const F y = fma(fma(right[1], dx, fma(down[1], dy, base[1])), inverse, half);
      // Lanes that lie outside are not counted; they only must not read outside.
      const F cx = min(max(x, zero), last_x), cy = min(max(y, zero), last_y);
      inside = inside & (z > F(1e-6f)) & (x == cx) & (y == cy);
      const F grey = bilinear(quads, per_row, cx, cy);
      most = max(most, grey);
      const F weighted = window.weight[t] * grey;
      first += weighted;
      second = fma(weighted, grey, second);
      mixed = fma(weighted, window.grey[t], mixed);
    }
    const F share = F(1.0f) / window.sum, mean = first * share, floor(s_.least_variance);
    const F variance = max(second * share - mean * mean, floor);
    const F covariance = mixed * share - mean * window.mean;
    const F score = F(1.0f) - covariance / sqrt(variance * max(window.variance, floor));
    const Mask compared = inside & (most < F(256.0f)) & (window.variance >= floor);
    return select(compared, score, F(NEUTRAL));
  }

  static F bilinear(const uint64_t* quads, F per_row, F x, F y) {
    const F left = floor(x), top = floor(y), fx = x - left, fy = y - top;
    F q[4];
    gather_quads(quads, fma(top, per_row, left), q);
    const F upper = fma(fx, q[1] - q[0], q[0]), lower = fma(fx, q[3] - q[2], q[2]);
    return fma(fy, lower - upper, upper) * F(1.0f / STEPS);
  }

  // Mean over the two views that agree best (the others may be hidden), or the best of two.
  F cost(const Window& window, int x, int y, const Plane& plane) const {
    const F u = columns(x) + F(0.5f), v(static_cast<float>(y) + 0.5f);
    F best(2.0f), second(2.0f);
    for (int k = 0; k < s_.num_sources; ++k) {
      const F score = compare(window, k, u, v, plane);
      second = min(second, max(best, score));
      best = min(best, score);
    }
    return s_.num_sources > 2 ? F(0.5f) * (best + second) : best;
  }

  // Whether the planes lie in the swept range and face the camera.
  Mask possible(const Plane& plane, F u, F v) const {
    const F a = plane.du * F(s_.fx), b = plane.dv * F(s_.fy);
    const F rx = (u - F(s_.cx)) / F(s_.fx), ry = (v - F(s_.cy)) / F(s_.fy);
    const F c = plane.w - a * rx - b * ry, ray = fma(rx, rx, fma(ry, ry, F(1.0f)));
    const F normal = fma(a, a, fma(b, b, c * c)), least(s_.least_cosine * s_.least_cosine);
    return (plane.w >= F(s_.farthest)) & (plane.w <= F(s_.nearest)) &
           (plane.w * plane.w >= least * normal * ray);
  }

  void improve(int x, int y, int iteration) {
    const Window window(*this, x, y);
    const float* planes = before_.data();
    Plane best = held(x, y, planes);
    F least = gather(planes + 3 * pixels_, columns(x) + F(static_cast<float>(y * s_.width)));
    const F u = columns(x) + F(0.5f), v(static_cast<float>(y) + 0.5f);
    const auto attempt = [&](const Plane& plane) {
      const Mask worth = possible(plane, u, v);
      if (!any(worth)) return;
      const F found = cost(window, x, y, plane);
      const Mask better = worth & (found < least - F(1e-5f));
      least = select(better, found, least);
      best = {select(better, plane.w, best.w), select(better, plane.du, best.du),
              select(better, plane.dv, best.dv)};
    };
    const int diagonal = iteration % 2;
    for (int side = 0; side < 4; ++side) {
      const int sx = diagonal ? (side % 2 ? 1 : -1) : (side < 2 ? 2 * side - 1 : 0);
      const int sy = diagonal ? (side / 2 ? 1 : -1) : (side < 2 ? 0 : 2 * side - 5);
      attempt(best_towards(x, y, sx, sy));
    }
    // Drawn near the best so far, nearer from iteration to iteration.
    const float spread = std::ldexp(1.0f, -iteration);
    for (int k = 0; k < 3; ++k) {
      const F depth = k == 1 ? F(0.0f) : draw(x, y, iteration, 3 * k) * F(s_.draw_depth * spread);
      const F tilt(k == 0 ? 0.0f : s_.draw_tilt * spread);
      const F slope_u = draw(x, y, iteration, 3 * k + 1) * tilt * best.w / F(s_.fx);
      const F slope_v = draw(x, y, iteration, 3 * k + 2) * tilt * best.w / F(s_.fy);
      attempt({fma(best.w, depth, best.w), best.du + slope_u, best.dv + slope_v});
    }
    write(x, y, best, least);
  }

  // The plane of the pixel with the least cost some way along (sx, sy), carried on to here.
  Plane best_towards(int x, int y, int sx, int sy) const {
    const float* costs = before_.data() + 3 * pixels_;
    const F column = columns(x), zero(0.0f), last(static_cast<float>(s_.width - 1));
    F least(1e9f), at = column + F(static_cast<float>(y * s_.width)), dx(0.0f), dy(0.0f);
    for (int reach : REACH) {
      const int row = std::clamp(y + sy * reach, 0, s_.height - 1);
      const F there = min(max(column + F(static_cast<float>(sx * reach)), zero), last);
      const F index = there + F(static_cast<float>(row * s_.width));
      const F found = gather(costs, index);
      const Mask better = found < least;
      least = select(better, found, least);
      at = select(better, index, at);
      dx = select(better, column - there, dx);
      dy = select(better, F(static_cast<float>(y - row)), dy);
    }
    Plane plane = planes_at(at, before_.data());
    plane.w = fma(plane.du, dx, fma(plane.dv, dy, plane.w));
    return plane;
  }

  // Evenly in [−1, 1), by the pixel, the iteration and the number of the draw alone.
  F draw(int x, int y, int iteration, int which) const {
    alignas(64) float tmp[L];
    for (int lane = 0; lane < L; ++lane) {
      uint32_t h = static_cast<uint32_t>(x + lane) * 0x9E3779B1u ^ static_cast<uint32_t>(y) * 0x85EBCA77u ^
                   static_cast<uint32_t>(16 * iteration + which) * 0xC2B2AE3Du ^ s_.seed;
      h ^= h >> 15, h *= 0x2C1B3C6Du, h ^= h >> 12, h *= 0x297A2D39u, h ^= h >> 15;
      tmp[lane] = static_cast<float>(h >> 8) * (2.0f / 16777216.0f) - 1.0f;
    }
    return load(tmp);
  }

  const isk_stereo& s_;
  float *planes_, *costs_;
  int pad_, stride_;
  size_t pixels_;
  std::vector<float> padded_, before_;
  std::vector<std::vector<uint64_t>> quads_;  // of each source
};

}  // namespace

void patch_match(const isk_stereo& stereo, float* planes, float* costs) {
  Matcher(stereo, planes, costs).run();
}

}  // namespace isk
