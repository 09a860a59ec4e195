"""Parts that procedural things know of themselves: by hand, and of every kind."""

import itertools

import numpy as np
import pytest

from instascene_core.synthetic.anatomy import (
    FINE,
    LEVEL_NAMES,
    RIM,
    Anatomy,
    Band,
    anatomy_of,
    name_at,
    part_levels,
    whole_body,
)
from instascene_core.synthetic.assembly import Assembly
from instascene_core.synthetic.bodies import hull
from instascene_core.synthetic.household import ALL_KINDS, make

CUBE = np.array(list(itertools.product((0.0, 0.1), repeat=3)))


def middles(mesh) -> np.ndarray:
    return mesh.vertices[mesh.triangles].mean(axis=1)


def named(solid, level: int = 2) -> np.ndarray:
    """[F] names of a solid's triangles at a level."""
    triangles = np.arange(len(solid.mesh.triangles))
    levels = part_levels(solid.anatomy, solid.mesh.triangles, middles(solid.mesh), triangles)
    return np.array(levels.names[level])[levels.semantic[level]]


def test_every_fine_name_has_a_middle_and_a_coarse_one():
    coarse, middle, fine = LEVEL_NAMES
    assert set(fine) == set(FINE) and len(set(coarse)) == len(coarse) < len(middle) < len(fine)
    for name in fine:
        assert name_at(name, 0) in coarse and name_at(name, 1) in middle and name_at(name, 2) == name


def test_an_assembly_knows_which_block_a_triangle_is_of():
    b = Assembly("two", 1000.0)
    b.hull(CUBE, "plain")
    b.part("grip")
    b.hull(CUBE + np.array([0.08, 0.0, 0.0]), "plain")
    b.part("button")
    b.hull(0.2 * CUBE + np.array([0.04, 0.04, 0.09]), "plain")
    b.back_to("grip")
    b.hull(0.2 * CUBE + np.array([0.12, 0.04, 0.09]), "plain")
    solid = b.solid()
    names, at = named(solid), middles(solid.mesh)
    # Object frame: the origin is the centre of the bottom, x from −0.09 to 0.09.
    assert set(names[at[:, 0] < -0.02]) == {"body", "button"}
    assert set(names[at[:, 0] > 0.011]) == {"grip"}  # the small block on it as well
    assert set(names[(at[:, 2] > 0.1001) & (at[:, 0] < 0.0)]) == {"button"}


def test_paint_is_no_part():
    b = Assembly("one", 1000.0)
    b.hull(CUBE, "plain")
    b.repaint(hull(CUBE + np.array([0.05, 0, 0])), "metal")
    solid = b.solid()
    assert len(solid.pieces) == 2 and set(named(solid)) == {"body"}


def test_what_touches_and_bears_one_name_is_one_part_at_coarser_levels():
    # Strip of four squares: body, lid, knob | a second body that touches only the knob.
    triangles = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4], [4, 5, 6], [5, 7, 6], [6, 7, 8]])
    anatomy = Anatomy(("body", "lid", "knob", "body"), np.array([0, 1, 1, 2, 2, 3, 3], dtype=np.int32))
    points = np.zeros((7, 3))
    levels = part_levels(anatomy, triangles, points, np.arange(7))
    assert [len(set(i)) for i in levels.instance] == [3, 3, 4]
    assert levels.instance[0][1] == levels.instance[0][4]  # lid and knob: one cover
    assert levels.instance[0][0] != levels.instance[0][6]  # the bodies do not touch
    assert [names[s[1]] for names, s in zip(levels.names, levels.semantic)] == ["cover", "lid", "lid"]


def test_bands_cut_along_their_own_axis_one_after_the_other():
    turned = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])  # band's z is object's x
    bands = (Band(0, 1, turned, 0.5), Band(1, 2, turned, 0.8))
    anatomy = Anatomy(("body", "lid", "knob"), np.zeros(1, dtype=np.int32), bands)
    points = np.array([[0.4, 9.0, 9.0], [0.6, 0.0, 0.0], [0.9, 0.0, 0.0]])
    np.testing.assert_array_equal(anatomy.parts_at(points, np.zeros(3, dtype=int)), [0, 1, 2])
    moved = anatomy.moved(np.array([1.0, 0.0, 0.0]))
    shifted = points + np.array([1.0, 0.0, 0.0])
    np.testing.assert_array_equal(moved.parts_at(shifted, np.zeros(3, dtype=int)), [0, 1, 2])
    levels = part_levels(anatomy, np.array([[0, 1, 2]]), points, np.zeros(3, dtype=int))
    assert [len(set(i)) for i in levels.instance] == [2, 2, 3]  # a band touches what it is cut from


def test_a_vessel_has_a_rim_of_its_upper_eighth():
    solid = make("cup", np.random.default_rng(0))
    height = solid.dimensions[2]
    points = np.array([[0.04, 0, height * (1 - 0.9 * RIM)], [0.04, 0, height * (1 - 1.1 * RIM)]])
    part = solid.anatomy.parts_at(points, np.zeros(2, dtype=int))
    assert [solid.anatomy.names[p] for p in part] == ["rim", "body"]


def test_parts_of_plain_unions_come_from_their_bodies():
    one, two = hull(CUBE), hull(CUBE + np.array([0.05, 0, 0]))
    anatomy = anatomy_of(one + two, [("grip", one), ("head", two)])
    assert set(anatomy.of_triangle) == {0, 1}


def test_handles_are_where_handles_are():
    for kind, name in (("mug", "ear"), ("pan", "grip"), ("banded_mug", "ear"), ("frying_pan", "grip")):
        solid = make(kind, np.random.default_rng(1))
        handle = middles(solid.mesh)[named(solid) == name]
        body = middles(solid.mesh)[named(solid) == "body"]
        assert len(handle) > 20 and handle[:, 0].mean() > body[:, 0].max() - 0.01


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_names_each_of_its_triangles(kind):
    solid = make(kind, np.random.default_rng(0))
    if solid.anatomy is None:
        assert kind in ("box", "union", "ball", "tray", "book", "board", "soap", "weight")
        return
    assert solid.anatomy.of_triangle.shape == (len(solid.mesh.triangles),)
    assert set(solid.anatomy.names) <= set(FINE)
    assert set(named(solid)) <= set(FINE)
    for level in range(2):  # a coarser part is a union of finer ones
        triangles = np.arange(len(solid.mesh.triangles))
        levels = part_levels(solid.anatomy, solid.mesh.triangles, middles(solid.mesh), triangles)
        pairs = set(zip(levels.instance[level + 1], levels.instance[level]))
        assert len(pairs) == len({fine for fine, _ in pairs})


def test_a_whole_body_is_one_part():
    levels = part_levels(whole_body(2), np.array([[0, 1, 2], [1, 3, 2]]), np.zeros((2, 3)), np.arange(2))
    assert (levels.instance == 0).all() and (levels.semantic == 0).all()
