"""USD of objects and scenes (UsdPhysics), in metres, z up: what Isaac Sim and other USD programs take."""

from pathlib import Path
from typing import Any

import numpy as np

from instascene_core.colors import linear
from instascene_core.errors import needs
from instascene_core.export.descriptions.model import Model, SceneModel, StaticBox, Uri, quaternion
from instascene_core.export.inertia import Inertial
from instascene_core.geometry import TriangleMesh
from instascene_core.geometry import mesh as meshes
from instascene_core.objects import CompletedObject

OBJECT_FILE = "object.usda"
LABEL = "object"  # what it is, as far as that is known


def require_usd() -> Any:
    """The module pxr; MissingDependencyError where usd-core is not installed."""
    with needs("pxr", "USD is written by usd-core, which is not installed: pip install 'instascene[usd]'."):
        import pxr.Usd
        import pxr.UsdGeom
        import pxr.UsdLux
        import pxr.UsdPhysics
        import pxr.UsdShade
        import pxr.Vt
    return pxr


def write_object_usd(
    path: Path,
    model: Model,
    obj: CompletedObject,
    mesh: TriangleMesh,
    parts: tuple[TriangleMesh, ...],
    source: str,
) -> None:
    """One rigid body: its surface, its convex colliders (not rendered), mass and material.

    mesh, parts: in the object's frame.  source: who made it, for the file's metadata.  The texture's image
    lies beside the file.
    """
    pxr = require_usd()
    stage = _stage(pxr, model.name)
    body = stage.GetPrimAtPath(f"/{model.name}")
    pxr.Usd.ModelAPI(body).SetKind("component")
    _rigid(pxr, body, model.body)
    _label(pxr, body)
    looks = pxr.UsdGeom.Scope.Define(stage, f"/{model.name}/looks").GetPath()
    material = _surface_material(pxr, stage, looks, model)
    rubbing = _physics_material(pxr, stage, looks, model.friction)
    _surface(pxr, stage, f"/{model.name}/surface", mesh, obj, material)
    pxr.UsdGeom.Xform.Define(stage, f"/{model.name}/collision")
    for index, part in enumerate(parts):
        _collider(pxr, stage, f"/{model.name}/collision/part_{index:03d}", part, rubbing)
    facts = {
        "asset_name": model.name,
        "asset_type": "prop",
        "source_file": source,
        "usd_date_generated": "1970-01-01",  # the same input gives the same file
    }
    stage.GetRootLayer().customLayerData = {**facts, "SimReady_Metadata": facts}
    stage.GetRootLayer().Export(str(path))


def write_scene_usd(path: Path, scene: SceneModel, uri: Uri) -> None:
    """The objects by reference to their files, the room, a sun and gravity."""
    pxr = require_usd()
    stage = _stage(pxr, scene.name)
    physics = pxr.UsdPhysics.Scene.Define(stage, f"/{scene.name}/physics")
    physics.CreateGravityDirectionAttr(pxr.Gf.Vec3f(0, 0, -1))
    physics.CreateGravityMagnitudeAttr(9.81)
    sun = pxr.UsdLux.DistantLight.Define(stage, f"/{scene.name}/sun")
    sun.CreateIntensityAttr(1000.0)
    pxr.UsdGeom.Xformable(sun).AddRotateXYZOp().Set(pxr.Gf.Vec3f(30, -20, 0))
    looks = pxr.UsdGeom.Scope.Define(stage, f"/{scene.name}/looks").GetPath()
    for box in scene.room:
        _box(pxr, stage, f"/{scene.name}/{box.name}", box, looks)
    for model in scene.objects:
        thing = pxr.UsdGeom.Xform.Define(stage, f"/{scene.name}/{model.name}")
        _place(pxr, thing, model.pose)
    # Added to the stage, references would be looked up, and the objects may not be at their places yet.
    layer = pxr.Sdf.Layer.CreateAnonymous(".usda")
    layer.TransferContent(stage.GetRootLayer())
    for model in scene.objects:
        file = uri(model.folder, OBJECT_FILE)
        reference = pxr.Sdf.Reference(file if file.startswith(".") else f"./{file}")
        layer.GetPrimAtPath(f"/{scene.name}/{model.name}").referenceList.Prepend(reference)
    layer.Export(str(path))


def _stage(pxr: Any, root: str) -> Any:
    stage = pxr.Usd.Stage.CreateInMemory()
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.z)
    pxr.UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    stage.SetDefaultPrim(pxr.UsdGeom.Xform.Define(stage, f"/{root}").GetPrim())
    return stage


def _place(pxr: Any, thing: Any, pose: np.ndarray) -> None:
    """Translation and rotation, as two operations that programs can change."""
    thing.AddTranslateOp().Set(pxr.Gf.Vec3d(*pose[:3, 3].tolist()))
    w, *xyz = quaternion(pose).tolist()
    thing.AddOrientOp(pxr.UsdGeom.XformOp.PrecisionDouble).Set(pxr.Gf.Quatd(w, *xyz))


def _rigid(pxr: Any, prim: Any, body: Inertial) -> None:
    pxr.UsdPhysics.RigidBodyAPI.Apply(prim)
    mass = pxr.UsdPhysics.MassAPI.Apply(prim)
    moments, axes = np.linalg.eigh(body.inertia)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    pose = np.eye(4)
    pose[:3, :3] = axes
    w, *xyz = quaternion(pose).tolist()
    mass.CreateMassAttr(body.mass)
    mass.CreateCenterOfMassAttr(pxr.Gf.Vec3f(*body.center.tolist()))
    mass.CreateDiagonalInertiaAttr(pxr.Gf.Vec3f(*moments.tolist()))
    mass.CreatePrincipalAxesAttr(pxr.Gf.Quatf(w, *xyz))


def _label(pxr: Any, prim: Any) -> None:
    """The semantic label, by the schema of USD 24.11 and later; as its plain attributes before."""
    prim.AddAppliedSchema("SemanticsLabelsAPI:class")
    kind = pxr.Sdf.ValueTypeNames.TokenArray
    prim.CreateAttribute("semantics:labels:class", kind, custom=False).Set([LABEL])


def _surface_material(pxr: Any, stage: Any, looks: Any, model: Model) -> Any:
    """UsdPreviewSurface with the texture, or with the colours of the vertices."""
    material = pxr.UsdShade.Material.Define(stage, looks.AppendChild(f"{model.name}_material"))
    shader = pxr.UsdShade.Shader.Define(stage, material.GetPath().AppendChild("surface"))
    shader.CreateIdAttr("UsdPreviewSurface")
    types = pxr.Sdf.ValueTypeNames
    shader.CreateInput("roughness", types.Float).Set(0.8)
    shader.CreateInput("metallic", types.Float).Set(0.0)
    reader = pxr.UsdShade.Shader.Define(stage, material.GetPath().AppendChild("reader"))
    if not model.texture:
        reader.CreateIdAttr("UsdPrimvarReader_float3")
        reader.CreateInput("varname", types.String).Set("displayColor")
        source = reader.CreateOutput("result", types.Float3)
    else:
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", types.String).Set("st")
        color = pxr.UsdShade.Shader.Define(stage, material.GetPath().AppendChild("color"))
        color.CreateIdAttr("UsdUVTexture")
        color.CreateInput("file", types.Asset).Set(f"./{model.texture}")
        color.CreateInput("sourceColorSpace", types.Token).Set("sRGB")
        for name in ("wrapS", "wrapT"):
            color.CreateInput(name, types.Token).Set("clamp")
        color.CreateInput("st", types.Float2).ConnectToSource(reader.CreateOutput("result", types.Float2))
        source = color.CreateOutput("rgb", types.Float3)
    shader.CreateInput("diffuseColor", types.Color3f).ConnectToSource(source)
    material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", types.Token))
    return material


def _physics_material(pxr: Any, stage: Any, looks: Any, friction: float) -> Any:
    material = pxr.UsdShade.Material.Define(stage, looks.AppendChild("physics_material"))
    facts = pxr.UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    facts.CreateStaticFrictionAttr(friction)
    facts.CreateDynamicFrictionAttr(friction)
    facts.CreateRestitutionAttr(0.0)
    return material


def _mesh(pxr: Any, stage: Any, path: str, mesh: TriangleMesh) -> Any:
    made = pxr.UsdGeom.Mesh.Define(stage, path)
    points = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
    made.CreatePointsAttr(pxr.Vt.Vec3fArray.FromNumpy(points))
    counts = np.full(len(mesh.triangles), 3, dtype=np.int32)
    made.CreateFaceVertexCountsAttr(pxr.Vt.IntArray.FromNumpy(counts))
    indices = np.ascontiguousarray(mesh.triangles.ravel(), dtype=np.int32)
    made.CreateFaceVertexIndicesAttr(pxr.Vt.IntArray.FromNumpy(indices))
    made.CreateSubdivisionSchemeAttr("none")
    extent = np.stack([points.min(axis=0), points.max(axis=0)])
    made.CreateExtentAttr(pxr.Vt.Vec3fArray.FromNumpy(extent))
    normals = meshes.vertex_normals(mesh)
    normals[~(np.abs(np.linalg.norm(normals, axis=1) - 1) < 1e-6)] = [0, 0, 1]
    made.CreateNormalsAttr(pxr.Vt.Vec3fArray.FromNumpy(normals.astype(np.float32)))
    made.SetNormalsInterpolation("vertex")
    return made


def _surface(
    pxr: Any, stage: Any, path: str, mesh: TriangleMesh, obj: CompletedObject, material: Any
) -> None:
    made = _mesh(pxr, stage, path, mesh)
    primvars, types = pxr.UsdGeom.PrimvarsAPI(made), pxr.Sdf.ValueTypeNames
    for name, values in (("observed", obj.observed), ("uncertainty", obj.vertex_uncertainty)):
        numbers = pxr.Vt.FloatArray.FromNumpy(np.ascontiguousarray(values, dtype=np.float32))
        primvars.CreatePrimvar(name, types.FloatArray, "vertex").Set(numbers)
    if obj.texture is None:
        colors = pxr.Vt.Vec3fArray.FromNumpy(linear(obj.colors / 255).astype(np.float32))
        primvars.CreatePrimvar("displayColor", types.Color3fArray, "vertex").Set(colors)
    else:
        corners = np.ascontiguousarray(obj.texture.triangles.ravel(), dtype=np.int32)
        places = primvars.CreatePrimvar("st", types.TexCoord2fArray, "faceVarying")
        places.Set(pxr.Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(obj.texture.uv, dtype=np.float32)))
        places.SetIndices(pxr.Vt.IntArray.FromNumpy(corners))
    pxr.UsdShade.MaterialBindingAPI.Apply(made.GetPrim()).Bind(material)


def _collider(pxr: Any, stage: Any, path: str, part: TriangleMesh, material: Any) -> None:
    made = _mesh(pxr, stage, path, part)
    made.CreatePurposeAttr("guide")
    pxr.UsdPhysics.CollisionAPI.Apply(made.GetPrim())
    pxr.UsdPhysics.MeshCollisionAPI.Apply(made.GetPrim()).CreateApproximationAttr("convexHull")
    binding = pxr.UsdShade.MaterialBindingAPI.Apply(made.GetPrim())
    binding.Bind(material, pxr.UsdShade.Tokens.weakerThanDescendants, "physics")


def _box(pxr: Any, stage: Any, path: str, box: StaticBox, looks: Any) -> None:
    """A cube of 1 m, scaled."""
    made = pxr.UsdGeom.Cube.Define(stage, path)
    made.CreateSizeAttr(1.0)
    made.CreateExtentAttr(pxr.Vt.Vec3fArray.FromNumpy(np.array([[-0.5] * 3, [0.5] * 3], dtype=np.float32)))
    made.CreateDisplayColorAttr([pxr.Gf.Vec3f(*linear(box.color).tolist())])
    _place(pxr, made, box.pose)
    made.AddScaleOp().Set(pxr.Gf.Vec3f(*box.size.tolist()))
    pxr.UsdPhysics.CollisionAPI.Apply(made.GetPrim())
    scope = pxr.UsdGeom.Scope.Define(stage, looks.AppendChild(box.name)).GetPath()
    rubbing = _physics_material(pxr, stage, scope, box.friction)
    binding = pxr.UsdShade.MaterialBindingAPI.Apply(made.GetPrim())
    binding.Bind(rubbing, pxr.UsdShade.Tokens.weakerThanDescendants, "physics")
