"""Dockerfile, compose.yaml, examples/deploy: extras and options that exist, times and sizes that fit the server's."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest
import typer
from cinemae.runtime.cli import serve, watch
from cinemae.runtime.serve.options import Limits, ServeOptions

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "examples" / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
DEPLOYMENT, SERVICE = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
POD = DEPLOYMENT["spec"]["template"]["spec"]
UNIT = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "cinemae.service").read_text("utf-8"), re.MULTILINE))
NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
COMMANDS = {
    "Dockerfile": json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[-1]),
    "kubernetes": POD["containers"][0]["args"],
    "systemd": shlex.split(UNIT["ExecStart"])[1:],
    **{f"compose {name}": service["command"] for name, service in COMPOSE.items()},
}


def parsed(arguments: list[str]) -> dict[str, object]:
    """The options of a command line, as text; an unknown option is an error."""
    command = typer.main.get_command({"serve": serve, "watch": watch}[arguments[0]].app)
    return command.make_parser(command.context_class(command)).parse_args(arguments[1:])[0]


@pytest.mark.parametrize("where", COMMANDS)
def test_options_exist(where):
    parsed(COMMANDS[where])


def test_extras_exist():
    texts = (DOCKERFILE, (ROOT / "docs" / "containers.md").read_text("utf-8"))
    named = {extra for text in texts for group in re.findall(r"EXTRAS=([\w,-]+)", text) for extra in group.split(",")}
    assert {"cpu", "gpu", "tensorrt-cu12"} <= named <= set(metadata("cinemae").get_all("Provides-Extra"))


@pytest.mark.parametrize(
    ("where", "grace"),
    [
        ("compose server", COMPOSE["server"]["stop_grace_period"]),
        ("kubernetes", POD["terminationGracePeriodSeconds"]),
        ("systemd", UNIT["TimeoutStopSec"]),
    ],
)
def test_a_server_may_finish_what_has_arrived(where, grace):
    drain = float(parsed(COMMANDS[where]).get("drain", ServeOptions.drain))
    assert float(str(grace).rstrip("s")) > ServeOptions(drain=drain).stops_within


def test_nginx_passes_what_the_server_takes():
    limits, value = Limits(), dict(re.findall(r"(\w+) (\d+)[ms];", NGINX))
    assert float(value["client_max_body_size"]) == limits.max_body_mb
    assert float(value["client_body_timeout"]) == limits.read_timeout
    assert float(value["proxy_read_timeout"]) > limits.read_timeout + limits.request_timeout


def test_nothing_is_writable_or_privileged():
    context, container = POD["securityContext"], POD["containers"][0]["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] == int(re.search(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)[1])
    assert container["readOnlyRootFilesystem"]
    for contained in COMPOSE.values():
        assert contained["read_only"]
        assert contained["cap_drop"] == ["ALL"] == container["capabilities"]["drop"]


def test_the_manifest_fits_the_schema_of_kubernetes():
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs pip install kubernetes-validate")
    for resource in (DEPLOYMENT, SERVICE):
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
