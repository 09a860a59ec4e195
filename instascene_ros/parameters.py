"""The node's parameters: its own (here) and the pipeline's (`instascene_core.config`).

Both are frozen dataclasses with all defaults; ROS parameters are declared from them under the same
names (`map_frame`, `reconstruction.iterations`), with the meanings and ranges that stand beside them.  An
unknown parameter, a wrong type or a value out of range stops the node with one sentence; after the start
those that `changeable` names can be changed, the others are read-only.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from instascene_core.config import Config
from instascene_core.config.descriptions import Setting, described_settings
from instascene_core.config.ranges import MAX_INT, Range, Share, Signed
from instascene_core.config_file import config_with, settings_of
from instascene_core.config_listing import meaning
from instascene_core.corrections import Corrections
from instascene_core.errors import InputError
from instascene_ros.changeable import takes_effect

# Seconds; the clocks of Python and rclpy overflow far beyond.
Patience = Annotated[float, Range(0, 1e6)]
Period = Annotated[float, Range(1e-3, 3600)]
TOPIC = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)  # a relative name


@dataclass(frozen=True)
class InputParameters:
    """How frames come in."""

    # What tells where the camera was; none: nothing, for a mask_node whose segmenter needs images alone.
    pose_source: Literal["topic", "odometry", "tf", "none"] = "topic"
    # Odometry only: camera (optical frame) in the odometry's child frame, x y z qx qy qz qw.
    camera_in_base: tuple[Signed, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    # Several cameras that look at one scene: their namespaces, "left right", each with the topics below it;
    # "" = one camera, whose topics are the node's own.
    cameras: str = ""
    image_qos: Literal["auto", "reliable", "best_effort"] = "auto"
    image_transport: Literal["raw", "compressed"] = "raw"
    # Images are undistorted already: use P of camera_info, ignore D.  Taken for granted where the topic's
    # name says so (image_rect, image_rect_color).
    image_is_rectified: bool = False
    depth_transport: Literal["raw", "compressedDepth"] = "raw"
    depth_unit: float = 0.0  # metres a step; 0 = millimetres for 16 bits, metres for floats
    # Depth is in the colour camera's pixels, although its frame_id is another.  Taken for granted where the
    # topic's name says so (aligned, registered).
    depth_registered: bool = False
    # Depth of another camera frame: that camera (optical frame) in the colour camera's, x y z qx qy qz qw;
    # all zeros = tf tells.  Its lens is told on depth/camera_info.
    depth_in_color: tuple[Signed, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    sync_tolerance_s: Patience = 0.02  # stamps this close belong together
    # An image waits this long for its pose, depth and masks.  Longer than the 3 s after which Fast DDS
    # asks for what got lost on the way.
    sync_wait_s: Patience = 4.0
    # An image file, black where every image shows something fixed to the camera (a gripper); "" = nothing.
    ignore: str = ""
    # Pixels that show the robot itself are ignored, by robot_description and joint_states (extra `robot`).
    self_filter: bool = False
    # The robot's base link in map_frame, x y z qx qy qz qw.
    base_in_map: tuple[Signed, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    use_depth: bool = True  # take depth/image when something publishes it
    use_masks: bool = True  # take masks/image when something publishes it
    keyframe_translation_m: float = 0.02  # a frame is taken when the camera moved this far ...
    keyframe_rotation_deg: float = 3.0  # ... or turned this much since the last one taken; 0 0 = every frame
    # Share of the sharpness of the images before it below which one is blurred and left out; 0 = none is.
    min_sharpness: Share = 0.8
    max_queued_frames: int = 200  # waiting for the worker; more are dropped
    # Where poses or depth mean something else than their messages say (instascene_core/corrections.py).
    pose_convention: str = "opencv-c2w"  # AXES-WAY: opencv, opengl, ros (body) or unity; c2w or w2c
    pose_scale: float = 1.0  # factor on the translations
    pose_time_offset: float = 0.0  # seconds: an image of time t gets the pose of t + this
    depth_scale: float = 1.0  # factor on the depth
    depth_is_range: bool = False  # depth is the distance from the camera's centre, not along its axis
    depth_shift: tuple[float, float] = (0.0, 0.0)  # pixels right and down that move depth onto the colours

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Namespaces of the cameras; ("",) for one alone."""
        return tuple(name.strip("/") for name in self.cameras.replace(",", " ").split()) or ("",)

    @property
    def corrections(self) -> Corrections:
        return Corrections(**{f.name: getattr(self, f.name) for f in fields(Corrections)})


@dataclass(frozen=True)
class NodeParameters:
    """Parameters of scene_node besides the pipeline's."""

    map_frame: str = "map"  # poses come in it, results go out in it
    work_ahead: bool = True  # idle time goes into reconstructing what has arrived
    frame_prefix: str = ""  # before the names of the node's own tf frames (object_2); "" = its namespace
    data_dir: str = "~/.ros/instascene"  # save_scene writes below this folder
    service_timeout_s: Patience = 900.0  # a service answers after this time at the latest
    status_period_s: Period = 1.0  # of status and /diagnostics
    # Configured and activated by itself; false: waits for its lifecycle transitions (`ros2 lifecycle set`).
    autostart: bool = True
    planning_scene_diff: bool = False  # where MoveIt is installed, tell it also by diffs on /planning_scene
    input: InputParameters = field(default_factory=InputParameters)

    @property
    def data_folder(self) -> Path:
        return Path(self.data_dir).expanduser().absolute()


RESTART = "Read when the node starts; restart it with the new value."
# Names that rclpy and launch bring along.
FOREIGN_PREFIXES = ("use_sim_time", "qos_overrides.", "start_type_description_service")


def plain(value: Any) -> Any:
    """A dataclass value as ROS parameters hold it (tuples as lists, None as an empty string)."""
    if isinstance(value, tuple):
        return list(value)
    return "" if value is None else value


def read_parameters(overrides: dict[str, Any]) -> tuple[NodeParameters, Config]:
    """Both dataclasses from parameter values by name; InputError names what is wrong.

    `input.*` parameters are written without the prefix: `pose_source`.
    """
    own = settings_of(NodeParameters())
    core = settings_of(Config())
    short = {name.removeprefix("input."): name for name in own}
    mine: dict[str, Any] = {}
    pipeline: dict[str, Any] = {}
    for name, value in overrides.items():
        if name.startswith(FOREIGN_PREFIXES) or value is None:  # `-p name:=` gives no value
            continue
        if name in short:
            mine[short[name]] = value
        elif value != "" or core.get(name, "") is not None:  # "" stands for None
            pipeline[name] = value
    try:
        config = config_with(Config(), pipeline)
        parameters = config_with(NodeParameters(), mine)
    except InputError as error:
        sentence = str(error).replace("setting 'input.", "setting '", 1)
        raise InputError(sentence.replace("setting", "parameter", 1)) from error
    _check(parameters)
    return parameters, config


def _check(parameters: NodeParameters) -> None:
    source = parameters.input
    _ = source.corrections  # refuses what it does not know
    if len(source.camera_in_base) != 7:
        raise InputError("The parameter 'camera_in_base' takes 7 values: x y z qx qy qz qw.")
    if len(source.base_in_map) != 7:
        raise InputError("The parameter 'base_in_map' takes 7 values: x y z qx qy qz qw.")
    if len(source.depth_in_color) != 7:
        raise InputError("The parameter 'depth_in_color' takes 7 values: x y z qx qy qz qw, or 7 zeros.")
    if parameters.service_timeout_s <= 0:
        raise InputError("The parameter 'service_timeout_s' must be positive.")
    unusable = [name for name in source.camera_names if name and not TOPIC.fullmatch(name)]
    if unusable:
        raise InputError(
            f"The parameter 'cameras' names '{unusable[0]}', which no topic is called: letters, digits "
            "and _, not beginning with a digit."
        )
    if len(set(source.camera_names)) < len(source.camera_names):
        raise InputError("The parameter 'cameras' names a camera twice.")
    if not parameters.map_frame:
        raise InputError("The parameter 'map_frame' must not be empty.")


def require_settings(config: Config) -> None:
    """InputError for settings that name what is not there or cannot be: of the region, and of the files that
    are written.  Else that is said after the work."""
    from instascene_core.export.object_files import require_formats
    from instascene_core.scene.region import box_of_region

    box_of_region(config.region)
    require_formats(config.export)


def all_values(parameters: NodeParameters, config: Config) -> dict[str, Any]:
    """Every parameter by its ROS name, as ROS holds it."""
    values = {k.removeprefix("input."): plain(v) for k, v in settings_of(parameters).items()}
    values.update({k: plain(v) for k, v in settings_of(config).items()})
    return values


def given_values(node) -> dict[str, Any]:
    """The values of a node's parameters by name, as it was started with them."""
    return {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()}


# Told the new values, and in words what has changed and from when on.
OnChange = Callable[[NodeParameters, Config, str], None]


def declare_parameters(node, on_change: OnChange | None = None) -> tuple[NodeParameters, Config]:
    """Read a node's parameter overrides and declare every parameter with its value.

    on_change: called for changes while the node runs; without it none is taken.

    The node is made with `automatically_declare_parameters_from_overrides=True`, so that what was
    given is known by name, known to us or not.
    """
    given = given_values(node)
    parameters, config = read_parameters(given)
    for setting in (*described_settings(parameters), *described_settings(config)):
        name, value = setting.name.removeprefix("input."), plain(setting.value)
        descriptor = descriptor_of(setting, takes_effect(name) if on_change else "")
        if name in given:
            descriptor.type = node.get_parameter(name).type_.value
            node.set_descriptor(name, descriptor)
        elif value != []:  # an empty list has no ROS type
            node.declare_parameter(name, value, descriptor)
    node.add_on_set_parameters_callback(lambda changes: _change(node, changes, on_change))
    return parameters, config


def plain_parameters(node, defaults: Any) -> Any:
    """The parameters of a node that has nothing but those of the dataclass `defaults`, which are declared.

    The node is made with `automatically_declare_parameters_from_overrides=True`.  Raises InputError.
    """
    given = {
        name: value
        for name, value in given_values(node).items()
        if not name.startswith(FOREIGN_PREFIXES) and value is not None
    }
    parameters = config_with(defaults, given)
    for name, value in settings_of(parameters).items():
        if name not in given:
            node.declare_parameter(name, plain(value))
    return parameters


def descriptor_of(setting: Setting, effect: str = "") -> ParameterDescriptor:
    """What `ros2 param describe` tells of a setting.

    effect: from when on a new value holds; "" = read-only.
    """
    constraints = f"A new value holds {effect}." if effect else RESTART
    descriptor = ParameterDescriptor(
        description=meaning(setting), additional_constraints=constraints, read_only=not effect
    )
    if setting.range is None or isinstance(setting.value, bool):
        return descriptor
    low, high = setting.range.low, setting.range.high
    if isinstance(setting.value, int):
        whole = IntegerRange(from_value=int(max(low, -MAX_INT)), to_value=int(min(high, MAX_INT)))
        descriptor.integer_range = [whole]
    elif isinstance(setting.value, float):
        limit = sys.float_info.max
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=max(low, -limit), to_value=min(high, limit))
        ]
    return descriptor


def _change(node, changes: Sequence[Parameter], on_change: OnChange | None) -> SetParametersResult:
    """Take the changes, all or none; the reason why not in one sentence."""
    own = {p.name: p.value for p in changes if not p.name.startswith(FOREIGN_PREFIXES)}
    fixed = [name for name in own if on_change is None or not takes_effect(name)]
    if fixed:
        return SetParametersResult(successful=False, reason=f"'{fixed[0]}': {RESTART}")
    if own and on_change is not None:
        try:
            parameters, config = read_parameters({**given_values(node), **own})
            require_settings(config)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        words = (f"{name} = {value}: holds {takes_effect(name)}" for name, value in own.items())
        on_change(parameters, config, "; ".join(words))
    return SetParametersResult(successful=True)
