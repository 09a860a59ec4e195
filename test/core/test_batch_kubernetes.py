"""docs/kuberay.yaml: what it runs is a command, and every task fits into a pod."""

import re
import shlex
from pathlib import Path

import pytest
import tyro
import yaml

from instascene_core import cli
from instascene_core.verbs.batch import Batch, batch_config

ROOT = Path(__file__).resolve().parents[2]
GIB = {"Gi": 1.0, "Mi": 1 / 1024}


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict]:
    loaded = yaml.safe_load_all((ROOT / "docs" / "kuberay.yaml").read_text())
    return {manifest["kind"]: manifest for manifest in loaded}


def pods(job: dict) -> dict[str, dict]:
    cluster = job["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"], **groups}


def verb(job: dict) -> Batch:
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[0] == "instascene"
    return tyro.extras.subcommand_cli_from_dict(cli.VERBS, args=words[1:], prog="instascene")


def test_the_job_is_of_kuberay_and_runs_our_command(manifests):
    job = manifests["RayJob"]
    assert job["apiVersion"] == "ray.io/v1" and set(manifests) == {"RayJob", "PersistentVolumeClaim"}
    command = verb(job)
    assert isinstance(command, Batch) and command.address == "auto"
    locked = re.search(r"^ray==(.*)$", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert locked and job["spec"]["rayClusterSpec"]["rayVersion"] == locked[1]


def test_all_pods_share_input_and_output(manifests):
    claim, command = manifests["PersistentVolumeClaim"], verb(manifests["RayJob"])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    images = set()
    for group in pods(manifests["RayJob"]).values():
        (container,) = group["template"]["spec"]["containers"]
        (mount,) = container["volumeMounts"]
        (volume,) = group["template"]["spec"]["volumes"]
        assert mount["name"] == volume["name"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        for path in (command.input, command.output):
            assert path.is_relative_to(mount["mountPath"])
        images.add(container["image"])
    assert len(images) == 1  # the worker refuses other code than the driver's


def test_every_task_fits_into_a_pod_of_workers(manifests):
    groups = pods(manifests["RayJob"])
    assert groups.pop("head")["rayStartParams"]["num-cpus"] == "0"
    wanted = batch_config(verb(manifests["RayJob"]).resources)
    for stage in ("look", "reconstruct", "segment", "complete", "finish"):
        asked, fits = getattr(wanted, stage), False
        for group in groups.values():
            limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
            memory = float(limits["memory"][:-2]) * GIB[limits["memory"][-2:]]
            # Ray gives tasks 70 % of a pod's memory.
            fits |= asked.cpus <= float(limits["cpu"]) and asked.memory_gb <= 0.7 * memory
        assert fits, stage
