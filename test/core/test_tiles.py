"""Rooms and floors by tiles: where a recording is divided, whose thing is whose, and the one scene of all."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiles_case import CAMERAS, FIRST, LAST, SEAM, TILES, corridor, corridor_job, pretend

from instascene_core.config import Config
from instascene_core.config.tiles import TilesConfig
from instascene_core.errors import Cancelled, InputError
from instascene_core.export.saved_scene import load_scene
from instascene_core.frame import UNLABELLED
from instascene_core.gaussians_ply import read_gaussians
from instascene_core.instances import InstanceId
from instascene_core.owned_folder import STATE
from instascene_core.saved_facts import read_scene_facts
from instascene_core.scene import Scene
from instascene_core.tiles import run_tiles, tiling_of
from instascene_core.tiles.cutting import cut
from instascene_core.tiles.deciding import roams
from instascene_core.tiles.layout import Tiling, divide
from instascene_core.tiles.seams import Thing, match_things
from instascene_core.tiles.survey import Survey, floor_axes, seen_points

UP = np.array([0.0, 0.0, 1.0])


# ── the floor plan ────────────────────────────────────────────────────────────────────────────────


def test_floor_axes_are_those_of_the_world_where_up_is_z():
    np.testing.assert_array_equal(floor_axes(UP), np.eye(3)[:, :2])
    up = np.array([0.6, 0.0, 0.8])
    axes = floor_axes(2 * up)
    whole = np.column_stack([axes, up])
    np.testing.assert_allclose(whole.T @ whole, np.eye(3), atol=1e-12)
    assert np.linalg.det(whole) == pytest.approx(1)


def test_a_frame_sees_the_floor_below_it():
    frame = corridor()[5]
    points = seen_points(frame, np.eye(3)[:, :2], assumed_distance=9.0)
    assert points[:, 0].min() == pytest.approx(1.4 - 1.5, abs=0.1) and points[:, 0].max() <= 1.4 + 1.5
    hidden = frame.with_(valid=np.zeros(frame.rgb.shape[:2], bool))
    assert not len(seen_points(hidden, np.eye(3)[:, :2], 9.0))
    # Without depth: at that distance along each ray
    blind = frame.with_(depth=None)
    rays = apply_rays(blind)
    np.testing.assert_allclose(seen_points(blind, np.eye(3)[:, :2], 9.0), 9 * rays + [1.4, 0], atol=1e-5)


def apply_rays(frame) -> np.ndarray:
    rays = frame.camera.rays[:: max(1, 24 // 16), :: 32 // 16].reshape(-1, 3)
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return (rays @ frame.world_from_camera[:3, :3].T)[:, :2]


def plan_of(*spans: tuple[float, float], **changes) -> Tiling:
    """The tiling of frames that each see y from 0 to 2 and x over a span."""
    seen = []
    for low, high in spans:
        x, y = np.meshgrid(np.linspace(low, high, 21), np.linspace(0, 2, 5))
        seen.append(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))
    config = replace(TilesConfig(size_m=3.0, overlap_m=0.5, min_frames=2), **changes)
    return divide(Survey(np.eye(3)[:, :2], tuple(seen)), config, max_frames=100)


def test_the_plan_is_shared_out_evenly_and_frames_go_where_they_look():
    tiling = plan_of((0, 3), (0, 3), (2, 5), (3.2, 6), (3.2, 6))
    assert [tile.name for tile in tiling.tiles] == ["tile_0_0", "tile_1_0"]
    assert [tile.frames for tile in tiling.tiles] == [(0, 1, 2), (2, 3, 4)]
    first, second = tiling.tiles
    assert first.high[0] == second.low[0] == pytest.approx(3, abs=0.1)
    assert tiling.main_tile.tolist()[:2] == [0, 0] and tiling.main_tile.tolist()[3:] == [1, 1]
    low, high = tiling.reach(0)
    np.testing.assert_allclose([low[0], high[0]], [first.low[0] - 0.5, first.high[0] + 0.5])


def test_what_is_seen_across_a_wall_makes_no_frame():
    """A view of the other side's table, all of it within the overlap, is no view of this side."""
    tiling = plan_of((0, 3), (0, 3), (3.1, 3.45), (3.2, 6), (3.2, 6))
    assert [tile.frames for tile in tiling.tiles] == [(0, 1), (2, 3, 4)]


def test_every_place_has_one_owner_also_beyond_the_plan():
    tiling = plan_of((0, 3), (0, 3), (3.2, 6), (3.2, 6))
    points = np.array([[1.0, 1, 0], [2.9, 1, 5], [3.2, 1, 0], [-40, 1, 0], [40, -90, 0]])
    assert tiling.owner(points).tolist() == [0, 0, 1, 0, 1]
    assert tiling.owner(points, among=[1]).tolist() == [1] * 5  # the other one failed


def test_an_area_that_hardly_anyone_sees_has_no_tile():
    tiling = plan_of((0, 3), (0, 3), (3.6, 6), min_frames=2)
    assert [tile.name for tile in tiling.tiles] == ["tile_0_0"]
    assert tiling.unused == (2,) and tiling.main_tile.tolist() == [0, 0, -1]


def test_of_too_many_frames_some_are_taken_evenly():
    seen = tuple(np.array([[0.0, 0], [1, 1]], np.float32) for _ in range(50))
    tiling = divide(Survey(np.eye(3)[:, :2], seen), TILES, max_frames=5)
    assert tiling.tiles[0].frames == (0, 12, 24, 37, 49) and len(tiling.unused) == 45


def test_poses_in_millimetres_are_one_sentence():
    with pytest.raises(InputError, match=r"spans 3000 × 2 m, which is 1000 tiles of 3 m; check the unit"):
        plan_of((0, 1500), (1500, 3000), max_tiles=400)


def test_cameras_roam_by_their_outermost_places():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 1, 3] = 0, 2, 5.9
    poses[:, 2, 3] = 0, 50, 100  # up
    assert not roams(poses, floor_axes(UP), 6.0)
    poses[1, 1, 3] = -0.2
    assert roams(poses, floor_axes(UP), 6.0)


def test_auto_reads_no_frame_of_a_recording_whose_cameras_stay(tmp_path, monkeypatch):
    job = corridor_job(tmp_path)
    assert len(job.tiling.tiles) == 2
    monkeypatch.setattr("instascene_core.tiles.deciding.survey", lambda *_: pytest.fail("frames were read"))
    assert tiling_of(job.dataset, Config(), replace(TILES, roam_m=4.0)) is None
    assert tiling_of(job.dataset, Config(), replace(TILES, when="off")) is None
    without = replace(job.dataset, reader=NoDepth(job.dataset.reader))
    assert tiling_of(without, Config(), TILES) is None


class NoDepth:
    """A reader without depth."""

    has_depth = False

    def __init__(self, reader) -> None:
        self._reader = reader

    def __getattr__(self, name: str):
        return getattr(self._reader, name)


def test_tiles_that_are_asked_for_need_frames(tmp_path):
    job = corridor_job(tmp_path)
    how = TilesConfig(when="on", size_m=30.0)
    tiling = tiling_of(job.dataset, Config(), how)
    assert tiling is not None and len(tiling.tiles) == 1  # one, because it was asked for
    with pytest.raises(InputError, match=r"No area of the size of a tile is seen by 99 frames"):
        tiling_of(job.dataset, Config(), replace(how, min_frames=99))


def test_what_lies_beyond_a_tile_does_not_count():
    frame = corridor()[5]  # sees x from −0.1 to 2.9
    part = cut(frame, np.eye(3)[:, :2], np.array([-9.0, -9.0]), np.array([1.4, 9.0]))
    assert part.valid is not None and part.depth is not None
    assert part.valid[:, :16].all() and not part.valid[:, 16:].any()
    assert (part.depth[:, 16:] == 0).all()
    whole = cut(frame, np.eye(3)[:, :2], np.array([-9.0, -9.0]), np.array([9.0, 9.0]))
    assert whole is frame
    blind = frame.with_(depth=None)
    assert cut(blind, np.eye(3)[:, :2], np.zeros(2), np.zeros(2)) is blind


# ── seams ─────────────────────────────────────────────────────────────────────────────────────────


def patch(x0: float, x1: float, y: float = 0.0) -> np.ndarray:
    """Points of a surface 5 cm wide, every 5 mm."""
    x, z = np.meshgrid(np.arange(x0, x1, 0.005), np.arange(0, 0.05, 0.005))
    return np.stack([x.ravel(), np.full(x.size, y), z.ravel()], axis=1)


def thing(number: int, tile: int, points: np.ndarray, own: bool = True, completed: bool = True) -> Thing:
    return Thing(InstanceId(number), tile, points, completed, own)


def matched(*things: Thing) -> tuple[set, dict]:
    seams = match_things(things, TilesConfig())
    return set(seams.kept), dict(seams.stands_for)


def test_a_thing_that_two_tiles_found_stays_once_with_its_owner():
    assert matched(thing(1, 0, patch(0, 0.1)), thing(7, 1, patch(0.002, 0.102), own=False)) == ({1}, {7: 1})


def test_the_tile_that_saw_clearly_more_is_asked_instead():
    part = thing(1, 0, patch(0, 0.05))  # cut off
    assert matched(part, thing(7, 1, patch(0, 0.1), own=False)) == ({7}, {1: 7})
    # One that has a mesh counts more than one that has none, however much was seen of it
    bare = thing(2, 0, patch(0, 0.1), completed=False)
    assert matched(bare, thing(7, 1, patch(0, 0.06), own=False)) == ({7}, {2: 7})


def test_one_thing_here_and_two_there_are_decided_together():
    """All that the better tile found stays, and what goes is told by the nearest of it."""
    one = thing(1, 0, patch(0, 0.2), own=False)
    left, right = thing(5, 1, patch(0, 0.1)), thing(6, 1, patch(0.1, 0.2))
    kept, stands_for = matched(one, left, right)
    assert kept == {5, 6} and stands_for.keys() == {1} and stands_for[1] in (5, 6)


def test_what_only_a_stranger_found_goes():
    assert matched(thing(1, 0, patch(0, 0.1), own=False), thing(2, 1, patch(3, 3.1))) == ({2}, {})


def test_neighbours_are_not_the_same():
    near = thing(2, 1, patch(0, 0.1, y=0.03))
    assert matched(thing(1, 0, patch(0, 0.1)), near) == ({1, 2}, {})
    # nor are two of one tile
    assert matched(thing(1, 0, patch(0, 0.1)), thing(2, 0, patch(0, 0.1)))[0] == {1, 2}


# ── the scene of all ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The corridor made in two tiles, each without any computing."""
    root = tmp_path_factory.mktemp("tiles")
    job, said = corridor_job(root), []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scene, "run", pretend())
        result = run_tiles(job, lambda *words: said.append(words))
    return job, result, said


def test_two_tiles_are_one_scene_with_each_thing_once(made):
    job, result, _ = made
    assert result.done == ("tile_0_0", "tile_1_0") and not result.failed and not result.earlier
    assert result.objects == 3 and result.twice == 1
    facts = read_scene_facts(job.output)
    places = {
        e["id"]: (e["box_min"][0] + e["box_max"][0]) / 2
        for e in facts["instances"]["list"]
        if e["kind"] == "object"
    }
    assert sorted(places.values()) == pytest.approx([FIRST, SEAM, LAST], abs=0.02)
    kinds = [e["kind"] for e in facts["instances"]["list"]]
    assert kinds.count("support") == 2  # one a tile
    assert {int(p.name) for p in (job.output / "objects").iterdir() if p.name.isdigit()} == places.keys()
    assert [f["name"] for f in facts["frames"]] == [f"{k:03d}" for k in range(len(CAMERAS))]
    assert [tile["done"] for tile in facts["tiles"]] == [True, True]
    metrics = json.loads((job.output / "metrics.json").read_text())
    assert metrics["frames"] == len(CAMERAS) and metrics["instances"] == 3
    assert metrics["tiles"]["found_twice"] == 1
    assert not (job.output / STATE / "tiles").exists()  # done
    for name in ("scene.glb", "scene.xml", "report.html", "objects.png", "overview.png"):
        assert (job.output / name).is_file(), name


def test_label_images_and_gaussians_have_the_ids_of_the_whole(made):
    job, _, _ = made
    loaded = load_scene(job.output)
    scene = loaded.scene
    assert loaded.frames_found == len(CAMERAS) and len(scene.objects) == 3
    assert scene.instances is not None
    things = {i.id for i in scene.instances.objects}
    seen = set()
    for name, image in scene.instances.label_images.items():
        ids = set(np.unique(image)) - {UNLABELLED}
        seen |= ids & things
        assert ids <= {i.id for i in scene.instances.instances}, name
        assert len(ids - things) == 1 or name in ("005", "006", "007"), name  # of one tile's floor
    assert seen == things
    # What both tiles saw of the floor is there once, and the boxes are whole.
    file = read_gaussians(job.output / "scene.ply")
    assert file.instance_ids is not None
    floor = file.gaussians.means.numpy()[~np.isin(file.instance_ids, list(things))]
    assert len(np.unique(np.round(floor / 0.02), axis=0)) == len(floor)
    counts = {i.id: i.num_gaussians for i in scene.instances.objects}
    assert all(count == 162 == (file.instance_ids == number).sum() for number, count in counts.items())
    # A pixel that one tile cut away and another saw counts.
    assert not list((job.output / "valid").glob("*.png"))


def test_progress_says_which_tile(made):
    _, _, said = made
    assert ("reconstruct", 0.5, "tile_1_0 (2 of 2): pretended") in said
    assert [words for words in said if words[0] == "tiles"][-1] == ("tiles", 1.0, "2 tiles")


def test_a_stopped_run_goes_on_and_comes_to_the_same(made, tmp_path, monkeypatch):
    job, runs = corridor_job(tmp_path), []

    def stop_in_the_second(scene: Scene) -> None:
        runs.append(len(scene.frames))
        if len(runs) == 2:
            raise Cancelled

    monkeypatch.setattr(Scene, "run", pretend(problem=stop_in_the_second))
    with pytest.raises(Cancelled):
        run_tiles(job)
    assert not (job.output / "scene.json").exists()
    result = run_tiles(job)
    assert result.earlier == ("tile_0_0",) and len(runs) == 3
    first, second = made[0].output, job.output
    for name in ("scene.ply", "instances/005.png", "scene.xml"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    # Other settings begin anew.
    other = replace(job, how=replace(job.how, same_share=0.4))
    assert run_tiles(other).earlier == ()


def test_a_tile_that_fails_loses_no_other(tmp_path, monkeypatch):
    job = corridor_job(tmp_path)

    def fail(scene: Scene) -> None:
        if scene.frames[-1].name == "012":
            raise InputError("Too dark.")

    monkeypatch.setattr(Scene, "run", pretend(problem=fail))
    reports = []
    monkeypatch.setattr(type(job.dataset.remarks), "report", lambda remarks: reports.append(remarks))
    result = run_tiles(job)
    assert reports == [job.dataset.remarks]  # of what was made good in reading
    assert result.failed == {"tile_1_0": "Too dark."} and result.objects == 2
    assert "1 of 2 tiles failed" in str(result.problem()) and "tile_1_0: Too dark." in str(result.problem())
    assert read_scene_facts(job.output)["tiles"][1]["problem"] == "Too dark."
    # The next call does only what is missing, and ids stay.
    before = {p.name for p in (job.output / "objects").iterdir()}
    monkeypatch.setattr(Scene, "run", pretend())
    again = run_tiles(job)
    assert again.earlier == ("tile_0_0",) and again.objects == 3 and not again.failed
    assert before <= {p.name for p in (job.output / "objects").iterdir()}
    assert again.problem() is None


def test_where_all_tiles_fail_the_first_is_told(tmp_path, monkeypatch):
    def fail(scene: Scene) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(Scene, "run", pretend(problem=fail))
    with pytest.raises(InputError, match=r"None of the 2 tiles could be made; the first, tile_0_0: Internal"):
        run_tiles(corridor_job(tmp_path))


def test_a_far_flat_is_in_one_local_frame(tmp_path, monkeypatch):
    move = np.array([4.5e6, 5.2e6, 300.0])
    job = corridor_job(tmp_path, move)
    monkeypatch.setattr(Scene, "run", pretend())
    assert run_tiles(job).objects == 3
    facts = read_scene_facts(job.output)
    np.testing.assert_allclose(facts["world_offset_m"], move)
    centres = sorted(
        (e["box_min"][0] + e["box_max"][0]) / 2 for e in facts["instances"]["list"] if e["kind"] == "object"
    )
    np.testing.assert_allclose(np.array(centres) - move[0], [FIRST, SEAM, LAST], atol=0.02)
    assert read_gaussians(job.output / "scene.ply").gaussians.means.abs().max() < 10


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    job = corridor_job(tmp_path)
    job.output.mkdir()
    (job.output / "mine.txt").write_text("kept")
    monkeypatch.setattr(Scene, "run", lambda *_, **__: pytest.fail("it began"))
    with pytest.raises(InputError, match=r"not ours and in the way|not empty"):
        run_tiles(job)
    assert (job.output / "mine.txt").read_text() == "kept"


def test_descriptions_that_name_absolute_files_are_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"export.mesh_uri cannot be file://; leave it out"):
        run_tiles(corridor_job(tmp_path, None, "export.mesh_uri=file://"))
