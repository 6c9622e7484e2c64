"""The files in deploy/: valid by their schemas, consistent with each other and with the service."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from prometheus_client.parser import text_string_to_metric_families

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.cli.app import COMMANDS
from service.http.metrics import Metrics
from service.settings import Settings
from tests.fixtures.engine import make_data_folder

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
KUSTOMIZED = (
    "base",
    *(f"overlays/{name}" for name in ("ingress", "postgres", "cluster", "objects")),
)
CUSTOM = {"ServiceMonitor"}  # of operators, whose schemas are not Kubernetes' own


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def build(folder: Path) -> list[dict[str, Any]]:
    """Return the resources of a kustomization, with its patches applied, as kustomize does."""
    about = yaml.safe_load((folder / "kustomization.yaml").read_text())
    resources: list[dict[str, Any]] = []
    for name in about["resources"]:
        path = folder / name
        if path.is_dir():
            resources += build(path)
        else:
            resources += [each for each in yaml.safe_load_all(path.read_text()) if each]
    for patch in about.get("patches", []):
        target = patch["target"]
        (found,) = (
            each
            for each in resources
            if (each["kind"], each["metadata"]["name"]) == (target["kind"], target["name"])
        )
        jsonpatch.apply_patch(found, yaml.safe_load(patch["patch"]), in_place=True)
    return resources


def pods(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in resources:
        if each["kind"] in ("Deployment", "StatefulSet"):
            yield each["spec"]["template"]


def containers(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for pod in pods(resources):
        yield from pod["spec"].get("initContainers", [])
        yield from pod["spec"]["containers"]


def test_the_compose_file_keeps_the_specification() -> None:
    jsonschema.validate(compose(), get_builtin_schema("vendor.compose-spec"))


@pytest.mark.parametrize(
    ("pattern", "schema"),
    [
        ("CITATION.cff", "vendor.citation-file-format"),
        (".github/ISSUE_TEMPLATE/[!c]*.yml", "vendor.github-issue-forms"),
        (".github/ISSUE_TEMPLATE/config.yml", "vendor.github-issue-config"),
        (".github/workflows/*.yml", "vendor.github-workflows"),
    ],
)
def test_files_of_the_repository_keep_their_schemas(pattern: str, schema: str) -> None:
    paths = sorted(DEPLOY.parent.glob(pattern))
    assert paths
    for path in paths:
        document = yaml.safe_load(path.read_text())
        if True in document:  # YAML 1.1 takes the key `on` of a workflow for a truth value
            document["on"] = {key: value or {} for key, value in document.pop(True).items()}
        jsonschema.validate(document, get_builtin_schema(schema))


def test_the_image_file_has_no_findings() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DEPLOY.parent / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_kubernetes_resources_keep_their_schemas(folder: str) -> None:
    resources = build(DEPLOY / "kubernetes" / folder)
    for each in resources:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, "1.34", strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in resources]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_what_kubernetes_resources_name_exists(folder: str) -> None:
    resources = build(DEPLOY / "kubernetes" / folder)
    named = {(each["kind"], each["metadata"]["name"]) for each in resources}
    labels = [pod["metadata"]["labels"] for pod in pods(resources)]
    ports = {port["name"] for each in containers(resources) for port in each.get("ports", [])}
    for each in containers(resources):
        for source in each.get("envFrom", []):
            assert ("ConfigMap", source.get("configMapRef", {}).get("name")) in named or (
                "Secret",
                source.get("secretRef", {}).get("name"),
            ) in named
    for pod in pods(resources):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        for volume in pod["spec"].get("volumes", []):
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or ("PersistentVolumeClaim", claim["claimName"]) in named
        made = {
            claim["metadata"]["name"]
            for each in resources
            if each["kind"] == "StatefulSet"
            for claim in each["spec"]["volumeClaimTemplates"]
        }
        for each in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            assert {mount["name"] for mount in each["volumeMounts"]} <= volumes | made
    for each in resources:
        if each["kind"] == "Service":
            selector = each["spec"]["selector"]
            assert any(selector.items() <= found.items() for found in labels), selector
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports


@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_pods_are_restricted_and_bounded(folder: str) -> None:
    resources = build(DEPLOY / "kubernetes" / folder)
    for pod in pods(resources):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(resources):
        context = each["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in each["resources"]["limits"]
        assert "/tmp" in {mount["mountPath"] for mount in each["volumeMounts"]}  # noqa: S108


def test_every_setting_that_the_files_name_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"PEAR_{name.upper()}" for name in Settings.model_fields}
    known |= {"PEAR_CACHE"}  # of the compiled kernels
    known |= {"PEAR_STORE", "PEAR_STORE_CACHE_BYTES"}  # of every process, not of the service alone
    text = "\n".join(
        path.read_text()
        for path in DEPLOY.rglob("*")
        if path.suffix in (".yaml", ".example") and "handbook" not in path.parts
    )
    assert set(re.findall(r"PEAR_[A-Z_]+", text)) <= known
    for resource in build(DEPLOY / "kubernetes" / "overlays" / "cluster"):
        for name, value in resource.get("data", {}).items():
            monkeypatch.setenv(name, value)
    settings = Settings.read(None)
    assert settings.keys_required
    assert settings.scheduler == "tcp://scheduler:8786"


def test_every_command_that_the_files_give_exists() -> None:
    services = compose()["services"].values()
    words = [each["command"] for each in services if "entrypoint" not in each and "command" in each]
    resources = build(DEPLOY / "kubernetes" / "overlays" / "cluster")
    words += [each["args"] for each in containers(resources) if "args" in each]
    assert words
    assert {each[0] for each in words} <= set(COMMANDS)


def fill_command(root: Path) -> list[str]:
    fill = compose()["services"]["fill"]
    return [*fill["entrypoint"], fill["command"][0].replace("/data", str(root))]


def test_a_folder_that_holds_data_is_not_filled_again(tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    before = sorted(path for path in data.root.rglob("*"))
    subprocess.run(fill_command(data.root), check=True, env={"PATH": "/usr/bin:/bin"}, timeout=20)
    assert sorted(path for path in data.root.rglob("*")) == before
    serve = build(DEPLOY / "kubernetes" / "base")
    (first,) = (each for each in containers(serve) if each["name"] == "fill")
    assert first["command"] == [
        part.replace(str(data.root), "/data") for part in fill_command(data.root)
    ]


@pytest.mark.nightly
def test_the_compose_file_s_steps_run_as_processes(tmp_path: Path) -> None:
    """On an empty host ``docker compose up`` fills, serves, and shows the page without a key."""
    root = tmp_path / "data"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    serve = compose()["services"]["serve"]
    environment = {"PATH": path, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for name, value in serve["environment"].items():
        environment[name] = re.sub(r"\$\{\w+:-(.*)\}", r"\1", value).replace("/data", str(root))
    subprocess.run(fill_command(root), check=True, env=environment, timeout=900)
    words = ["pear", *(str(word).replace("/data", str(root)) for word in serve["command"])]
    words[words.index("8000")] = "8765"
    process = subprocess.Popen(words, env=environment)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:8765/readyz", timeout=4) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.5)
        with urllib.request.urlopen("http://127.0.0.1:8765/", timeout=10) as page:
            assert b"<html" in page.read()
        with urllib.request.urlopen("http://127.0.0.1:8765/v1/forecasts", timeout=10) as runs:
            assert json.load(runs)["items"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
        shutil.rmtree(root)


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    dashboard = json.loads((DEPLOY / "monitoring" / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def test_alerts_and_panels_ask_for_metrics_that_exist(tmp_path: Path) -> None:
    data = DataFolder.create(tmp_path / "data")
    metrics = Metrics()
    with Catalog(data.catalog_url) as catalog:
        metrics.add_catalog(catalog)
        metrics.observe("GET", "/v1/forecasts", 200, 0.1)
        families = list(text_string_to_metric_families(metrics.exposition().decode()))
    known = {family.name for family in families} | {
        sample.name for family in families for sample in family.samples
    }
    asked = set[str]()
    for expression in expressions():
        promql_parser.parse(expression)
        asked |= set(re.findall(r"\bpear_\w+", expression))
    assert asked <= known
    assert {"pear_queue_depth", "pear_jobs", "pear_failed"} <= asked


def test_a_wrong_expression_is_found() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("sum(rate(pear_jobs[5m])")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEAR_CATALOG", "")
    assert Settings.read(Path("data")).catalog is None
    monkeypatch.setenv("PEAR_DATA", "")
    with pytest.raises(InputError, match="no data folder is given"):
        Settings.read(None)
