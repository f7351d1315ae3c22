"""The KubeRay manifest of docs/cluster.md: RayJob's own fields by a schema, pods by Kubernetes'."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class HeadGroup(Closed):
    rayStartParams: dict[str, str]
    template: dict[str, Any]


class WorkerGroup(HeadGroup):
    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int


class RayCluster(Closed):
    rayVersion: str
    enableInTreeAutoscaling: bool
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]


class RayJobSpec(Closed):
    """Of KubeRay's API reference (ray.io/v1), the fields that the manifest uses."""

    entrypoint: str
    runtimeEnvYAML: str
    shutdownAfterJobFinishes: bool
    backoffLimit: int
    rayClusterSpec: RayCluster


def manifest():
    text = (ROOT / "nucleus_data/docs/cluster.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def test_the_manifest_is_a_ray_job_of_valid_pods():
    found = manifest()
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", "RayJob")
    spec = RayJobSpec.model_validate(found["spec"])
    cluster = spec.rayClusterSpec
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group.template}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    assert yaml.safe_load(spec.runtimeEnvYAML) == {"working_dir": "/app"}


@pytest.mark.slow
def test_the_manifest_runs_a_pipeline_with_this_ray():
    spec = manifest()["spec"]
    assert spec["entrypoint"].startswith(
        "python -m pipelines.all --config configs/full/recipe.yaml "
    )
    version = spec["rayClusterSpec"]["rayVersion"]
    assert f'"ray[default]=={version}"' in (ROOT / "pyproject.toml").read_text()
