"""What is installed, what is missing, and what to do about it."""

import importlib
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass

from instascene_core.errors import InputError


@dataclass(frozen=True)
class Finding:
    """One line of `instascene doctor`."""

    part: str
    found: bool
    required: bool
    version: str
    advice: str


# (module, distribution names, required, what it is for and how to get it)
LIBRARIES = (
    ("torch", ("torch",), True, "pip install torch"),
    ("numpy", ("numpy",), True, "pip install numpy"),
    ("scipy", ("scipy",), True, "pip install scipy"),
    ("skimage", ("scikit-image",), True, "pip install scikit-image"),
    ("PIL", ("pillow",), True, "pip install pillow"),
    ("yaml", ("PyYAML",), True, "pip install PyYAML"),
    ("pydantic", ("pydantic",), True, "pip install pydantic"),
    ("sklearn", ("scikit-learn",), True, "pip install scikit-learn"),
    ("open3d", ("open3d-cpu", "open3d"), True, "pip install open3d-cpu libusb-package"),
    ("trimesh", ("trimesh",), True, "pip install trimesh"),
    ("manifold3d", ("manifold3d",), True, "pip install manifold3d"),
    ("xatlas", ("xatlas",), True, "textures: pip install xatlas"),
    ("safetensors", ("safetensors",), True, "pip install safetensors"),
    ("diffusers", ("diffusers",), False, "completion.prior multiview: pip install diffusers"),
    ("cv2", ("opencv-python-headless", "opencv-python"), True, "pip install opencv-python-headless"),
    ("pycolmap", ("pycolmap",), False, "images without depth or poses: pip install pycolmap"),
    ("rosbags", ("rosbags",), False, "reading rosbag2 without ROS: pip install rosbags"),
    ("mujoco", ("mujoco",), False, "procedural scenes: pip install 'instascene[synthetic]'"),
    ("viser", ("viser",), False, "instascene view in 3D: pip install 'instascene[viewer]'"),
    ("pxr", ("usd-core",), False, "export to USD: pip install 'instascene[usd]'"),
    ("ray", ("ray",), False, "instascene batch: pip install 'instascene[batch]'"),
    ("pyarrow", ("pyarrow",), False, "the table of instascene batch: pip install 'instascene[batch]'"),
    ("rerun", ("rerun-sdk",), False, "run --rerun: pip install 'instascene[rerun]'"),
)
# (segmenter of public weights, library, how to get that, where the weights go)
SEGMENTERS = (
    ("mask2former", "transformers", "pip install 'instascene[segmenters]'",
     "segmentation.public.checkpoint=FOLDER with config.json and model.safetensors, "
     "e.g. facebook/mask2former-swin-large-coco-instance"),
    ("sam2", "transformers", "pip install 'instascene[segmenters]'",
     "segmentation.public.checkpoint=FOLDER with config.json and model.safetensors, "
     "e.g. facebook/sam2.1-hiera-small"),
    ("cropformer", "detectron2", "install detectron2 from github.com/facebookresearch/detectron2",
     "segmentation.public.cropformer.root=Entityv2/CropFormer of a checkout of github.com/qqlu/Entity, "
     "segmentation.public.checkpoint=its .pth file"),
)  # fmt: skip
ROS_PACKAGES = (
    ("rclpy", "source a ROS 2 Jazzy installation, or run `make setup`"),
    ("instascene", "the generated interfaces: run `colcon build` and source install/setup.bash"),
    ("cv_bridge", "optional, adds Bayer and YUV images: apt install ros-$ROS_DISTRO-cv-bridge"),
    ("tf2_ros", "optional, poses and clicked points through tf: apt install ros-$ROS_DISTRO-tf2-ros-py"),
    ("tf_transformations", "optional: apt install ros-$ROS_DISTRO-tf-transformations"),
    ("moveit_msgs", "optional, for the topic collision_objects: apt install ros-$ROS_DISTRO-moveit-msgs"),
    ("vision_msgs", "optional, for the topic detections: apt install ros-$ROS_DISTRO-vision-msgs"),
)


def examine() -> list[Finding]:
    """Look at every part; of the libraries only torch is imported."""
    findings = [_kernel(), _cuda()]
    for module, distributions, required, advice in LIBRARIES:
        found = importlib.util.find_spec(module) is not None
        findings.append(Finding(module, found, required, _version(distributions), advice))
    for name, library, advice, weights in SEGMENTERS:
        found = importlib.util.find_spec(library) is not None
        version = f"{library} {_version((library,))}; weights: {weights}" if found else ""
        findings.append(
            Finding(f"masks: {name}", found, False, version, f"optional: {advice}; then {weights}")
        )
    for module, advice in ROS_PACKAGES:
        found = importlib.util.find_spec(module) is not None
        findings.append(Finding(f"ROS: {module}", found, False, _version((module,)), advice))
    return findings


def _kernel() -> Finding:
    advice = "build it: `make setup` in a clone, or `pip install .`"
    try:
        from instascene_core.rendering.library import kernel

        name = kernel().isk_instruction_set().decode()
        return Finding("C++ kernel", True, True, f"{name}, {os.cpu_count()} CPUs", advice)
    except (InputError, ImportError) as error:  # the latter without torch
        return Finding("C++ kernel", False, True, "", f"{advice} ({error})")


def _cuda() -> Finding:
    advice = "none needed: the CPU kernel computes"
    try:
        from instascene_core.rendering.cuda import GSPLAT_VERSION, cuda_problem
        from instascene_core.rendering.device import device_name
    except ImportError:  # without torch
        return Finding("CUDA GPU", False, False, "", advice)
    import torch

    if problem := cuda_problem():
        return Finding("CUDA GPU", False, False, "", f"{advice} ({problem})")
    name = device_name(torch.device("cuda"))
    return Finding("CUDA GPU", True, False, f"{name}, gsplat {GSPLAT_VERSION}", advice)


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
