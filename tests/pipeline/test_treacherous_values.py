"""A value reaches the container as it was written, wherever it can be, and `gitops-ml run` gives the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.documents.yaml_reader import load_all_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.runtime import serve
from tests.support.manifest_parts import IMAGE, remote, sidecar, trigger
from tests.support.pipeline import CHART, api, errors_of, helm, rendered, resolved

if TYPE_CHECKING:
    from tests.support.pipeline import Rendered

TEXTS = (
    "", " ", "  lead", "trail  ", "\t", "a\tb", "\n", "a\n", "a\n\n", "\na", "a\nb", "a\n  b\n c\n", "a\r\nb",
    "$", "$$", "$$$", "a$", "$(A)", "$$(A)", "$$$(A)", "$(A", "$()", "$($(A))", "${A}", "$A", "$$A", "^pa$$word$",
    "$(HOME)/x", "($)", "$ (A)",
    "=", "<<", "<<: *a", "<", "~", "null", "Null", "true", "False", "yes", "No", "on", "y",
    "0", "007", "0o17", "0x1F", "0b1", "1_000", "1e3", "1.0", "-0", ".5", "+1", ".inf", "NaN", "12:30", "12:30:45",
    "2024-01-31", "2024-01-31T12:00:00Z", "9223372036854775808",
    "- a", "-", "---", "--- a", "...", "? a", ": a", "a: b", "a #b", "#", "&a", "*a", "!a", "!!str a", "|", ">", "%a",
    "@a", "`a`", "'", "''", '"', '\\', '\\n', '"a"', "'a'", "{}", "[]", "{{ .Values }}", "{{", "}}", ",", "a,b=c",
    "\x01", "\x1b[0m", "\x7f", "\x85", "\xa0", "\xad", "\u2028", "\u2029", "\ufeff", "\ufffd", "\ufffe", "\uffff",
    "é", "e\u0301", "日本語", "😀", "\U000e0001", "x" * 5000, "https://a.example/?b=c&d=<e>#f",
)  # fmt: skip
"""More than sixty texts that a template, a reader of YAML or Kubernetes may take for something else."""
NUMBERS: tuple[Any, ...] = (
    1.0, 0.0, -0.0, 0.1, -2.0, 1e16, 1e21, 1e22, 1e-7, 123456789.0, 1.5e300, 5e-324, 2**53, 2**53 + 1, -(10**17) - 1,
    1000000, 0, True, False, None, [2.0, 3.0], [1, 2.0], [], {}, {"a": {"b": [1.0]}}, [[1.0], [1]], {"a": None},
)  # fmt: skip
DEFINED = {"A": "expanded", "HOME": "expanded"}


def expanded(text: str) -> str:
    """What Kubernetes makes of a variable, a command or an argument (third_party/forked/golang/expansion)."""
    found, rest = "", text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        found += before
        if rest.startswith("$"):
            found, rest = found + "$", rest[1:]
        elif rest.startswith("(") and ")" in rest:
            name, _, rest = rest[1:].partition(")")
            found += DEFINED.get(name, f"$({name})")
        else:
            found += "$"
    return found + rest


@pytest.mark.parametrize(
    ("text", "becomes"),
    [("$(A)", "expanded"), ("$$(A)", "$(A)"), ("$(B)$", "$(B)$"), ("$$$", "$$"), ("$(A", "$(A")],
)
def test_the_expansion_here_is_that_of_kubernetes(text: str, becomes: str) -> None:
    assert expanded(text) == becomes


def of_predictor(value: str) -> dict[str, Any]:
    probe_key = value if value.strip() else "k"
    return api(
        predictor={
            "env": {"A": "a", "TEXT": value},
            "config": {"value": value, "list": [value, {"inner": value}], probe_key: 1},
        },
        annotations={"b.example/text": value},
        pod_annotations={"b.example/text": value},
        autoscaling={
            "triggers": [
                {
                    "type": "rabbitmq",
                    "metadata": {"queueName": value, "value": "5", "mode": "QueueLength"},
                }
            ]
        },
        secrets=[
            {
                "env": "TOKEN",
                "name": "iris",
                "key": "token",
                "remote": {"store": "vault", "key": value or "-", "property": value or "-"},
            }
        ],
    )


def of_container(value: str) -> dict[str, Any]:
    words = {"command": [value, "end"], "args": ["start", value], "env": {"A": "a", "TEXT": value}}
    checked = {"exec": {"command": ["check", value]}}
    return api(
        container={
            "image": IMAGE,
            **words,
            "readiness_probe": checked,
            "liveness_probe": checked,
            "pre_stop": checked,
            "sidecars": [
                {
                    "name": "proxy",
                    "image": IMAGE,
                    **words,
                    "readiness_probe": checked,
                    "liveness_probe": checked,
                }
            ],
        }
    )


def env_of(container: Any) -> dict[str, str]:
    return {each["name"]: expanded(each["value"]) for each in container["env"] if "value" in each}


def run_locally(words: dict[str, Any], folder: Path) -> tuple[dict[str, str], Any]:
    """The variables and the settings of `gitops-ml run`."""
    (folder / "predictor.py").write_text("")
    spec = resolved(words)
    command = serve._command(spec, folder, folder, host="127.0.0.1", port=1)
    settings = Path(command[command.index("--config") + 1]).read_text()
    return serve._env(spec), json.loads(settings)


def as_objects(release: Rendered) -> None:
    """The objects are the same in `manifest.yaml`, which is Helm's own text."""
    text = helm().manifest(
        CHART, release="iris", namespace=release.spec.namespace, values=release.values
    )
    assert load_all_yaml(text) == release.objects


@pytest.mark.parametrize("value", TEXTS, ids=ascii)
def test_a_text_reaches_the_predictor_as_it_is(value: str, tmp_path: Path) -> None:
    words = of_predictor(value)
    text = write_yaml([words])
    assert not list(errors_of(text))
    release = rendered(text)
    as_objects(release)
    variables, settings = run_locally(words, tmp_path)
    assert variables["TEXT"] == value
    assert env_of(release.container)["TEXT"] == value
    assert release.settings["config"] == settings["config"] == words["predictor"]["config"]
    assert list(release.settings["config"]) == list(settings["config"])
    for kind in ("Deployment", "Service", "ScaledObject"):
        assert release.one(kind)["metadata"]["annotations"]["b.example/text"] == value
    pods = release.one("Deployment")["spec"]["template"]["metadata"]
    assert pods["annotations"]["b.example/text"] == value
    assert trigger(release, "rabbitmq")["metadata"]["queueName"] == value
    (found,) = remote(release)["data"]
    assert found["remoteRef"]["key"] == found["remoteRef"]["property"] == (value or "-")


@pytest.mark.parametrize("value", TEXTS, ids=ascii)
def test_a_text_reaches_a_ready_made_container_as_it_is(value: str) -> None:
    release = rendered(write_yaml([of_container(value)]))
    as_objects(release)
    for container in (release.container, sidecar(release)):
        assert [expanded(each) for each in container["command"]] == [value, "end"]
        assert [expanded(each) for each in container["args"]] == ["start", value]
        assert env_of(container)["TEXT"] == value
        # Kubernetes expands nothing in these.
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == ["check", value]
    assert release.container["lifecycle"]["preStop"]["exec"]["command"] == ["check", value]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_a_number_in_the_config_stays_of_its_type(value: Any, tmp_path: Path) -> None:
    words = api(predictor={"config": {"value": value, "z": 1, "a": [value]}})
    release = rendered(write_yaml([words]))
    _, settings = run_locally(words, tmp_path)
    wanted = json.dumps(words["predictor"]["config"], sort_keys=True)
    assert json.dumps(release.settings["config"]) == json.dumps(settings["config"]) == wanted


def test_home_can_be_empty() -> None:
    assert env_of(rendered(api(predictor={"env": {"HOME": ""}})).container)["HOME"] == ""


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({"predictor": {"env": {"A": "a\0b"}}}, "predictor.env.A"),
        ({"container": {"image": IMAGE, "env": {"A": "\0"}}}, "container.env.A"),
        ({"container": {"image": IMAGE, "command": ["a", "\0"]}}, "container.command.1"),
        ({"container": {"image": IMAGE, "args": ["\0"]}}, "container.args.0"),
        (
            {"container": {"image": IMAGE, "sidecars": [{"name": "a", "image": IMAGE, "args": ["\0"]}]}},
            "container.sidecars.0.args.0",
        ),
        (
            {"container": {"image": IMAGE, "pre_stop": {"exec": {"command": ["a", "\0"]}}}},
            "container.pre_stop.exec.command.1",
        ),
    ],
)  # fmt: skip
def test_what_no_process_can_be_given_is_refused(words: dict[str, Any], path: str) -> None:
    (wrong,) = errors_of(api(**words))
    assert ".".join(map(str, wrong.path)) == path
    assert wrong.message == "a NUL byte ends a text of the operating system; remove it"
