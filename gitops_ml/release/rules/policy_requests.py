"""Rules of the policy about one release: each policy must allow what it requests.

A finding names the list of the project file that would allow it. Node selectors and affinity: what affects other
teams, and what Kubernetes refuses. The schema checks the shape; these rules are those of ValidateNodeSelectorTerm and
validatePodAffinityTerm of Kubernetes 1.36 (pkg/apis/core/validation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.policy import (
    Policy,
    allows_host,
    allows_key,
    allows_toleration,
    is_never_allowed,
    matches_any,
)
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec
from gitops_ml.release.rules.pods import RESERVED_LABELS
from gitops_ml.release.rules.triggers import trigger_policy_findings
from gitops_ml.release.spec import ReleaseSpec

_error = partial(error, rule="policy")
_misfit = partial(error, rule="affinity")
_REASONS = {
    "eks.amazonaws.com": "it gives the pods an identity of the cloud",
    "iam.gke.io": "it gives the pods an identity of the cloud",
    "azure.workload.identity": "it gives the pods an identity of the cloud",
    "iam.amazonaws.com": "it gives the pods an identity of the cloud",
    "aadpodidbinding": "it gives the pods an identity of the cloud",
    "nginx.ingress.kubernetes.io": "the ingress controller acts on it for all its hosts",
    "vault.hashicorp.com": "it puts secrets into the pods",
}


def policy_findings(
    spec: ReleaseSpec, cluster: ClusterSpec, environment: EnvironmentSpec
) -> Iterator[Finding]:
    """Requests of a release that the policies of its environment do not allow."""
    found = [
        finding
        for policy in environment.policies
        for finding in _findings_of(policy, spec, cluster)
    ]
    yield from dict.fromkeys((*found, *affinity_findings(spec)))


def _findings_of(policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    yield from _keys("annotations", spec.annotations, policy.annotations, policy)
    yield from _keys("pod_annotations", spec.pod_annotations, policy.annotations, policy)
    for section, given in (("labels", spec.labels), ("pod_labels", spec.pod_labels)):
        # `pods.py` reports those that gitops-ml sets.
        labels = [key for key in given if not key.startswith(RESERVED_LABELS)]
        yield from _keys(section, labels, policy.labels, policy)
    for found in _keys("annotations", spec.service_account.annotations, policy.annotations, policy):
        yield replace(found, path=("service_account", *found.path))
    yield from _scheduling(policy, spec, cluster)
    yield from _hosts(policy, spec, cluster)
    yield from _users(policy, spec)
    yield from _images(policy, spec)
    yield from _secrets(policy, spec, cluster)
    yield from _volumes(policy, spec)
    yield from trigger_policy_findings(policy, spec, cluster)


def _in_policy(entry: str, where: str) -> str:
    """The remedy for something that is not allowed."""
    return f"remove it, or list {entry!r} in policy.{where} of the project file"


def _keys(
    section: str, given: Iterable[str], allowed: tuple[str, ...], policy: Policy
) -> Iterator[Finding]:
    """One list of the policy is for objects and pods."""
    listed = section.removeprefix("pod_")
    for key in given:
        if is_never_allowed(key):
            message = "Helm, Argo CD, Kubernetes or gitops-ml acts on it; remove it"
            yield _error((section, key), message)
        elif not allows_key(key, allowed, policy.domains):
            reason = _REASONS.get(
                key.rpartition("/")[0] or key, "a controller of the cluster may act on it"
            )
            message = f"the policy does not allow it: {reason}; {_in_policy(key, listed)}"
            yield _error((section, key), message)


def _volumes(policy: Policy, spec: ReleaseSpec) -> Iterator[Finding]:
    for index, volume in enumerate(spec.volumes):
        if not matches_any(policy.volumes, volume.claim):
            message = (
                f"the policy does not allow the claim {volume.claim!r}, which may have the data of another team; "
                f"{_in_policy(volume.claim, 'volumes')}"
            )
            yield _error(("volumes", index, "claim"), message)


def _scheduling(policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    name = spec.compute.priority_class
    if name is not None and name.startswith("system-"):
        message = f"{name!r} is reserved for system components; choose another class"
        yield _error(("compute", "priority_class"), message)
    elif name is not None and name not in policy.priority_classes:
        message = (
            f"the policy does not allow {name!r}: a higher priority evicts the pods of others; "
            f"{_in_policy(name, 'priority_classes')}"
        )
        yield _error(("compute", "priority_class"), message)
    granted = [dict(each) for pool in cluster.pools for each in pool.tolerations]
    for index, toleration in enumerate(spec.compute.tolerations):
        if dict(toleration) in granted or allows_toleration(toleration, policy.tolerations):
            continue
        taint = _taint(toleration)
        what = (
            "every taint, those of the control plane too" if taint == "*" else f"the taint {taint}"
        )
        message = f"the policy does not allow pods on nodes with {what}; {_in_policy(taint, 'tolerations')}"
        yield _error(("compute", "tolerations", index), message)
    yield from node_label_findings(policy, spec, cluster)


def _taint(toleration: Mapping[str, Any]) -> str:
    """The toleration as `kubectl taint` writes what it tolerates."""
    key, value = toleration.get("key") or "*", toleration.get("value")
    effect = toleration.get("effect")
    if key == "*":
        return key
    return f"{key}{f'={value}' if value else ''}{f':{effect}' if effect else ''}"


def _hosts(policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    if (gateway := cluster.gateway) is None:
        return
    allowed = (*gateway.hosts, *policy.hosts)
    for index, host in enumerate(spec.networking.hosts):
        if host in gateway.hosts:
            continue
        if not allows_host(host, allowed, any_depth=gateway.type == "gateway-api"):
            known = ", ".join(allowed) or "none"
            message = (
                f"{host!r} is not a host of the gateway of cluster {cluster.name!r} (it has: {known}); "
                f"{_in_policy(host, 'hosts')}"
            )
            yield _error(("networking", "hosts", index), message)


def _users(policy: Policy, spec: ReleaseSpec) -> Iterator[Finding]:
    user = spec.container.run_as_user if spec.container else None
    if user is not None and user < policy.least_user_id:
        message = (
            f"users below {policy.least_user_id} may be users of the node; change it, or lower "
            "policy.least_user_id of the project file"
        )
        yield _error(("container", "run_as_user"), message)


def _images(policy: Policy, spec: ReleaseSpec) -> Iterator[Finding]:
    if policy.registries is None:
        return
    allowed = tuple(f"{each.rstrip('/')}/" for each in policy.registries)
    for path, image in _named_images(spec):
        repository = _full_repository(image)
        if not f"{repository}/".startswith(allowed):
            message = (
                f"{repository} is not in a registry that the policy allows: "
                f"{', '.join(policy.registries) or 'none'}"
            )
            yield _error(path, message)


def _named_images(spec: ReleaseSpec) -> Iterator[tuple[Path, str]]:
    """Every image that a manifest names."""
    if spec.container is not None:
        yield from spec.container.images()
    if (predictor := spec.predictor) is not None:
        for name in ("image", "tensorflow_serving_image"):
            if (image := getattr(predictor, name)) is not None:
                yield ("predictor", name), image


def _full_repository(image: str) -> str:
    """Registry and path of an image as nodes read it: ``nginx:1`` is ``docker.io/library/nginx``."""
    repository = ImageRef.parse(image).repository
    first, slash, rest = repository.partition("/")
    if not slash:
        return f"docker.io/library/{repository}"
    if not ("." in first or ":" in first or first == "localhost"):
        return f"docker.io/{repository}"
    return f"docker.io/{rest}" if first == "index.docker.io" else repository


def _secrets(policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    tls = spec.networking.tls_secret
    if tls is not None and not policy.allows_secret(tls, cluster.image_pull_secrets):
        message = f"the policy does not allow Secret {tls!r}; {_in_policy(tls, 'secrets')}"
        yield _error(("networking", "tls_secret"), message)
    for index, secret in enumerate(spec.secrets):
        at: Path = ("secrets", index)
        if not policy.allows_secret(secret.name, cluster.image_pull_secrets):
            message = f"the policy does not allow Secret {secret.name!r}; {_in_policy(secret.name, 'secrets')}"
            yield _error((*at, "name"), message)
        if (remote := secret.remote) is None:
            continue
        entry = f"{remote['store_kind']}/{remote['store']}/{remote['key']}"
        if ".." in str(remote["key"]).split("/"):
            message = "'..' leads outside the keys that a policy can allow; write the whole key"
            yield _error((*at, "remote", "key"), message)
        elif not matches_any(policy.external_secrets, entry):
            message = (
                f"the policy does not allow {entry}, which may be a secret of another team; "
                f"{_in_policy(entry, 'external_secrets')}"
            )
            yield _error((*at, "remote"), message)


Fields = Mapping[str, Any]

_NAME = "metadata.name"
_INSTANCE = "app.kubernetes.io/instance"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_AT: Path = ("compute", "affinity")
_LONGEST_LABEL = 63


def affinity_findings(spec: ReleaseSpec) -> Iterator[Finding]:
    """Errors in ``compute.affinity`` that no policy allows."""
    fields = spec.compute.affinity or {}
    for path, expression, is_field in _node_expressions(fields):
        yield from _expression(path, expression, is_field=is_field)
    for path, term, is_required in _pod_terms(fields):
        selector = term.get("labelSelector") or {}
        for index, each in enumerate(selector.get("matchExpressions") or ()):
            yield from _expression((*path, "labelSelector", "matchExpressions", index), each)
        for key in ("matchLabelKeys", "mismatchLabelKeys"):
            if term.get(key) and term.get("labelSelector") is None:
                yield _misfit((*path, key), "it needs a labelSelector; add one, '{}' for all pods")
        yield from _other_namespaces(path, term, spec)
        if is_required and "podAntiAffinity" in path and not _is_about_its_own(term, spec):
            message = (
                "pods of other teams could not run on the same nodes; select the API's own pods in "
                f"labelSelector.matchLabels ({_INSTANCE}: {spec.name}), or move it "
                f"to {_PREFERRED}"
            )
            yield _error(path, message)


def _is_about_its_own(term: Fields, spec: ReleaseSpec) -> bool:
    """Whether a term selects only pods of the API or of its team."""
    own = {_INSTANCE: spec.name, "gitops-ml.dev/api": spec.name, "gitops-ml.dev/team": spec.team}
    if not own.keys().isdisjoint(term.get("matchLabelKeys") or ()):
        return True
    selector = term.get("labelSelector") or {}
    selected = dict(selector.get("matchLabels") or {})
    for each in selector.get("matchExpressions") or ():
        if each.get("operator") == "In" and len(each.get("values") or ()) == 1:
            selected[each["key"]] = each["values"][0]
    return any(selected.get(key) == value for key, value in own.items())


def _expression(path: Path, fields: Fields, *, is_field: bool = False) -> Iterator[Finding]:
    operator, values = fields.get("operator"), fields.get("values") or []
    if operator in ("Exists", "DoesNotExist") and values:
        yield _misfit((*path, "values"), f"{operator} has no values; remove them")
    elif operator in ("In", "NotIn") and not values:
        yield _misfit(path, f"{operator} needs values")
    elif operator in ("Gt", "Lt") and not (len(values) == 1 and values[0].lstrip("-").isdigit()):
        yield _misfit(path, f"{operator} needs one whole number as its value, in quotes")
    if is_field and not (
        fields.get("key") == _NAME and operator in ("In", "NotIn") and len(values) == 1
    ):
        message = "the only field is metadata.name, with the operator In or NotIn and one value"
        yield _misfit(path, message)
    for index, value in enumerate(() if is_field else values):
        if len(value) > _LONGEST_LABEL:
            message = f"a label's value has at most {_LONGEST_LABEL} characters, and this has {len(value)}"
            yield _misfit((*path, "values", index), message)


def _other_namespaces(path: Path, term: Fields, spec: ReleaseSpec) -> Iterator[Finding]:
    if "namespaceSelector" in term:
        message = "an affinity cannot select pods of other namespaces; remove it"
        yield _error((*path, "namespaceSelector"), message)
    for index, name in enumerate(term.get("namespaces") or ()):
        if name != spec.namespace:
            message = f"{name!r} is not the namespace of the API ({spec.namespace}); remove it"
            yield _error((*path, "namespaces", index), message)


def _node_expressions(fields: Fields) -> Iterator[tuple[Path, Fields, bool]]:
    """Each expression about nodes with its path, and whether it is about a field of the node."""
    node = fields.get("nodeAffinity") or {}
    at: Path = (*_AT, "nodeAffinity")
    terms = [
        ((*at, _REQUIRED, "nodeSelectorTerms", index), term)
        for index, term in enumerate((node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())
    ]
    terms += [
        ((*at, _PREFERRED, index, "preference"), each.get("preference") or {})
        for index, each in enumerate(node.get(_PREFERRED) or ())
    ]
    for path, term in terms:
        for section in ("matchExpressions", "matchFields"):
            for index, expression in enumerate(term.get(section) or ()):
                yield (*path, section, index), expression, section == "matchFields"


def _pod_terms(fields: Fields) -> Iterator[tuple[Path, Fields, bool]]:
    """Each term about other pods with its path, and whether it is required."""
    for section in ("podAffinity", "podAntiAffinity"):
        pods, at = fields.get(section) or {}, (*_AT, section)
        for index, term in enumerate(pods.get(_REQUIRED) or ()):
            yield (*at, _REQUIRED, index), term, True
        for index, each in enumerate(pods.get(_PREFERRED) or ()):
            term = each.get("podAffinityTerm") or {}
            yield (*at, _PREFERRED, index, "podAffinityTerm"), term, False


def node_label_findings(
    policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec
) -> Iterator[Finding]:
    """Node labels that the policy does not allow APIs to select by."""
    labels = (*cluster.node_groups.values(), *(pool.node_selector for pool in cluster.pools))
    allowed = (*policy.node_labels, *chain.from_iterable(labels))
    places: list[tuple[Path, str]] = [
        (("compute", "node_selector", key), key) for key in spec.compute.node_selector
    ]
    for path, expression, _ in _node_expressions(spec.compute.affinity or {}):
        # An expression that only excludes nodes requests none.
        if expression.get("operator") not in ("NotIn", "DoesNotExist"):
            places.append(((*path, "key"), str(expression.get("key"))))
    for path, key in places:
        # A field of the node, and not a label without a domain.
        is_listed = key in allowed
        if not is_listed and (key == _NAME or not allows_key(key, allowed, policy.domains)):
            message = (
                f"the policy does not allow APIs to select nodes by {key}; remove it, or list {key!r} in "
                "policy.node_labels of the project file"
            )
            yield _error(path, message)
