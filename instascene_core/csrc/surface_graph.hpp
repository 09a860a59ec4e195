// Questions to the graph of neighbouring Gaussians.
#pragma once

#include "kernel.h"

namespace isk {

void widest_levels(const isk_graph& graph, const float* values, int32_t seed, float floor, float* levels);
void enclose(const isk_graph& graph, const uint8_t* allowed, int32_t rounds, uint8_t* chosen);

}  // namespace isk
