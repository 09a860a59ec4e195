"""Training of the network that brings borders of labels to where things end in the image."""
