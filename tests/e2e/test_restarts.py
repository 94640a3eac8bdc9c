"""What `diff` and `deploy` say about the pods is what Kubernetes does, for each field of a manifest.

The objects of a release and then those of the changed release are applied as Argo CD applies them. The
Deployment controller makes its decision from them at once, so no image and no node is needed: no scheduler
takes the pods, and the test itself reports those of the first state as ready. The Jobs that try an image before
its rollout are suspended: a new one comes exactly when pods are replaced.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.git.commits import Change
from gitops_ml.gitops.changed_releases import NO_RESTART, RECREATE, pods_by_directory
from tests.e2e.machine.processes import until
from tests.pipeline.test_fields import FIELDS
from tests.pipeline.test_pods import (
    ANNOTATED,
    ANOTHER_PLACE,
    METRICS,
    project_for,
    with_other,
    without,
)
from tests.support.pipeline import PROJECT, api, merged, project_of, rendered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_ml.project.project import Project
    from tests.e2e.cluster import Cluster
    from tests.support.pipeline import Rendered

ROLLING = re.compile(r"rolling, (\d+)(?: to (\d+))? at a time(, downtime)?")
STATES = 3
KEPT_HERE = ("namespace", "server")
"""Cases that move a release to another place."""


@dataclass(frozen=True)
class Case:
    """A release in its states, one after the other; the last one stays where there are fewer."""

    name: str
    states: tuple[Rendered, ...]
    replicas: int | None = None
    """Set for the Deployment in place of what scales it."""

    def stated(self, step: int) -> str:
        """What the toolkit says about the change to the state ``step``."""
        before, after = (self.states[at].text for at in (step - 1, step))
        directory = "releases/staging/iris"
        changes = [
            Change(f"{directory}/{file}", old.encode(), new.encode())
            for file, old, new in (
                ("values.yaml", before.values, after.values),
                ("release.yaml", before.facts, after.facts),
            )
            if old != new
        ]
        return pods_by_directory(changes).get(directory, NO_RESTART)


@dataclass(frozen=True)
class Seen:
    """A Deployment at rest: the pods that its current and its older ReplicaSets are to have."""

    current: str
    new: int
    old: int
    preflight: str
    """The Job that tried the image of the current ones; empty where there is none."""


def test_each_change_does_to_the_pods_what_is_said(cluster, namespace, record_property):
    cases = [*of_fields(), *of_the_project(), *of_strategies()]
    named = {f"shown-{number:03}": case for number, case in enumerate(cases)}
    seen: dict[str, Seen] = {}
    wrong: list[str] = []
    restarts = 0
    for step in range(STATES):
        shown = {name: case for name, case in named.items() if step < len(case.states)}
        show(cluster, namespace, shown, step)
        now = at_rest(cluster, namespace)
        if step == 0:
            counts = {name: case.replicas for name, case in named.items() if case.replicas}
            make_ready(cluster, namespace, counts)
        for name, case in shown.items():
            if step:
                stated = case.stated(step)
                restarts += stated != NO_RESTART
                wrong += differences(f"{case.name} {step}", stated, seen[name], now[name])
        seen = now
    record_property("changes", sum(len(case.states) - 1 for case in cases))
    record_property("of_them_restarts", restarts)
    assert wrong == []


# -- the changes -----------------------------------------------------------------------------------


def of_fields() -> Iterator[Case]:
    """Each field comes to an API, and then gets another value."""
    for field in FIELDS:
        if field not in ("kind", "name"):
            yield of_field(field, project_for(field))
    for field in METRICS:
        yield of_field(field, project_of(merged(PROJECT, ANNOTATED)))


def of_field(field: str, project: Project) -> Case:
    given = api(**FIELDS[field][0])
    manifests = (without(field), given, with_other(given, field, field))
    return Case(field, tuple(rendered(each, project) for each in manifests))


def of_the_project() -> Iterator[Case]:
    for name, (_, words) in ANOTHER_PLACE.items():
        if name not in KEPT_HERE:
            project = project_of(merged(PROJECT, words))
            yield Case(name, (rendered(api()), rendered(api(), project)))


STRATEGIES: tuple[dict[str, Any], ...] = (
    {},
    {"type": "Recreate"},
    {"max_surge": 2},
    {"max_surge": 0},
    {"max_surge": "50%", "max_unavailable": "50%"},
    {"max_surge": "100%"},
    {"max_surge": 0, "max_unavailable": "100%"},
    {"max_surge": 1, "max_unavailable": 1},
    {"max_surge": "0%", "max_unavailable": "10%"},
)


def of_strategies() -> Iterator[Case]:
    """Another variable for the predictor, at the fewest and at the most replicas."""
    scaling = {"min_replicas": 1, "max_replicas": 4}
    for strategy in STRATEGIES:
        first = api(update_strategy=strategy, autoscaling=scaling)
        states = rendered(first), rendered(merged(first, {"predictor": {"env": {"A": "b"}}}))
        for replicas in scaling.values():
            yield Case(f"{strategy} at {replicas}", states, replicas)


# -- shown to the cluster --------------------------------------------------------------------------


def show(cluster: Cluster, namespace: str, cases: Mapping[str, Case], step: int) -> None:
    """Bring each case to its state: apply what differs, and remove what has gone."""
    applied, removed = [], []
    for name, case in cases.items():
        objects, before = (
            objects_of(case, name, namespace, at) if at >= 0 else {} for at in (step, step - 1)
        )
        applied += [each for key, each in objects.items() if before.get(key) != each]
        removed += [before[key] for key in before.keys() - objects.keys()]
    known = [each for each in applied if cluster.knows(each)]
    cluster.apply(known, "--force-conflicts", "--field-manager=argocd-controller")
    if removed := [each for each in removed if cluster.knows(each)]:
        listed = {"apiVersion": "v1", "kind": "List", "items": removed}
        cluster.kubectl("delete", "--wait=false", "-f", "-", input=json.dumps(listed))


def objects_of(case: Case, name: str, namespace: str, step: int) -> dict[object, dict[str, Any]]:
    """The Deployment, its preflight, and each object that is not the same in all states.

    KEDA's are left out: forty at once keep it busy, and `test_rollout.py` changes what scales a release.
    """
    states = [keyed(state, name, namespace) for state in case.states]
    return {
        key: prepared(item, case)
        for key, item in states[step].items()
        if key[0] in ("Deployment", "Job") or any(state.get(key) != item for state in states)
        if key[0] != "ScaledObject"
    }


def keyed(state: Rendered, name: str, namespace: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects under a name of the case's own."""
    text = json.dumps(state.objects).replace('"iris', f'"{name}')
    items = json.loads(text)
    for item in items:
        item["metadata"]["namespace"] = namespace
    return {(item["kind"], item["metadata"]["name"]): item for item in items}


def prepared(item: dict[str, Any], case: Case) -> dict[str, Any]:
    if item["kind"] == "Job":
        return {**item, "spec": {**item["spec"], "suspend": True}}
    if item["kind"] != "Deployment":
        return item
    item = deepcopy(item)
    item["spec"]["template"]["spec"] |= {"schedulerName": "none", "serviceAccountName": "default"}
    if case.replicas:
        item["spec"]["replicas"] = case.replicas
    return item


def make_ready(cluster: Cluster, namespace: str, counts: Mapping[str, int]) -> None:
    """Report the pods of these releases as ready, as their kubelet would."""

    def pods() -> list[dict[str, Any]]:
        found = listed(cluster, f"/api/v1/namespaces/{namespace}/pods")
        name = "app.kubernetes.io/instance"
        return [each for each in found if each["metadata"]["labels"][name] in counts]

    expected = sum(counts.values())
    until(lambda: len(pods()) == expected, f"{expected} pods exist", seconds=60)
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    states = [
        {
            "apiVersion": "v1", "kind": "Pod", "status": {"conditions": [ready]},
            "metadata": {"name": pod["metadata"]["name"], "namespace": namespace},
        }
        for pod in pods()
    ]  # fmt: skip
    cluster.apply(states, "--subresource=status")


def at_rest(cluster: Cluster, namespace: str) -> dict[str, Seen]:
    """The Deployments once their controller has nothing to do any more."""
    found: list[tuple[bool, dict[str, Seen]]] = [(False, {}), (False, {})]

    def is_at_rest() -> bool:
        found.append(looked_at(cluster, namespace))
        return found[-1][0] and found[-1] == found[-2] == found[-3]

    until(is_at_rest, "the Deployments do not change any more", seconds=120, pause=1)
    return found[-1][1]


def looked_at(cluster: Cluster, namespace: str) -> tuple[bool, dict[str, Seen]]:
    """Whether the controller has read each Deployment, and what it made of them."""
    deployments, replica_sets, jobs = (
        listed(cluster, f"/apis/{group}/v1/namespaces/{namespace}/{kind}")
        for group, kind in (("apps", "deployments"), ("apps", "replicasets"), ("batch", "jobs"))
    )
    is_read = all(
        each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
        for each in (*deployments, *replica_sets)
    )
    sets: dict[str, list[dict[str, Any]]] = {}
    for each in replica_sets:
        sets.setdefault(each["metadata"]["ownerReferences"][0]["name"], []).append(each)
    names = [each["metadata"]["name"] for each in deployments]
    if not is_read or not all(name in sets for name in names):
        return False, {}
    tried = {
        job["metadata"]["name"].partition("-preflight-")[0]: job["metadata"]["uid"]
        for job in jobs
        if "deletionTimestamp" not in job["metadata"]
    }
    return True, {name: seen_of(sets[name], tried.get(name, "")) for name in names}


def seen_of(sets: Iterable[dict[str, Any]], preflight: str) -> Seen:
    *older, current = sorted(sets, key=revision)
    return Seen(
        current["metadata"]["uid"],
        current["spec"]["replicas"],
        sum(each["spec"]["replicas"] for each in older),
        preflight,
    )


def revision(replica_set: dict[str, Any]) -> int:
    return int(replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def listed(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(cluster.kubectl("get", "--raw", path))["items"]
    return items


# -- stated and seen ---------------------------------------------------------------------------------


def differences(name: str, stated: str, before: Seen, after: Seen) -> Iterator[str]:
    """Where what is stated is not what is seen."""
    is_replaced = before.current != after.current
    if is_replaced != (stated != NO_RESTART):
        yield f"{name}: stated {stated!r}, and the pods are {'' if is_replaced else 'not '}replaced"
        return
    is_tried = before.preflight != after.preflight
    if after.preflight and is_tried != is_replaced and "preflight" not in name:
        yield f"{name}: stated {stated!r}, and the image is {'' if is_tried else 'not '}tried again"
    if not is_replaced:
        return
    total = before.new + before.old
    # New pods never become ready here: without old ones, none is.
    has_downtime = after.old == 0 and total > 0
    if stated == RECREATE:
        if not has_downtime:
            yield f"{name}: stated {stated!r}, and {after.old} old pods stay"
        return
    found = ROLLING.fullmatch(stated)
    assert found, (name, stated)
    few, many = int(found[1]), int(found[2] or found[1])
    if not few <= after.new <= many:
        yield f"{name}: stated {stated!r}, and {after.new} of {total} pods are new at once"
    if has_downtime and not found[3]:
        yield f"{name}: stated {stated!r}, and no old pod stays"
