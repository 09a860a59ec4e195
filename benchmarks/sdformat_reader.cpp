// What Gazebo's own parser, libsdformat, reads from SDF files: one line of JSON a model, its errors on
// stderr.
//
// `benchmarks.parsers` compiles and calls it where the library is installed (Debian: libsdformat-dev).

#include <cstdint>
#include <iostream>
#include <sdf/sdf.hh>

namespace {

// (`auto`: the namespace of these vectors has changed its name between versions)
template <class Vector>
void print_vector(const char* name, const Vector& v) {
  std::cout << ", \"" << name << "\": [" << v.X() << ", " << v.Y() << ", " << v.Z() << "]";
}

void print_model(const char* file, const sdf::Model& model) {
  for (std::uint64_t k = 0; k < model.LinkCount(); ++k) {
    const auto& inertial = model.LinkByIndex(k)->Inertial();
    const auto pose = model.RawPose();
    std::cout << "{\"file\": \"" << file << "\", \"model\": \"" << model.Name()
              << "\", \"mass\": " << inertial.MassMatrix().Mass();
    print_vector("center", inertial.Pose().Pos());
    print_vector("moments", inertial.MassMatrix().PrincipalMoments());
    print_vector("position", pose.Pos());
    std::cout << ", \"wxyz\": [" << pose.Rot().W() << ", " << pose.Rot().X() << ", " << pose.Rot().Y() << ", "
              << pose.Rot().Z() << "]}\n";
  }
}

}  // namespace

int main(int count, char** names) {
  std::cout.precision(12);
  for (int n = 1; n < count; ++n) {
    sdf::Root root;
    for (const sdf::Error& error : root.Load(names[n])) std::cerr << names[n] << ": " << error << "\n";
    if (root.Model() != nullptr) print_model(names[n], *root.Model());
    for (std::uint64_t w = 0; w < root.WorldCount(); ++w) {
      const sdf::World& world = *root.WorldByIndex(w);
      for (std::uint64_t m = 0; m < world.ModelCount(); ++m) print_model(names[n], *world.ModelByIndex(m));
    }
  }
}
