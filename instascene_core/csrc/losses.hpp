// Losses with their gradients, and Adam; see kernel.h for their meaning.
#pragma once

#include <cstdint>

namespace isk {

double photometric(const float* image, const float* target, const uint8_t* valid, int width, int height,
                   int channels, float ssim_weight, int threads, float* gradient);
struct Geometry {  // a pinhole camera
  int width, height;
  double fx, fy, cx, cy;
  const float* world_from_camera;  // [12]
};
double normal_consistency(const Geometry& camera, const float* normal, const float* depth, const float* alpha,
                          float weight, int threads, float* g_normal, float* g_depth, float* g_alpha);
double robust_depth(int64_t pixels, const float* depth, const float* measured, const float* trust,
                    float tolerance, float weight, int threads, float* g_depth);
void adam(int64_t rows, int width, float* parameter, const float* gradient, float* mean, float* square,
          const uint8_t* chosen, float rate, float beta1, float beta2, float epsilon, float correction1,
          float correction2, int threads);

}  // namespace isk
