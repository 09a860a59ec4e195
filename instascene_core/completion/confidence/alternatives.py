"""What else a completed object may be: other guesses that agree with what was seen, in one sentence each."""

from collections.abc import Sequence

from instascene_core.config.completion import ConfidenceConfig
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes


def notes_on(mesh: TriangleMesh, others: Sequence[TriangleMesh], config: ConfidenceConfig) -> tuple[str, ...]:
    """Whether the body may as well be hollow, or solid, by the other closed guesses (metres)."""
    own, own_hull = _volumes(mesh)
    hollow, solid = 1.0, 1.0  # least and greatest volume of guesses of the same hull, over the own
    for other in others:
        volume, hull = _volumes(other)
        if min(hull, own_hull) >= config.alternative_hull * max(hull, own_hull):
            hollow, solid = min(hollow, volume / own), max(solid, volume / own)
    notes: tuple[str, ...] = ()
    if hollow < config.alternative_volume:
        notes = (
            *notes,
            "It may as well be hollow: another guess that agrees with what was seen has "
            f"{100 * hollow:.0f} % of this volume.",
        )
    if solid * config.alternative_volume > 1:
        notes = (
            *notes,
            f"It may as well be solid: another guess that agrees with what was seen has {solid:.1f} times "
            "this volume.",
        )
    return notes


def _volumes(mesh: TriangleMesh) -> tuple[float, float]:
    """Cubic metres, of the body and of its convex hull."""
    return meshes.volume(mesh), meshes.volume(meshes.convex_hull(mesh.vertices))
