"""Manifests hold what KubeRay, Ray Serve and our own commands take, and agree with one another."""

import copy
import re
import shlex
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import yaml

from docsite.commands import parser_of
from server.settings.settings import Settings

with warnings.catch_warnings():  # importing Ray Serve warns of its own use of pydantic
    warnings.simplefilter("ignore")
    from ray.serve.schema import ServeDeploySchema

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
SCHEMA = yaml.safe_load((Path(__file__).parent / "kuberay.yaml").read_text())
DOCUMENTS = [
    pytest.param(document, id=f"{path.name}-{document['kind']}-{document['metadata']['name']}")
    for path in sorted((DEPLOY / "kuberay").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def check(document):
    schema = SCHEMA | {"$ref": f"#/$defs/{document['kind']}"}
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)


def of_kind(kind):
    (found,) = [one.values[0] for one in DOCUMENTS if one.values[0]["kind"] == kind]
    return found


def service_config():
    return yaml.safe_load(of_kind("RayService")["spec"]["serveConfigV2"])


def clusters():
    yield of_kind("RayService")["spec"]["rayClusterConfig"]
    yield of_kind("RayJob")["spec"]["rayClusterSpec"]


def templates(cluster):
    yield cluster["headGroupSpec"]["template"]
    yield from (group["template"] for group in cluster["workerGroupSpecs"])


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_manifest_is_what_its_kind_takes(document):
    check(document)


def edited(path, value):
    document = copy.deepcopy(of_kind("RayService"))
    place = document
    *steps, last = path
    for step in steps:
        place = place[step]
    place[last] = value
    return document


CLUSTER = ("spec", "rayClusterConfig")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "serveConfig"), "applications: []"),
        ((*CLUSTER, "authOptions", "mode"), "tokens"),
        ((*CLUSTER, "workerGroupSpecs", 0, "replicas"), "2"),
        ((*CLUSTER, "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        ((*CLUSTER, "headGroupSpec", "template", "spec", "containers", 0, "imagee"), "x"),
        ((*CLUSTER, "headGroupSpec", "template", "spec", "containers", 0, "env", 0, "value"), 1),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_check_refuses_what_a_cluster_would(path, value):
    with pytest.raises(jsonschema.ValidationError):
        check(edited(path, value))


@pytest.mark.parametrize("where", ["serve.yaml", "rayservice.yaml"])
def test_serve_takes_the_application_and_the_server_its_settings(where):
    config = (
        service_config()
        if where == "rayservice.yaml"
        else yaml.safe_load((DEPLOY / "ray" / where).read_text())
    )
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.import_path == "server.cluster.app:app"
    settings = dict(application.args, job_database="postgresql://egopack@db/jobs")
    assert Settings(**settings).encoders >= 1
    tuned = {one.name: one.user_config for one in application.deployments}
    assert tuned["Front"] == tuned["Encoder"]  # one bundle, named in both


def test_the_service_has_room_for_what_it_asks():
    """As many front ends as pods for them, and no more encoders than pods with a GPU."""
    arguments = service_config()["applications"][0]["args"]
    groups = {
        g["groupName"]: g
        for g in of_kind("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    }
    assert groups["front-ends"]["minReplicas"] >= arguments["front_ends"]
    assert groups["encoders"]["minReplicas"] == arguments["encoders"]
    assert groups["encoders"]["maxReplicas"] == arguments["max_encoders"]


def test_pods_are_given_longer_than_the_server_takes_to_stop():
    settings = Settings()
    needed_s = settings.drain_delay_s + settings.shutdown_timeout_s
    workers = of_kind("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for worker in workers:
        assert worker["template"]["spec"]["terminationGracePeriodSeconds"] > needed_s


def test_clusters_ask_for_a_token_and_run_the_ray_that_is_pinned():
    for cluster in clusters():
        assert cluster["authOptions"] == {"mode": "token"}
        assert cluster["rayVersion"] == version("ray")


def test_pods_are_not_root_and_hold_no_secret_in_the_open():
    for cluster in clusters():
        for template in templates(cluster):
            (container,) = template["spec"]["containers"]
            assert container["securityContext"]["runAsNonRoot"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            for variable in container["env"]:
                is_secret = re.search(r"KEY|DATABASE|TOKEN|PASSWORD", variable["name"])
                assert not is_secret or "valueFrom" in variable or variable["name"].endswith("FILE")
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}


def test_pods_are_probed_without_a_tool_that_the_image_lacks():
    """KubeRay's own probes call wget."""
    for cluster in clusters():
        for template in templates(cluster):
            (container,) = template["spec"]["containers"]
            assert "httpGet" in container["livenessProbe"]
            assert "httpGet" in container["readinessProbe"]


def test_budgets_cover_the_pods_that_there_are():
    cluster = of_kind("RayService")["spec"]["rayClusterConfig"]
    labels = [t["metadata"]["labels"] for t in templates(cluster) if "metadata" in t]
    budgets = [d.values[0] for d in DOCUMENTS if d.values[0]["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == len(labels)
    for budget in budgets:
        assert budget["spec"]["selector"]["matchLabels"] in labels


def test_the_job_runs_commands_that_their_parsers_take():
    shell, flag, script = shlex.split(of_kind("RayJob")["spec"]["entrypoint"])
    assert (shell, flag) == ("sh", "-c")
    for command in script.split("&&"):
        python, dash, module, *arguments = shlex.split(command)
        assert (python, dash) == ("python", "-m")
        parser, rest = parser_of(module, tuple(arguments))
        parser.parse_args(rest)


def test_the_pinned_ray_is_one_the_package_admits():
    from packaging.requirements import Requirement

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (wanted,) = [r for r in map(Requirement, extras["scale"]) if r.name == "ray"]
    assert wanted.specifier.contains(version("ray"))


def test_idle_connections_stay_open_for_as_long_as_without_a_manifest():
    alone = yaml.safe_load((DEPLOY / "ray" / "serve.yaml").read_text())
    for config in (alone, service_config()):
        kept = ServeDeploySchema.model_validate(config).http_options.keep_alive_timeout_s
        assert kept == Settings.model_fields["keep_alive_s"].default
