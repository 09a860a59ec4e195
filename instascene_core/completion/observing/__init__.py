"""What the views say about one instance: points, fused volume, neighbours."""
