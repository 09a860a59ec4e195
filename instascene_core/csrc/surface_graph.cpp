// What a click asks of the surface: at which threshold each Gaussian is connected to the clicked one, and
// what a segment encloses.  Only the part of the graph that the answer touches is walked.
#include "surface_graph.hpp"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>
#include <vector>

namespace isk {

// Prim's walk over the maximum spanning tree, always along the widest of the known ways: the level of a node
// is the smallest value on the way to it.  Nodes below `floor` are walls.
void widest_levels(const isk_graph& graph, const float* values, int32_t seed, float floor, float* levels) {
  std::fill(levels, levels + graph.nodes, -std::numeric_limits<float>::infinity());
  std::vector<bool> done(graph.nodes, false);
  std::priority_queue<std::pair<float, int32_t>> known;  // (level, node), widest first
  float highest = std::max(1.0f, values[seed]);
  known.emplace(std::numeric_limits<float>::infinity(), seed);
  while (!known.empty()) {
    const auto [level, node] = known.top();
    known.pop();
    if (done[node]) continue;
    done[node] = true;
    levels[node] = level;
    if (node != seed) highest = std::max(highest, values[node]);
    for (int64_t k = graph.begin[node]; k < graph.begin[node + 1]; ++k) {
      const int32_t next = graph.neighbours[k];
      if (done[next] || !(values[next] >= floor)) continue;
      const float reached = std::min(level, values[next]);
      if (reached > levels[next]) {  // a narrower way than one that is known already leads nowhere
        levels[next] = reached;
        known.emplace(reached, next);
      }
    }
  }
  levels[seed] = highest;  // connected at every threshold
}

// Rounds in which those are added most of whose allowed neighbours are chosen.
void enclose(const isk_graph& graph, const uint8_t* allowed, int32_t rounds, uint8_t* chosen) {
  std::vector<int32_t> around(graph.nodes, 0), added, touched;
  for (int32_t node = 0; node < graph.nodes; ++node)
    if (chosen[node]) added.push_back(node);
  for (int32_t round = 0; round < rounds && !added.empty(); ++round) {
    touched.clear();
    for (const int32_t node : added)
      for (int64_t k = graph.begin[node]; k < graph.begin[node + 1]; ++k) {
        ++around[graph.neighbours[k]];
        touched.push_back(graph.neighbours[k]);
      }
    added.clear();
    for (const int32_t node : touched) {
      if (chosen[node] || !allowed[node]) continue;
      int32_t degree = 0;
      for (int64_t k = graph.begin[node]; k < graph.begin[node + 1]; ++k)
        degree += allowed[graph.neighbours[k]] != 0;
      if (2 * around[node] > degree) {
        chosen[node] = 1;
        added.push_back(node);
      }
    }
  }
}

}  // namespace isk
