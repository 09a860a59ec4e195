"""A completed object: the closed mesh a planner and a simulator take."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.instances import InstanceId
from instascene_core.local_frame import moved
from instascene_core.transforms import apply


@dataclass(frozen=True)
class Texture:
    """The colours of a mesh as one image."""

    image: np.ndarray  # [S, S, 3] uint8 sRGB, first row at the top; S is a power of two
    # [U, 2] float32 in [0, 1], from the image's lower left corner; a vertex on a seam has one a chart
    uv: np.ndarray
    triangles: np.ndarray  # [F, 3] int32 of `uv`: the corners of the mesh's triangles, in their order
    texel: float  # metres
    observed: float  # share of the texels on the surface whose colour cameras saw

    def at(self, triangle: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        """[N, 3] float64 colours (0 … 255), bilinear, at places of triangles [N], barycentric [N, 3]."""
        size = len(self.image)
        corners = self.uv[self.triangles[triangle]].astype(np.float64)
        u, v = np.einsum("nk,nkc->cn", barycentric, corners)
        column, row = size * u - 0.5, size * (1 - v) - 0.5
        x, y = (np.clip(np.floor(c), 0, size - 2).astype(np.int64) for c in (column, row))
        u, v = np.clip(column - x, 0, 1)[:, None], np.clip(row - y, 0, 1)[:, None]
        four = (self.image[y + j, x + i].astype(np.float64) for j in (0, 1) for i in (0, 1))
        a, b, c, d = four
        return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)


@dataclass(frozen=True)
class CompletedObject:
    """One instance with its unseen parts filled in; everything in the scene's frame, metres.

    That is the world frame, but for worlds far from the origin: there it is a local frame, and adding
    `world_offset` gives the world's coordinates.
    """

    instance_id: InstanceId
    mesh: TriangleMesh
    colors: np.ndarray  # [V, 3] uint8
    observed: np.ndarray  # [V] float32, 0 = generated … 1 = observed
    vertex_uncertainty: (
        np.ndarray
    )  # [V] float32, metres: spread between samples, or a single one's expected error
    world_from_object: np.ndarray  # [4, 4] float64: origin at the bottom centre of the box, z up
    dimensions: np.ndarray  # [3] metres, box in the object frame
    watertight: bool
    volume: float  # m³
    observed_fraction: float  # share of the surface that was observed
    uncertainty: float  # metres, mean over the surface of `vertex_uncertainty`
    # [0, 1]: probability that it is a good one, that is, overlaps a true object by at least 0.7 of their
    # joint volume (IoU); a false object is none
    confidence: float
    prior: str  # which prior made it, and its licence
    duration_s: float
    convex_parts: tuple[TriangleMesh, ...] = ()
    hypotheses: tuple[TriangleMesh, ...] = ()  # other closed bodies that agree with what was seen
    # [4, 4] world_from_camera, optical axes, looking at the object; None where no view shows more of it
    next_best_view: np.ndarray | None = None
    next_view_reveals: float = 0.0  # share of the generated surface that it would show
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())  # one sentence each: what the caller should know
    world_offset: np.ndarray = field(default_factory=lambda: np.zeros(3))  # [3] float64 metres
    # What the confidence is judged by, by name (`completion.confidence.evidence`); empty where not known
    evidence: Mapping[str, float] = field(default_factory=dict)
    texture: Texture | None = None  # of `mesh`; None where only the vertices have colours

    def moved_by(self, motion: np.ndarray) -> "CompletedObject":
        """The same after a rigid motion [4, 4] in the scene's frame: now = motion · before.

        The next best view is of the place where it was, and leaves.
        """

        def moved_mesh(mesh: TriangleMesh) -> TriangleMesh:
            return TriangleMesh(apply(motion, mesh.vertices), mesh.triangles)

        return replace(
            self,
            mesh=moved_mesh(self.mesh),
            world_from_object=motion @ self.world_from_object,
            convex_parts=tuple(map(moved_mesh, self.convex_parts)),
            hypotheses=tuple(map(moved_mesh, self.hypotheses)),
            next_best_view=None,
            next_view_reveals=0.0,
        )

    def with_mesh(
        self, mesh: TriangleMesh, convex_parts: tuple[TriangleMesh, ...], shift: np.ndarray
    ) -> "CompletedObject":
        """The same with its vertices elsewhere, in their order; box, volume and origin follow.

        shift: [3] metres of that by which the whole object was moved, and its other hypotheses are.
        """
        pose = self.world_from_object.copy()
        turned = mesh.vertices @ pose[:3, :3]
        low, high = turned.min(axis=0), turned.max(axis=0)
        pose[:3, 3] = pose[:3, :3] @ [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
        return replace(
            self,
            mesh=mesh,
            convex_parts=convex_parts,
            world_from_object=pose,
            dimensions=high - low,
            watertight=meshes.is_watertight(mesh),
            volume=meshes.volume(mesh),
            hypotheses=tuple(body.moved(shift) for body in self.hypotheses),
        )

    def in_world(self) -> "CompletedObject":
        """The same in the world frame, in 64-bit numbers; itself where it is there already."""
        offset = self.world_offset
        if not np.any(offset):
            return self
        view = self.next_best_view
        return replace(
            self,
            mesh=self.mesh.moved(offset),
            world_from_object=moved(self.world_from_object, offset),
            convex_parts=tuple(part.moved(offset) for part in self.convex_parts),
            hypotheses=tuple(body.moved(offset) for body in self.hypotheses),
            next_best_view=None if view is None else moved(view, offset),
            world_offset=np.zeros(3),
        )
