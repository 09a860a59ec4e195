"""The synthetic flat: rooms, doors, furniture, things on it, and a walk that sees them."""

from dataclasses import replace

import numpy as np
import pytest

from instascene_core.config import SyntheticConfig
from instascene_core.errors import InputError
from instascene_core.geometry import mesh as meshes
from instascene_core.geometry.open3d_loader import open3d
from instascene_core.synthetic import generate_scene
from instascene_core.synthetic.flat import HEIGHT, PITCH, ROOM, furnish, room_cells, walls_of

SMALL = SyntheticConfig(
    seed=1, layout="rooms", rooms=2, num_objects=8, num_views=28, width=64, height=48, supersampling=1,
    min_observed_fraction=0.05, fov_degrees=60.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def scene():
    return generate_scene(SMALL)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (4, 2, 2), (6, 3, 2)])
def test_the_walk_goes_from_each_room_to_one_beside_it(count, columns, rows):
    cells = np.array(room_cells(count))
    assert len({tuple(cell) for cell in cells.tolist()}) == count
    assert (cells.max(axis=0) + 1).tolist() == [columns, rows]
    assert (np.abs(np.diff(cells, axis=0)).sum(axis=1) == 1).all()


def test_one_gets_through_doors_and_not_through_walls():
    cells = room_cells(6)
    casting = open3d.t.geometry.RaycastingScene()
    for index in range(6):
        mesh = walls_of(index, cells)
        casting.add_triangles(mesh.vertices.astype(np.float32), mesh.triangles.astype(np.uint32))

    def is_free(start, end) -> bool:
        ray = np.array([[*start, 1.0, *(np.subtract(end, start)), 0.0]], dtype=np.float32)
        return float(casting.cast_rays(open3d.core.Tensor(ray))["t_hit"].numpy()[0]) > 1

    for a in range(6):
        for b in range(a):
            ways = is_free(PITCH * np.array(cells[a]), PITCH * np.array(cells[b]))
            if np.abs(np.subtract(cells[a], cells[b])).sum() == 1:
                assert ways == (a - b == 1)  # neighbours that are not in the walk's order have a wall
    outside = PITCH * np.array(cells[0]) - [PITCH, 0]
    assert not is_free(PITCH * np.array(cells[0]), outside)
    assert not is_free(PITCH * np.array(cells[0]) + [0, 1], PITCH * np.array(cells[1]) + [0, 1])


def test_furniture_stands_in_its_corner_of_the_room():
    pieces = furnish(np.zeros(2), np.random.default_rng(3))
    assert sorted(piece.name for piece in pieces) == ["shelf", "sideboard", "table", "table"]
    for piece in pieces:
        low, high = piece.mesh.vertices.min(axis=0), piece.mesh.vertices.max(axis=0)
        assert low[2] == 0 and high[2] < HEIGHT / 2
        assert (np.abs([low[:2], high[:2]]) < ROOM / 2).all()
        for board in piece.boards:
            assert (board.low >= low[:2]).all() and (board.high <= high[:2]).all() and board.top <= high[2]


def test_things_stand_apart_on_boards(scene):
    assert len(scene.objects) == 8 and len(scene) == 28
    boxes = [(o.mesh.vertices.min(axis=0), o.mesh.vertices.max(axis=0)) for o in scene.objects]
    for k, (low, high) in enumerate(boxes):
        assert min(abs(low[2] - top) for top in (0.72, 0.55, 0.9, 0.45)) < 1e-3
        assert meshes.is_watertight(scene.objects[k].mesh)
        for other_low, other_high in boxes[:k]:
            assert (low > other_high).any() or (high < other_low).any()
    # half of them in either room
    assert sum(low[0] > PITCH / 2 for low, _ in boxes) == 4


def test_cameras_stay_in_the_rooms_and_see_everything(scene):
    places = scene.poses[:, :3, 3]
    assert (np.abs(places[:, 1]) < ROOM / 2).all()
    assert (places[:, 0] > -ROOM / 2).all() and (places[:, 0] < PITCH + ROOM / 2).all()
    assert (places[14:, 0] > PITCH / 2 - 0.1).all() and (places[:14, 0] < ROOM / 2).all()
    assert min(scene.observed_fractions) >= SMALL.min_observed_fraction


def test_the_first_rooms_of_a_large_flat_are_those_of_a_small_one(scene):
    one = generate_scene(replace(SMALL, rooms=1, num_objects=4, num_views=14))
    for mine, other in zip(one.objects, scene.objects):
        np.testing.assert_array_equal(mine.mesh.vertices, other.mesh.vertices)
    np.testing.assert_array_equal(one.poses, scene.poses[:14])


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(InputError, match=r"for 6 of them 6 objects and 12 views"):
        generate_scene(replace(SMALL, rooms=6, num_objects=5))
    with pytest.raises(InputError, match=r"No pan fits on the furniture; ask for fewer objects a room"):
        generate_scene(replace(SMALL, num_objects=200, kinds=("pan",)))
