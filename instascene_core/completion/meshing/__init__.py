"""From signed distances to a closed, coloured mesh."""
