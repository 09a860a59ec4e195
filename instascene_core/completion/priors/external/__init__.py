"""Priors from elsewhere: public weights in a local folder, and other programs."""
