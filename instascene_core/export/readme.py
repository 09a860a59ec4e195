"""objects/README of a saved scene: which frame its files are in, in words beside the files."""

README = """\
One folder an object, named by its instance id.

Frame. Every file of an object (mesh.*, collision/*, object.*, model.*) is in the object's own frame:
the origin is the centre of the bottom of its bounding box, z points up (against gravity), lengths are
metres. The box is the smallest upright one; x is along its longer horizontal side.

Pose. object.json tells where the object stood: position_m and orientation_wxyz take points of the
object's frame to the world, the frame of the input's camera poses. That is, in Python,

    world_point = rotation(orientation_wxyz) @ object_point + position_m
"""
