"""Rules of the policy about one release: each policy must allow what it requests.

A finding names the list of the project file that would allow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
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
from gitops_ml.release.rules.policy_affinity import affinity_findings, node_label_findings
from gitops_ml.release.rules.policy_triggers import trigger_policy_findings
from gitops_ml.release.spec import ReleaseSpec

_RULE = "policy"
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
    for section, given in (
        ("annotations", spec.annotations),
        ("pod_annotations", spec.pod_annotations),
    ):
        yield from _keys(section, given, policy.annotations, policy)
    for section, given in (("labels", spec.labels), ("pod_labels", spec.pod_labels)):
        # `pods.py` reports those that gitops-ml sets.
        labels = [key for key in given if not key.startswith(RESERVED_LABELS)]
        yield from _keys(section, labels, policy.labels, policy)
    yield from _service_account(policy, spec)
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
            yield error((section, key), message, rule=_RULE)
        elif not allows_key(key, allowed, policy.domains):
            reason = _REASONS.get(
                key.rpartition("/")[0] or key, "a controller of the cluster may act on it"
            )
            message = f"the policy does not allow it: {reason}; {_in_policy(key, listed)}"
            yield error((section, key), message, rule=_RULE)


def _service_account(policy: Policy, spec: ReleaseSpec) -> Iterator[Finding]:
    given = spec.service_account.annotations
    for found in _keys("annotations", given, policy.annotations, policy):
        yield replace(found, path=("service_account", *found.path))


def _volumes(policy: Policy, spec: ReleaseSpec) -> Iterator[Finding]:
    for index, volume in enumerate(spec.volumes):
        if not matches_any(policy.volumes, volume.claim):
            message = (
                f"the policy does not allow the claim {volume.claim!r}, which may have the data of another team; "
                f"{_in_policy(volume.claim, 'volumes')}"
            )
            yield error(("volumes", index, "claim"), message, rule=_RULE)


def _scheduling(policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    name = spec.compute.priority_class
    if name is not None and name.startswith("system-"):
        message = f"{name!r} is reserved for system components; choose another class"
        yield error(("compute", "priority_class"), message, rule=_RULE)
    elif name is not None and name not in policy.priority_classes:
        message = (
            f"the policy does not allow {name!r}: a higher priority evicts the pods of others; "
            f"{_in_policy(name, 'priority_classes')}"
        )
        yield error(("compute", "priority_class"), message, rule=_RULE)
    granted = [dict(each) for pool in cluster.pools for each in pool.tolerations]
    for index, toleration in enumerate(spec.compute.tolerations):
        if dict(toleration) in granted or allows_toleration(toleration, policy.tolerations):
            continue
        taint = _taint(toleration)
        what = (
            "every taint, those of the control plane too" if taint == "*" else f"the taint {taint}"
        )
        message = f"the policy does not allow pods on nodes with {what}; {_in_policy(taint, 'tolerations')}"
        yield error(("compute", "tolerations", index), message, rule=_RULE)
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
            yield error(("networking", "hosts", index), message, rule=_RULE)


def _users(policy: Policy, spec: ReleaseSpec) -> Iterator[Finding]:
    user = spec.container.run_as_user if spec.container else None
    if user is not None and user < policy.least_user_id:
        message = (
            f"users below {policy.least_user_id} may be users of the node; change it, or lower "
            "policy.least_user_id of the project file"
        )
        yield error(("container", "run_as_user"), message, rule=_RULE)


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
            yield error(path, message, rule=_RULE)


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
        yield error(("networking", "tls_secret"), message, rule=_RULE)
    for index, secret in enumerate(spec.secrets):
        at: Path = ("secrets", index)
        if not policy.allows_secret(secret.name, cluster.image_pull_secrets):
            message = f"the policy does not allow Secret {secret.name!r}; {_in_policy(secret.name, 'secrets')}"
            yield error((*at, "name"), message, rule=_RULE)
        if (remote := secret.remote) is None:
            continue
        entry = f"{remote['store_kind']}/{remote['store']}/{remote['key']}"
        if ".." in str(remote["key"]).split("/"):
            message = "'..' leads outside the keys that a policy can allow; write the whole key"
            yield error((*at, "remote", "key"), message, rule=_RULE)
        elif not matches_any(policy.external_secrets, entry):
            message = (
                f"the policy does not allow {entry}, which may be a secret of another team; "
                f"{_in_policy(entry, 'external_secrets')}"
            )
            yield error((*at, "remote"), message, rule=_RULE)
