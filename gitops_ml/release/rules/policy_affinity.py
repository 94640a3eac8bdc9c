"""Rules about node selectors and affinity: what Kubernetes refuses, and what affects other teams.

The schema checks the shape. These rules are those of ValidateNodeSelectorTerm and
validatePodAffinityTerm of Kubernetes 1.36 (pkg/apis/core/validation), and the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error
from gitops_ml.project.policy import Policy, allows_key
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import ReleaseSpec

Fields = Mapping[str, Any]

_RULE = "affinity"
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
                message = "it needs a labelSelector; add one, '{}' for all pods"
                yield error((*path, key), message, rule=_RULE)
        yield from _other_namespaces(path, term, spec)
        if is_required and "podAntiAffinity" in path and not _is_about_its_own(term, spec):
            message = (
                "pods of other teams could not run on the same nodes; select the API's own pods in "
                f"labelSelector.matchLabels ({_INSTANCE}: {spec.name}), or move it "
                f"to {_PREFERRED}"
            )
            yield error(path, message, rule="policy")


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
        yield error((*path, "values"), f"{operator} has no values; remove them", rule=_RULE)
    elif operator in ("In", "NotIn") and not values:
        yield error(path, f"{operator} needs values", rule=_RULE)
    elif operator in ("Gt", "Lt") and not (len(values) == 1 and values[0].lstrip("-").isdigit()):
        message = f"{operator} needs one whole number as its value, in quotes"
        yield error(path, message, rule=_RULE)
    if is_field and not (
        fields.get("key") == _NAME and operator in ("In", "NotIn") and len(values) == 1
    ):
        message = "the only field is metadata.name, with the operator In or NotIn and one value"
        yield error(path, message, rule=_RULE)
    for index, value in enumerate(() if is_field else values):
        if len(value) > _LONGEST_LABEL:
            message = f"a label's value has at most {_LONGEST_LABEL} characters, and this has {len(value)}"
            yield error((*path, "values", index), message, rule=_RULE)


def _other_namespaces(path: Path, term: Fields, spec: ReleaseSpec) -> Iterator[Finding]:
    if "namespaceSelector" in term:
        message = "an affinity cannot select pods of other namespaces; remove it"
        yield error((*path, "namespaceSelector"), message, rule="policy")
    for index, name in enumerate(term.get("namespaces") or ()):
        if name != spec.namespace:
            message = f"{name!r} is not the namespace of the API ({spec.namespace}); remove it"
            yield error((*path, "namespaces", index), message, rule="policy")


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
            yield error(path, message, rule="policy")
