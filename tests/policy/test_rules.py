"""Each built-in rule: a release that breaks it, and one like it that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.rule import Side, Subject, Usage
from tests.policy.subjects import (
    PROTECTED,
    broken,
    findings,
    plain,
    project,
    ready_made,
    side,
    subject,
)
from tests.support.pipeline import DIGEST, api, merged

Objects = dict[str, Any]
Case = tuple[str, str, "Callable[[], bool]"]
CASES: list[tuple[str, str, Callable[[], set[str]], bool]] = []
CLEAN = {"single-replica"}
"""What a plain release breaks: a note."""


def case(rule: str, what: str, *, breaks: bool) -> Callable[[Callable[[], Any]], Any]:
    def register(made: Callable[[], Any]) -> Any:
        CASES.append((rule, what, made, breaks))
        return made

    return register


def of(after: Side, before: Side | None = None, **changes: Any) -> Callable[[], set[str]]:
    return lambda: broken(subject(before, after, **changes))


def both(rule: str, what: str, bad: Callable[[], Any], good: Callable[[], Any]) -> None:
    case(rule, what, breaks=True)(bad)
    case(rule, f"{what}, repaired", breaks=False)(good)


def releases(rule: str, what: str, bad: Any, good: Any, **changes: Any) -> None:
    """Two new releases: each the fields of a manifest, or a function that makes the side."""

    def answer(each: Any) -> Callable[[], set[str]]:
        return lambda: broken(subject(None, each() if callable(each) else side(each), **changes))

    both(rule, what, answer(bad), answer(good))


def rendered(rule: str, what: str, edit: Callable[[Any], Any], words: Any = None) -> None:
    """A rule that an edit of the rendered objects breaks, and that the chart keeps."""

    def bad() -> set[str]:
        return broken(subject(None, side(words, objects=edit)))

    both(rule, what, bad, lambda: broken(subject(None, side(words))))


def pod(objects: Objects) -> Any:
    return objects["Deployment"]["spec"]["template"]["spec"]


def main(objects: Objects) -> Any:
    return pod(objects)["containers"][0]


# -- pods --------------------------------------------------------------------------------------------

for field in ("hostNetwork", "hostPID", "hostIPC"):
    rendered("pod-security", field, lambda o, f=field: pod(o).update({f: True}))
CONTEXT: dict[str, Any] = {
    "privileged": True,
    "allowPrivilegeEscalation": True,
    "runAsNonRoot": False,
    "runAsUser": 0,
    "procMount": "Unmasked",
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    "seccompProfile": {"type": "Unconfined"},
    "appArmorProfile": {"type": "Unconfined"},
    "seLinuxOptions": {"type": "spc_t"},
    "windowsOptions": {"hostProcess": True},
}
for field, value in CONTEXT.items():
    rendered(
        "pod-security",
        f"{field} of a container",
        lambda o, f=field, v=value: main(o)["securityContext"].update({f: v}),
    )
rendered(
    "pod-security",
    "capabilities that are kept",
    lambda o: main(o)["securityContext"].update(capabilities={}),
)
rendered(
    "pod-security",
    "a folder of the node",
    lambda o: pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
)
rendered("pod-security", "a port of the node", lambda o: main(o)["ports"][0].update(hostPort=8080))
rendered(
    "pod-security",
    "a sysctl that is not safe",
    lambda o: pod(o)["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
)
rendered(
    "pod-security",
    "no seccomp profile anywhere",
    lambda o: (
        pod(o)["securityContext"].pop("seccompProfile", None),
        [c["securityContext"].pop("seccompProfile", None) for c in pod(o)["containers"]],
    ),
)
rendered(
    "pod-security",
    "a probe of another host",
    lambda o: main(o).update(livenessProbe={"httpGet": {"host": "10.0.0.1", "port": 1}}),
)
rendered("resource-bounds", "no requests", lambda o: main(o)["resources"].pop("requests"))
rendered("resource-bounds", "no limit of memory", lambda o: main(o)["resources"].pop("limits"))
releases(
    "memory-overcommit",
    "eight times",
    api(compute={"mem": "1Gi", "mem_limit": "8Gi"}),
    api(compute={"mem": "2Gi", "mem_limit": "8Gi"}),
)

# -- images ------------------------------------------------------------------------------------------


def sidecar(image: str) -> Any:
    return ready_made(sidecars=[{"name": "proxy", "image": image, "cpu": "100m", "mem": "64Mi"}])


releases(
    "image-digest",
    "a sidecar by tag",
    sidecar("ghcr.io/acme/proxy:1"),
    sidecar(f"ghcr.io/acme/proxy@{DIGEST}"),
)


def by_tag(environment: str = "production") -> Side:
    made = side(environment=environment)
    return replace(made, image=replace(made.image, digest=None))


releases("by-tag", "a protected environment", by_tag, lambda: by_tag("staging"))
releases(
    "pinned-base",
    "a base by tag",
    api(predictor={"image": "ghcr.io/acme/base:1"}),
    api(predictor={"image": f"ghcr.io/acme/base@{DIGEST}"}),
)
releases(
    "dirty-release",
    "files that no commit holds",
    lambda: replace(plain(), origin={"dirty": True}),
    lambda: replace(plain(), origin={"dirty": False}),
)

# -- availability ------------------------------------------------------------------------------------

PROBE = {"httpGet": {"path": "/health", "port": 8080}}
releases(
    "probe-arithmetic",
    "liveness asks what readiness asks",
    ready_made(readiness_probe=PROBE, liveness_probe=PROBE),
    ready_made(readiness_probe=PROBE, liveness_probe={"httpGet": {"path": "/live", "port": 8080}}),
)
releases(
    "probe-arithmetic",
    "an impatient liveness probe",
    ready_made(
        readiness_probe=PROBE, liveness_probe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    ),
    ready_made(
        readiness_probe=PROBE, liveness_probe={"tcpSocket": {"port": 8080}, "periodSeconds": 10}
    ),
)
rendered("probe-arithmetic", "no readiness probe", lambda o: main(o).pop("readinessProbe"))
releases(
    "drain-arithmetic",
    "no delay",
    api(probes={"drain_delay": "0s"}),
    api(probes={"drain_delay": "5s"}),
)
rendered(
    "drain-arithmetic",
    "a sleep of the whole grace period",
    lambda o: (
        main(o).update(lifecycle={"preStop": {"sleep": {"seconds": 30}}}),
        pod(o).update(terminationGracePeriodSeconds=30),
    ),
)
TWO = api(autoscaling={"min_replicas": 2, "max_replicas": 4})
rendered(
    "disruption-budget",
    "a budget that allows nothing",
    lambda o: o["PodDisruptionBudget"]["spec"].update(maxUnavailable=0),
    TWO,
)
rendered(
    "disruption-budget",
    "no budget",
    lambda o: o["PodDisruptionBudget"].update(kind="Gone"),
    TWO,
)
releases("single-replica", "one in production", plain, TWO)


def on_prometheus(query: str) -> Any:
    metadata = {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": query,
        "threshold": "5",
    }
    return api(autoscaling={"triggers": [{"type": "prometheus", "metadata": metadata}]})


for query in (
    'kube_deployment_status_replicas{deployment="iris"}',
    "count(up{job='iris'})",
    "sum(kube_pod_status_ready{pod=~'iris.*'})",
):
    both(
        "self-referencing-metric",
        query,
        lambda q=query: broken(subject(None, side(on_prometheus(q)))),
        lambda: broken(subject(None, side(on_prometheus("sum(rate(gateway_requests_total[1m]))")))),
    )
ZERO = api(autoscaling={"min_replicas": 0, "scale_to_zero": "http"}, networking={"timeout": "1m"})
releases(
    "cold-start-timeout",
    "a start of ten minutes",
    ZERO,
    merged(ZERO, {"probes": {"startup": "30s"}}),
)


def recreated(strategy: str) -> Side:
    return side(merged(TWO, {"update_strategy": {"type": strategy}}))


both(
    "downtime-of-updates",
    "Recreate",
    lambda: broken(subject(side(TWO), recreated("Recreate"))),
    lambda: broken(subject(recreated("Recreate"), recreated("RollingUpdate"))),
)

# -- secrets -----------------------------------------------------------------------------------------

releases(
    "secret-in-environment",
    "a password",
    api(predictor={"env": {"DB_PASSWORD": "hunter2222"}}),
    api(predictor={"env": {"DB_HOST": "db.example"}}),
)


def coded(source: str) -> Side:
    return replace(plain(), sources={"predictor.py": source})


for what, source in {
    "a token by its shape": 'x = ["hf_' + "a1B2" * 8 + '"]\n',
    "a name": 'class P:\n    api_key = "correct horse"\n',
    "an argument": 'connect(password="correct horse")\n',
    "a header": 'HEADERS = {"Authorization": "correct horse"}\n',
    "a random text": 'SALT = "q8Zr2Lx9Vb4Nw7Tk1Yp5"\n',
}.items():
    both(
        "secret-in-code",
        what,
        lambda s=source: broken(subject(None, coded(s))),
        lambda: broken(subject(None, coded('api_key = os.environ["API_KEY"]\nname = "iris"\n'))),
    )
both(
    "secret-in-code",
    "a line that was there before",
    lambda: broken(subject(coded("x = 1\n"), coded('api_key = "correct horse"\n'))),
    lambda: broken(
        subject(coded('api_key = "correct horse"\n'), coded('api_key = "correct horse"\n'))
    ),
)
releases(
    "secret-in-code",
    "a file that is no Python",
    lambda: coded('password = "correct horse"\n'),
    lambda: coded('password = "correct horse\n'),
)

releases(
    "secret-in-code",
    "a token in a file that is no Python",
    lambda: coded('x = (\nt = "hf_' + "a1B2" * 8 + '"\n'),
    lambda: coded('x = (\nt = os.environ["T"]\n'),
)


def beside(name: str, text: str) -> Side:
    return replace(plain(), sources={name: text})


KEPT = {
    "tokenizer_config.json": '{\n  "eos_token": "<|im_end|>",\n  "pad_token": "[PAD]",\n  "token": 5\n}\n',
    "prod.yaml": "secrets: {API_KEY: {name: iris, key: api}}\npassword: ${PASSWORD}\ntoken: *other\n",
    ".env": "API_KEY=\nTOKEN_FILE=/run/token\nexport LEVEL=info\n",
    "notes.md": "The password is in the vault; see https://vault.example/iris.\n",
}
for what, (name, text) in {
    "a private key": ("creds.json", '{"key": "-----BEGIN RSA PRIVATE KEY-----\\nMIIE"}'),
    "a key of its own": ("id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n"),
    "a variable": (".env", "export DB_PASSWORD='correct horse'\n"),
    "a variable of a stage": (".env.production", "API_KEY=correct-horse\n"),
    "a field": ("config/db.yaml", "db:\n  host: db\n  password: correct horse\n"),
    "a member": ("client.json", '{\n  "client_secret": "correct horse",\n  "id": "iris"\n}\n'),
    "a table": ("app.toml", '[db]\npasswd = "correct horse"\n'),
    "a password in a URL": ("setup.sh", "curl https://ann:horse99@files.example/x\n"),
}.items():
    both(
        "secret-in-code",
        f"{what} in a file beside the code",
        lambda n=name, t=text: broken(subject(None, beside(n, t))),
        lambda: {rule for each in KEPT.items() for rule in broken(subject(None, beside(*each)))},
    )
releases(
    "secret-in-config",
    "a password for the constructor",
    api(predictor={"config": {"db": {"password": "hunter2222"}}}),
    api(predictor={"config": {"db": {"host": "db.example"}}}),
)
for what, source in {
    "a comment with code in UTF-7": "# coding: utf-7\n# +AAo-evil()\n",
    "escapes in a comment": "#!/usr/bin/python\n# -*- coding: unicode_escape -*-\n# \\nevil()\n",
    "raw escapes": "\ufeff# vim: set fileencoding=raw_unicode_escape :\n",
    "an encoding of two bytes": "# coding=UTF-16\n",
    "a carriage return": "x = 1\r# coding: utf7\r",
    "text that turns its direction": 'admin = "x\u202e \u2066# is admin\u2069 \u2066"\n',
}.items():
    both(
        "hidden-code",
        what,
        lambda s=source: broken(subject(None, coded(s))),
        lambda: broken(
            subject(
                None, coded("#!/bin/python\n# -*- coding: UTF_8 -*-\nx = 'é'\n# coding: utf-7\n")
            )
        ),
    )

# -- ownership and limits ----------------------------------------------------------------------------

LABELLED = project(checks={"required_labels": ["cost-center"]})
releases("required-labels", "a label", plain, api(labels={"cost-center": "42"}), project=LABELLED)
OWNED = project(checks={"owner_keys": ["a8r.io/owner", "owner"]})
releases("owner", "nobody", plain, api(annotations={"owner": "ann"}), project=OWNED)
GPUS = api(compute={"gpu": 1, "gpu_class": "t4"}, autoscaling={"max_replicas": 6})
LIMITED = project(checks={"limits": [{"team": "ml", "environment": "production", "gpus": 8}]})


def standing(gpus: int, **changes: Any) -> Usage:
    words = {"environment": "production", "team": "ml", "replicas": 1, "cost": None, "currency": ""}
    return Usage(**{**words, "gpus": gpus, **changes})


both(
    "usage-limit",
    "GPUs of a team",
    lambda: broken(subject(None, side(GPUS), project=LIMITED), standing=(standing(4),)),
    lambda: broken(subject(None, side(GPUS), project=LIMITED), standing=(standing(2),)),
)
both(
    "usage-limit",
    "GPUs that another team has",
    lambda: broken(subject(None, side(GPUS), project=LIMITED), standing=(standing(4),)),
    lambda: broken(
        subject(None, side(GPUS), project=LIMITED), standing=(standing(4, team="fraud"),)
    ),
)
both(
    "usage-limit",
    "a change that lowers the use",
    lambda: broken(subject(None, side(GPUS), project=LIMITED), standing=(standing(9),)),
    lambda: broken(
        subject(
            side(GPUS),
            side(merged(GPUS, {"autoscaling": {"max_replicas": 5}})),
            project=LIMITED,
        ),
        standing=(standing(9),),
    ),
)
PRICED = {
    **PROTECTED,
    "clusters": {
        "main": {
            **PROTECTED["clusters"]["main"],
            "prices": {"currency": "EUR", "cpu_hour": 1, "memory_hour": 0},
        }
    },
}


def costing(most: int) -> Any:
    return project(clusters=PRICED["clusters"], checks={"limits": [{"cost": most}]})


ONE_CPU = api(compute={"cpu": "1"}, autoscaling={"max_replicas": 2})
both(
    "usage-limit",
    "cost",
    lambda: broken(subject(None, side(ONE_CPU, project=costing(1000)), project=costing(1000))),
    lambda: broken(subject(None, side(ONE_CPU, project=costing(2000)), project=costing(2000))),
)


def quota(most: int) -> Any:
    cluster = PROTECTED["clusters"]["main"]
    classes = {"t4": {"preset": "gke", "model": "t4", "spare": True, "quota": most}}
    return project(clusters={"main": {**cluster, "gpu_classes": classes}})


both(
    "gpu-quota",
    "six of four",
    lambda: broken(subject(None, side(GPUS, project=quota(4)), project=quota(4))),
    lambda: broken(subject(None, side(GPUS, project=quota(6)), project=quota(6))),
)

# -- callers -----------------------------------------------------------------------------------------


def routed(**networking: Any) -> Side:
    return side(api(networking=networking))


both(
    "endpoint-changed",
    "the path",
    lambda: broken(subject(routed(endpoint="/a"), routed(endpoint="/b"))),
    lambda: broken(subject(routed(endpoint="/a"), routed(endpoint="/a", timeout="2m"))),
)
both(
    "endpoint-changed",
    "the visibility",
    lambda: broken(subject(plain(), routed(visibility="cluster"))),
    lambda: broken(subject(routed(visibility="cluster"), plain())),
)
both(
    "endpoint-changed",
    "a host",
    lambda: broken(subject(routed(hosts=["a.acme.example"]), routed(hosts=["b.acme.example"]))),
    lambda: broken(
        subject(
            routed(hosts=["a.acme.example"]), routed(hosts=["a.acme.example", "b.acme.example"])
        )
    ),
)


def kind(name: str) -> Side:
    return replace(plain(), spec=replace(plain().spec, kind=name))


both(
    "kind-changed",
    "asynchronous",
    lambda: broken(subject(plain(), kind("AsyncAPI"))),
    lambda: broken(subject(plain(), kind("RealtimeAPI"))),
)


def documented(request: Any, response: Any) -> Side:
    content = lambda schema: {"content": {"application/json": {"schema": schema}}}  # noqa: E731
    operation = {"requestBody": content(request), "responses": {"200": content(response)}}
    return replace(plain(), openapi={"paths": {"/": {"post": operation}}})


X = {"type": "object", "properties": {"x": {"type": "integer"}}}
XY = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "string"}}}
for what, bad, good in (
    ("a field is required", (XY | {"required": ["y"]}, X), (XY, X)),
    ("a field of the answer is gone", (X, {"type": "object", "properties": {}}), (X, XY)),
    (
        "a type",
        (X, {"type": "object", "properties": {"x": {"type": "string"}}}),
        ({"type": "object", "properties": {"x": {"type": "number"}}}, X),
    ),
    ("values", (X, {}), (X | {"additionalProperties": True}, X)),
):
    both(
        "schema-changed",
        what,
        lambda b=bad: broken(subject(documented(X, X), documented(*b))),
        lambda g=good: broken(subject(documented(X, X), documented(*g))),
    )

# -- time and way ------------------------------------------------------------------------------------


def frozen(start: str, end: str, **changes: Any) -> Any:
    freeze = {
        "start": start,
        "end": end,
        "timezone": "Europe/Oslo",
        "reason": "A holiday.",
        **changes,
    }
    return project(checks={"freezes": [freeze]})


def at(project: Any, now: str, environment: str = "production") -> set[str]:
    made = side(environment=environment)
    moment = datetime.fromisoformat(now)
    return broken(subject(None, made, project=project, now=moment))


UTC = timezone.utc
both(
    "freeze",
    "days; Oslo is two hours ahead in summer",
    lambda: at(frozen("2026-06-01T18:00", "2026-06-02"), "2026-06-01T16:00:00+00:00"),
    lambda: at(frozen("2026-06-01T18:00", "2026-06-02"), "2026-06-01T15:59:59+00:00"),
)
both(
    "freeze",
    "a weekend that ends on Monday",
    lambda: at(frozen("fri 16:00", "mon 08:00"), "2026-06-08T07:59:00+02:00"),
    lambda: at(frozen("fri 16:00", "mon 08:00"), "2026-06-08T08:00:00+02:00"),
)
both(
    "freeze",
    "a protected environment",
    lambda: at(frozen("2026-06-01", "2026-06-02"), "2026-06-01T12:00:00+00:00"),
    lambda: at(frozen("2026-06-01", "2026-06-02"), "2026-06-01T12:00:00+00:00", "staging"),
)
PROMOTED = project(checks={"promotion_only": ["production"]})
both(
    "promotion-only",
    "a deploy",
    lambda: broken(subject(None, plain(), project=PROMOTED, verb="deploy")),
    lambda: broken(subject(None, plain(), project=PROMOTED, verb="promote")),
)


def removals(count: int, **changes: Any) -> list[Subject]:
    return [subject(plain(), None, api=f"a{n}", **changes) for n in range(count)]


both(
    "mass-removal",
    "three of four",
    lambda: broken(*removals(3), existing={"production": 4}),
    lambda: broken(*removals(3), existing={"production": 6}),
)
both(
    "mass-removal",
    "by name",
    lambda: broken(*removals(3), existing={"production": 3}),
    lambda: broken(*removals(3, verb="delete"), existing={"production": 3}),
)


@pytest.mark.parametrize(
    ("rule", "what", "made", "breaks"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES]
)
def test_a_rule_is_broken_by_what_it_is_about_and_by_nothing_else(rule, what, made, breaks):
    assert (rule in made()) is breaks


def test_a_rule_about_several_releases_is_excepted_for_all_apis():
    exception = {"rule": "mass-removal", "reason": "We move.", "until": "2099-01-01"}
    for apis, severity in ((["*"], "note"), (["a1"], "error")):
        made = project(checks={"exceptions": [{**exception, "apis": apis}]})
        found = findings(removals(3, project=made), existing={"production": 3})
        assert {each.severity for each in found if each.rule == "mass-removal"} == {severity}


def test_each_rule_has_both_cases():
    for rule in BUILT_IN:
        assert {breaks for name, _, _, breaks in CASES if name == rule.id} == {True, False}, rule.id


def test_a_plain_release_keeps_every_rule_but_one_note():
    assert broken(subject(None, plain())) == CLEAN
    assert broken(subject(None, side(environment="staging"))) == set()


def test_a_ready_made_container_without_probes_of_its_own_keeps_every_rule_but_one_note():
    assert broken(subject(None, side(ready_made()))) == CLEAN


def test_a_window_covers_each_moment_of_a_week_once():
    freeze = frozen("fri 16:00", "mon 08:00").checks.freezes[0]
    hours = [datetime(2026, 11, 2, tzinfo=UTC) + timedelta(hours=n) for n in range(168)]
    assert sum(freeze.covers(each) for each in hours) == 64
