"""The paper in order: what owns, edits and restores the results of a scene."""
