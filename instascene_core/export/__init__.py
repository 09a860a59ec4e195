"""Files of completed objects: meshes, collision bodies, robot and simulator descriptions."""

from instascene_core.export.object_files import FORMATS, export_object

__all__ = ["FORMATS", "export_object"]
