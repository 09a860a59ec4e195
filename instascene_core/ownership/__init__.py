"""Which instance does a pixel belong to?  All rules that decide it, in the order in which they apply.

The pixels of a frame get their owner three times, each time with more knowledge than before:

1. `by_masks`: what the masks say.  Association has found out which masks show the same object, and writes
   that back into the label images: `labels_of_masks`.  A pixel of a mask belongs to the mask's cluster; a
   pixel of a mask that was dropped belongs to nobody.  The scene then gives what no mask covers to the
   support or the background, where their Gaussians show: `add_structure`.  The feature field is trained on
   these images.
2. `by_gaussians`: what the Gaussians, the colour and the depth say.  The scene calls `label_pixels` when
   every Gaussian has its instance, with what the frame measured (`evidence_of`): a pixel belongs to the
   instance whose Gaussians explain best what the camera saw there.  Its results are the label images of the
   `InstanceMap`, which every later step and every reader outside gets.
3. `by_surface`: surface without a label that belongs to an instance all the same.  Completion calls
   `adopt_surface` for the one instance whose mesh it makes, because a rim that the labels miss would be
   missing in the mesh.  Only that instance sees the result; the label images stay as they are.

The rules lie below the steps that call them, because the steps do not import one another.  Each is imported
from its own module: completion needs no renderer.
"""
