"""`instascene export`: files of a saved scene's objects, in any format and folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from instascene_core.errors import InputError
from instascene_core.instances import InstanceId
from instascene_core.terminal import console, progress_bars, warn

if TYPE_CHECKING:
    from instascene_core.config import ExportConfig
    from instascene_core.frame import Frame
    from instascene_core.objects import CompletedObject
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Export:
    """Write the completed objects of a saved scene, and the whole scene, in other formats; nothing is
    computed anew."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`."""
    formats: tuple[str, ...] = ("glb",)
    """Some of ply, glb, stl, obj, lods, collision, urdf, sdf, mjcf, usd. Of glb, urdf, sdf, mjcf, usd there
    is a file of the whole scene, too."""
    instance: tuple[int, ...] = ()
    """Ids of the objects; all where none is given."""
    to: Path | None = None
    """Folder to write to, one folder an object and the folder `scene`, each new, empty or of an earlier
    export; the scene's own objects/<id> where not given."""
    mesh_uri: str | None = None
    """How URDF and SDF name meshes: relative, file://, model:// or package://NAME; the scene's setting where
    not given."""
    physics: Path | None = None
    """YAML with masses, densities and frictions that are known (docs/files.md)."""
    support: Path | None = None
    """Also write the support plane there (.glb, .ply, .stl): a closed slab for a simulator, without the
    things on it and without the holes that they left."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.export.known_physics import objects_elsewhere
        from instascene_core.export.object_files import require_formats
        from instascene_core.export.object_loading import load_objects
        from instascene_core.export.saved_scene import export_elsewhere, export_saved, saved_export_config
        from instascene_core.export.support_file import export_support
        from instascene_core.saved_facts import DecomposedFacts, read_scene_facts

        if not self.formats:
            raise InputError("--formats is empty; name one or more, glb for example.")
        if self.support is not None:
            export_support(self.output, self.support)
            console.print(f"support: {self.support}", highlight=False)
        saved = load_objects(self.output)
        missing = sorted(set(self.instance) - set(saved))
        if missing:
            known = ", ".join(map(str, saved))
            raise InputError(f"There is no completed object {missing[0]}; known ids: {known}.")
        config = self._config(saved_export_config(self.output))
        require_formats(config)
        entries = read_scene_facts(self.output, DecomposedFacts)["instances"]["list"]
        if sentence := objects_elsewhere(config.physics.file, [entry["id"] for entry in entries]):
            warn(sentence)
        objects = [saved[number] for number in [InstanceId(i) for i in self.instance] or saved]
        frames = self._frames(objects, config)
        if self.to is None:
            export_saved(self.output, objects, config, frames)
        else:
            export_elsewhere(self.output, objects, self.to, config, frames)
        folder = self.to or self.output / "objects"
        folders = {int(thing.instance_id): folder / str(thing.instance_id) for thing in objects}
        for number, place in folders.items():
            console.print(f"object {number}: {place}", highlight=False)
        return Answer(
            {"folder": folder, "formats": config.formats, "objects": folders, "support": self.support}
        )

    def _config(self, saved: "ExportConfig") -> "ExportConfig":
        config = saved.of_formats(self.formats)
        if self.mesh_uri is not None:
            config = replace(config, mesh_uri=self.mesh_uri)
        if self.physics is not None:
            config = replace(config, physics=replace(config.physics, file=str(self.physics)))
        return config

    def _frames(self, objects: "Sequence[CompletedObject]", config: "ExportConfig") -> "Sequence[Frame]":
        """The scene's input frames, where a format wants a texture that an object does not have yet."""
        from instascene_core.export.object_files import COLORED
        from instascene_core.export.saved_scene import load_scene

        wanted = config.texture.enabled and COLORED.intersection(config.formats)
        if not wanted or all(thing.texture is not None for thing in objects):
            return ()
        with progress_bars() as progress:
            loaded = load_scene(self.output, progress=progress)
        frames = [view for view in loaded.scene.state.labelled_views if view.name in loaded.names_found]
        if not frames:
            warn("the scene's input frames are not there any more: its files get the colours of vertices")
        return frames
