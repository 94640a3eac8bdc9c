"""Rules about KEDA triggers: what KEDA's admission webhook and its scalers would refuse.

The webhook may be bypassed (its failure policy is Ignore), and a scaler reports errors in the
operator's log only, so both are checked here: apis/keda/v1alpha1/scaledobject_webhook.go at v2.20.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitops_ml.documents.findings import Finding, Path, error, suggestion, warning
from gitops_ml.project.cron import cron_findings
from gitops_ml.release.rules.keda_scalers import scalers
from gitops_ml.release.spec import ReleaseSpec, Trigger
from gitops_ml.system.secret_scan import has_secret_shape, names_a_secret

_RULE = "trigger"
_RESOURCES = ("cpu", "memory")
_REMOVED = frozenset({"type"})
"""Parameters that `_metric_type` reports."""
_UNCACHED = (*_RESOURCES, "cron")
AUTHENTICATION_KEYS = frozenset(
    {"podIdentity", "secretTargetRef", "configMapTargetRef", "env", "boundServiceAccountToken"}
    | {"hashiCorpVault", "azureKeyVault", "awsSecretManager", "gcpSecretManager", "filePath"}
    | {"oauth2"}
)
_REFERENCES = {
    "secretTargetRef": {"parameter", "name", "key"},
    "configMapTargetRef": {"parameter", "name", "key"},
    "env": {"parameter", "name"},
    "boundServiceAccountToken": {"parameter", "serviceAccountName"},
}
"""The keys that are lists, and what each of their items has."""
_OPTIONAL = {"env": {"containerName"}}
REFERENCE_KINDS = ("TriggerAuthentication", "ClusterTriggerAuthentication")


def trigger_findings(spec: ReleaseSpec) -> Iterator[Finding]:
    """Errors in ``autoscaling.triggers``."""
    names = _taken_names(spec)
    for index, trigger in enumerate(spec.autoscaling.triggers):
        at: Path = ("autoscaling", "triggers", index)
        name = trigger.name or f"{trigger.type}-{index}"
        if name in names:
            message = f"another trigger has the name {name!r}"
            yield error((*at, "name"), message, rule=_RULE)
        names.add(name)
        yield from _metadata(trigger, at)
        yield from _metric_type(trigger, at)
        yield from _authentication(trigger, at)
        if trigger.use_cached_metrics and trigger.type in _UNCACHED:
            message = f"KEDA refuses cached metrics with {trigger.type}"
            yield error((*at, "use_cached_metrics"), message, rule=_RULE)
        if trigger.type == "cron":
            yield from _cron(trigger, at, spec.autoscaling.max_replicas)


def _taken_names(spec: ReleaseSpec) -> set[str]:
    """The names of the chart's own triggers; triggers without a name get type and number."""
    windows = (f"cron-{index}" for index in range(len(spec.autoscaling.schedule)))
    return {"in-flight", "http", "cpu", *windows}


def _metadata(trigger: Trigger, at: Path) -> Iterator[Finding]:
    scaler = scalers().get(trigger.type)
    if scaler is None:
        message = f"KEDA has no scaler {trigger.type!r}{suggestion(trigger.type, scalers())}"
        yield error((*at, "type"), message, rule=_RULE)
        return
    for name in scaler.required:
        if name not in trigger.metadata and f"{name}FromEnv" not in trigger.metadata:
            message = f"{trigger.type} needs {name!r}"
            yield error((*at, "metadata"), message, rule=_RULE)
    for name, value in trigger.metadata.items():
        place = (*at, "metadata", name)
        is_known = name in scaler.parameters or scaler.is_open or name in _REMOVED
        if not is_known:
            message = (
                f"{trigger.type} has no parameter {name!r} (secrets belong in authentication)"
                f"{suggestion(name, sorted(scaler.parameters))}"
            )
            yield warning(place, message, rule=_RULE)
        if has_secret_shape(value) or (names_a_secret(name) and value):
            message = "this looks like a secret; refer to it in authentication instead"
            yield error(place, message, rule="secret")


def _metric_type(trigger: Trigger, at: Path) -> Iterator[Finding]:
    kind, place = trigger.metric_type, (*at, "metric_type")
    if trigger.type not in _RESOURCES:
        if kind == "Utilization":
            message = f"Utilization is for cpu and memory; {trigger.type} has AverageValue or Value"
            yield error(place, message, rule=_RULE)
        return
    if "type" in trigger.metadata:
        message = "KEDA 2.18 removed it; write metric_type: Utilization or AverageValue"
        yield error((*at, "metadata", "type"), message, rule=_RULE)
    if kind not in ("Utilization", "AverageValue"):
        message = f"{trigger.type} needs metric_type: Utilization or AverageValue"
        yield error(place, message, rule=_RULE)
    value = trigger.metadata.get("value", "1")
    if kind == "Utilization" and not (value.isascii() and value.isdigit() and int(value) > 0):
        message = f"{value!r} is not a percentage; write a whole number in quotes"
        yield error((*at, "metadata", "value"), message, rule=_RULE)


def _cron(trigger: Trigger, at: Path, most: int) -> Iterator[Finding]:
    fields, place = trigger.metadata, (*at, "metadata")
    if not {"start", "end", "timezone"} <= fields.keys():
        return
    start, end, zone = (fields[key] for key in ("start", "end", "timezone"))
    yield from cron_findings(place, start, end, zone, rule=_RULE)
    replicas = fields.get("desiredReplicas", "1")
    if not replicas.isascii() or not replicas.isdigit() or not 0 < int(replicas) <= most:
        message = f"{replicas!r} is not a number from 1 to max_replicas ({most})"
        yield error((*place, "desiredReplicas"), message, rule=_RULE)


def _authentication(trigger: Trigger, at: Path) -> Iterator[Finding]:
    fields, place = trigger.authentication, (*at, "authentication")
    if fields is None:
        return
    if trigger.type in _RESOURCES:
        yield error(place, f"{trigger.type} needs no authentication", rule=_RULE)
    if "name" in fields:
        kind = fields.get("kind", REFERENCE_KINDS[0])
        if kind not in REFERENCE_KINDS or set(fields) - {"name", "kind"}:
            message = f"a reference has a name and a kind: {' or '.join(REFERENCE_KINDS)}"
            yield error(place, message, rule=_RULE)
        return
    for key in fields:
        if key not in AUTHENTICATION_KEYS:
            known = suggestion(key, ["name", "kind", *sorted(AUTHENTICATION_KEYS)])
            message = f"a TriggerAuthentication has no key {key!r}{known}"
            yield error((*place, key), message, rule=_RULE)
        elif (wrong := _authentication_error(key, fields[key])) is not None:
            yield error((*place, key), wrong, rule=_RULE)
    if not fields:
        yield error(place, "it is empty; refer to something, or remove it", rule=_RULE)


def _authentication_error(key: str, value: object) -> str | None:
    """The error that KEDA's resource definition would report for one way to authenticate."""
    if key == "filePath":
        return None if isinstance(value, str) else "it must be text"
    if key not in _REFERENCES:
        return None if isinstance(value, dict) else "it must be a mapping"
    items = value if isinstance(value, list) and value else [None]
    if all(_is_reference(item, key) for item in items):
        return None
    return f"it must be a list of mappings with {', '.join(sorted(_REFERENCES[key]))}"


def _is_reference(item: object, key: str) -> bool:
    if not isinstance(item, dict):
        return False
    needed = _REFERENCES[key]
    is_whole = needed <= item.keys() <= needed | _OPTIONAL.get(key, set())
    return is_whole and all(isinstance(text, str) and text for text in item.values())
