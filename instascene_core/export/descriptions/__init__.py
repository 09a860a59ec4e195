"""Objects, and scenes of them, in the words of simulators: URDF, SDF, MJCF, USD."""
