"""What objects hid of the planes that bound a scene, painted and covered (InstaScene, supplementary 6)."""
