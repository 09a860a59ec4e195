// (1 − w)·L1 + w·(1 − SSIM) and its gradient in one pass over the image.
//
// SSIM (Wang et al. 2004): 11 × 11 Gaussian window, σ = 1.5, zeros outside the image.  Rows stream through:
// windowed means along x of a row → ring of 11 rows → along y → SSIM and its derivatives by the means, which
// take the same way back (a symmetric window is its own adjoint).  Bands of rows are independent.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "lanes.hpp"
#include "losses.hpp"
#include "workspace.hpp"

namespace isk {

namespace {

constexpr int RADIUS = 5, TAPS = 2 * RADIUS + 1, BAND = 40;
constexpr float C1 = 0.01f * 0.01f, C2 = 0.03f * 0.03f;

struct Window {
  float k[TAPS];
  Window() {
    double sum = 0;
    for (int i = 0; i < TAPS; ++i) sum += std::exp(-0.5 * (i - RADIUS) * (i - RADIUS) / (1.5 * 1.5));
    for (int i = 0; i < TAPS; ++i)
      k[i] = static_cast<float>(std::exp(-0.5 * (i - RADIUS) * (i - RADIUS) / (1.5 * 1.5)) / sum);
  }
};
const Window WINDOW;

// Rows of one band.  A row has `width` values (W·C), padded on both sides so that windows need no bounds.
class Band {
 public:
  Band(int width, int channels)
      : width_(width),
        channels_(channels),
        pad_(RADIUS * channels),
        stride_((width + 2 * pad_ + 2 * L + 15) / 16 * 16) {
    const size_t rows = 8 + 5 * TAPS + 3 * TAPS;
    float* data = storage_.reserve(rows * stride_);
    std::fill(data, data + rows * stride_, 0.0f);
  }
  float* padded(int k) { return storage_.data() + static_cast<size_t>(k) * stride_; }  // k < 8
  float* ring5(int row, int k) { return padded(8 + (row % TAPS) * 5 + k); }
  float* ring3(int row, int k) { return padded(8 + 5 * TAPS + (row % TAPS) * 3 + k); }
  int pad() const { return pad_; }

  // Windowed mean along x of padded row k into `out`.
  void along_x(int k, float* out) {
    const float* in = padded(k);
    for (int i = 0; i < width_; i += L) {
      F sum(0.0f);
      for (int t = 0; t < TAPS; ++t) sum = fma(load(in + i + t * channels_), F(WINDOW.k[t]), sum);
      store(out + i, sum);
    }
  }

 private:
  int width_, channels_, pad_, stride_;
  Buffer<float> storage_;
};

struct Photometric {
  const float *image, *target;
  const uint8_t* valid;  // [H, W] or NULL
  int width, height, channels;
  float ssim_weight, scale;  // scale: 1 / counted values
  float* gradient;           // [H, W, C], overwritten; or NULL
  double* sums;              // [H, 2] Σ |x − y|, Σ ssim of the counted pixels
};

// 1 where the row's value counts, 0 elsewhere.
F weights_of(const Photometric& p, int row, int i) {
  alignas(64) float tmp[L];
  const int width = p.width * p.channels;
  if (!p.valid && i + L <= width) return F(1.0f);
  for (int lane = 0; lane < L; ++lane) {
    const int at = i + lane;
    tmp[lane] = at < width && (!p.valid || p.valid[static_cast<size_t>(row) * p.width + at / p.channels])
                    ? 1.0f
                    : 0.0f;
  }
  return load(tmp);
}

// Means along x of x, y, x², y², xy of one row; zeros outside the image.
void first_means(const Photometric& p, Band& band, int row) {
  const int width = p.width * p.channels, pad = band.pad();
  if (row < 0 || row >= p.height) {
    for (int k = 0; k < 5; ++k)
      std::fill(band.ring5(row + TAPS, k), band.ring5(row + TAPS, k) + width + L, 0.0f);
    return;
  }
  const float *x = p.image + static_cast<size_t>(row) * width,
              *y = p.target + static_cast<size_t>(row) * width;
  float* rows[5];
  for (int k = 0; k < 5; ++k) rows[k] = band.padded(k) + pad;
  for (int i = 0; i < width; ++i) {
    rows[0][i] = x[i];
    rows[1][i] = y[i];
    rows[2][i] = x[i] * x[i];
    rows[3][i] = y[i] * y[i];
    rows[4][i] = x[i] * y[i];
  }
  for (int k = 0; k < 5; ++k) band.along_x(k, band.ring5(row + TAPS, k));
}

// Means along y → SSIM of the row and, means along x of its derivatives by mean x, mean x², mean xy.
void similarity(const Photometric& p, Band& band, int row, bool counted) {
  const int width = p.width * p.channels, pad = band.pad();
  if (row < 0 || row >= p.height) {
    for (int k = 0; k < 3; ++k)
      std::fill(band.ring3(row + TAPS, k), band.ring3(row + TAPS, k) + width + L, 0.0f);
    return;
  }
  const float* ring[TAPS][5];
  for (int t = 0; t < TAPS; ++t)
    for (int k = 0; k < 5; ++k) ring[t][k] = band.ring5(row - RADIUS + t + TAPS, k);
  F total(0.0f);
  for (int i = 0; i < width; i += L) {
    F mean[5];
    for (int k = 0; k < 5; ++k) {
      mean[k] = F(0.0f);
      for (int t = 0; t < TAPS; ++t) mean[k] = fma(load(ring[t][k] + i), F(WINDOW.k[t]), mean[k]);
    }
    const F mx = mean[0], my = mean[1], two(2.0f);
    const F var_x = mean[2] - mx * mx, var_y = mean[3] - my * my, cov = mean[4] - mx * my;
    const F a1 = fma(two * mx, my, F(C1)), a2 = fma(two, cov, F(C2));
    const F b1 = fma(mx, mx, fma(my, my, F(C1))), b2 = var_x + var_y + F(C2);
    const F inverse = F(1.0f) / (b1 * b2), ssim = a1 * a2 * inverse;
    const F weight = weights_of(p, row, i);
    total = fma(ssim, weight, total);
    const F g = weight * F(-p.ssim_weight * p.scale);  // dL/d ssim
    const F g_cov = g * two * a1 * inverse, g_var = -(g * ssim) / b2;
    // mean x enters directly, and through var x = mean x² − mean², cov = mean xy − mean x · mean y.
    const F g_mean = g * two * (my * a2 * inverse - mx * ssim / b1) - g_var * two * mx - g_cov * my;
    const Mask inside = weight >= F(0.0f);
    alignas(64) float tmp[3][L];
    store(tmp[0], zero_unless(inside, g_mean));
    store(tmp[1], zero_unless(inside, g_var));
    store(tmp[2], zero_unless(inside, g_cov));
    const int lanes = std::min(L, width - i);
    for (int k = 0; k < 3; ++k) std::memcpy(band.padded(5 + k) + pad + i, tmp[k], lanes * sizeof(float));
  }
  if (counted) {
    alignas(64) float lanes[L];
    store(lanes, total);
    double sum = 0;
    for (float lane : lanes) sum += lane;
    p.sums[2 * row + 1] = sum;
  }
  if (p.gradient)
    for (int k = 0; k < 3; ++k) band.along_x(5 + k, band.ring3(row + TAPS, k));
}

// Means along y of the derivatives, and L1: the gradient of one row.
void finish(const Photometric& p, Band& band, int row) {
  const int width = p.width * p.channels;
  const float* ring[TAPS][3];
  for (int t = 0; t < TAPS; ++t)
    for (int k = 0; k < 3; ++k) ring[t][k] = band.ring3(row - RADIUS + t + TAPS, k);
  const size_t base = static_cast<size_t>(row) * width;
  F total(0.0f);
  for (int i = 0; i < width; i += L) {
    alignas(64) float tx[L] = {}, ty[L] = {};
    const int lanes = std::min(L, width - i);
    std::memcpy(tx, p.image + base + i, lanes * sizeof(float));
    std::memcpy(ty, p.target + base + i, lanes * sizeof(float));
    const F x = load(tx), y = load(ty), zero(0.0f), difference = x - y, weight = weights_of(p, row, i);
    total = fma(max(difference, -difference), weight, total);
    if (!p.gradient) continue;
    F mean[3];
    for (int k = 0; k < 3; ++k) {
      mean[k] = zero;
      for (int t = 0; t < TAPS; ++t) mean[k] = fma(load(ring[t][k] + i), F(WINDOW.k[t]), mean[k]);
    }
    const F sign = select(difference > zero, F(1.0f), select(difference < zero, F(-1.0f), zero));
    F g = sign * weight * F((1.0f - p.ssim_weight) * p.scale);
    g += mean[0] + F(2.0f) * x * mean[1] + y * mean[2];
    store(tx, g);
    std::memcpy(p.gradient + base + i, tx, lanes * sizeof(float));
  }
  alignas(64) float lanes[L];
  store(lanes, total);
  double sum = 0;
  for (float lane : lanes) sum += lane;
  p.sums[2 * row] = sum;
}

}  // namespace

double photometric(const float* image, const float* target, const uint8_t* valid, int width, int height,
                   int channels, float ssim_weight, int threads, float* gradient) {
  const int64_t pixels = static_cast<int64_t>(width) * height;
  int64_t counted = pixels;
  if (valid) {
    counted = 0;
    for (int64_t i = 0; i < pixels; ++i) counted += valid[i] != 0;
  }
  const double values = static_cast<double>(std::max<int64_t>(counted, 1)) * channels;
  std::vector<double> sums(static_cast<size_t>(height) * 2);
  const Photometric p{image,    target,     valid,       width,
                      height,   channels,   ssim_weight, static_cast<float>(1.0 / values),
                      gradient, sums.data()};
  const int bands = (height + BAND - 1) / BAND;
  bool failed = false;
#pragma omp parallel num_threads(threads)
  {
    try {
      Band band(width * channels, channels);
#pragma omp for schedule(dynamic, 1)
      for (int b = 0; b < bands; ++b) {
        const int begin = b * BAND, end = std::min(height, begin + BAND);
        for (int row = begin - 2 * RADIUS; row < end + 2 * RADIUS; ++row) {
          first_means(p, band, row);
          const int middle = row - RADIUS, last = row - 2 * RADIUS;
          if (middle >= begin - RADIUS) similarity(p, band, middle, middle >= begin && middle < end);
          if (last >= begin) finish(p, band, last);
        }
      }
    } catch (const std::bad_alloc&) {
#pragma omp atomic write
      failed = true;
    }
  }
  if (failed) throw std::bad_alloc();
  double l1 = 0, ssim = 0;
  for (int row = 0; row < height; ++row) {
    l1 += sums[2 * row];
    ssim += sums[2 * row + 1];
  }
  return ((1.0 - ssim_weight) * l1 + ssim_weight * (static_cast<double>(counted) * channels - ssim)) / values;
}

}  // namespace isk
