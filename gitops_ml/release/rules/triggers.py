"""Rules about KEDA triggers: what KEDA's admission webhook and its scalers would refuse, and the policy.

The webhook may be bypassed (its failure policy is Ignore), and a scaler reports errors in the operator's log only,
so both are checked here: apis/keda/v1alpha1/scaledobject_webhook.go at v2.20. KEDA's operator reads the metric, with
its own network and the credentials of an authentication. A trigger that names a server and an authentication sends
the credentials to the server, so the policy lists the servers that may get credentials that the author of the
manifest cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, suggestion, warning
from gitops_ml.documents.yaml_reader import load_yaml
from gitops_ml.project.cron import cron_findings
from gitops_ml.project.policy import Policy, is_in_cluster, is_nodes_own, matches_any, servers_in
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.spec import ReleaseSpec, Trigger
from gitops_ml.system.resources import resource_directory
from gitops_ml.system.secret_scan import has_secret_shape, names_a_secret

_RULE = "trigger"
_error = partial(error, rule=_RULE)
_warning = partial(warning, rule=_RULE)
_error = partial(error, rule=_RULE)
_warning = partial(warning, rule=_RULE)
_denied = partial(error, rule="policy")
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


@dataclass(frozen=True, slots=True)
class Scaler:
    """The allowed and the required parameters in the metadata of a trigger."""

    parameters: frozenset[str]
    required: tuple[str, ...]
    """Each of them may be given as ``<name>FromEnv`` where that is among the parameters."""
    is_open: bool
    """Whether it passes any other parameter to an external scaler."""


@cache
def scalers() -> dict[str, Scaler]:
    """Every scaler by its trigger type: KEDA reports no misspelt parameter, and the API never scales."""
    table = (resource_directory("schemas") / "keda_scalers.yaml").read_bytes()
    return {name: _scaler(entries.split()) for name, entries in load_yaml(table).items()}


def _scaler(entries: list[str]) -> Scaler:
    names = {entry: entry.rstrip("~!") for entry in entries}
    from_env = {f"{name}FromEnv" for entry, name in names.items() if "~" in entry}
    required = tuple(name for entry, name in names.items() if entry.endswith("!"))
    return Scaler(frozenset({*names.values(), *from_env}), required, "*" in names)


def trigger_findings(spec: ReleaseSpec) -> Iterator[Finding]:
    """Errors in ``autoscaling.triggers``."""
    # Those of the chart's own triggers; triggers without a name get type and number.
    windows = (f"cron-{index}" for index in range(len(spec.autoscaling.schedule)))
    names = {"in-flight", "http", "cpu", *windows}
    for index, trigger in enumerate(spec.autoscaling.triggers):
        at: Path = ("autoscaling", "triggers", index)
        name = trigger.name or f"{trigger.type}-{index}"
        if name in names:
            yield _error((*at, "name"), f"another trigger has the name {name!r}")
        names.add(name)
        yield from _metadata(trigger, at)
        yield from _metric_type(trigger, at)
        yield from _authentication(trigger, at)
        if trigger.use_cached_metrics and trigger.type in _UNCACHED:
            message = f"KEDA refuses cached metrics with {trigger.type}"
            yield _error((*at, "use_cached_metrics"), message)
        if trigger.type == "cron":
            yield from _cron(trigger, at, spec.autoscaling.max_replicas)


def _metadata(trigger: Trigger, at: Path) -> Iterator[Finding]:
    scaler = scalers().get(trigger.type)
    if scaler is None:
        message = f"KEDA has no scaler {trigger.type!r}{suggestion(trigger.type, scalers())}"
        yield _error((*at, "type"), message)
        return
    for name in scaler.required:
        if name not in trigger.metadata and f"{name}FromEnv" not in trigger.metadata:
            yield _error((*at, "metadata"), f"{trigger.type} needs {name!r}")
    for name, value in trigger.metadata.items():
        place = (*at, "metadata", name)
        is_known = name in scaler.parameters or scaler.is_open or name in _REMOVED
        if not is_known:
            message = (
                f"{trigger.type} has no parameter {name!r} (secrets belong in authentication)"
                f"{suggestion(name, sorted(scaler.parameters))}"
            )
            yield _warning(place, message)
        if has_secret_shape(value) or (names_a_secret(name) and value):
            message = "this looks like a secret; refer to it in authentication instead"
            yield error(place, message, rule="secret")


def _metric_type(trigger: Trigger, at: Path) -> Iterator[Finding]:
    kind, place = trigger.metric_type, (*at, "metric_type")
    if trigger.type not in _RESOURCES:
        if kind == "Utilization":
            message = f"Utilization is for cpu and memory; {trigger.type} has AverageValue or Value"
            yield _error(place, message)
        return
    if "type" in trigger.metadata:
        message = "KEDA 2.18 removed it; write metric_type: Utilization or AverageValue"
        yield _error((*at, "metadata", "type"), message)
    if kind not in ("Utilization", "AverageValue"):
        yield _error(place, f"{trigger.type} needs metric_type: Utilization or AverageValue")
    value = trigger.metadata.get("value", "1")
    if kind == "Utilization" and not (value.isascii() and value.isdigit() and int(value) > 0):
        message = f"{value!r} is not a percentage; write a whole number in quotes"
        yield _error((*at, "metadata", "value"), message)


def _cron(trigger: Trigger, at: Path, most: int) -> Iterator[Finding]:
    fields, place = trigger.metadata, (*at, "metadata")
    if not {"start", "end", "timezone"} <= fields.keys():
        return
    start, end, zone = (fields[key] for key in ("start", "end", "timezone"))
    yield from cron_findings(place, start, end, zone, rule=_RULE)
    replicas = fields.get("desiredReplicas", "1")
    if not replicas.isascii() or not replicas.isdigit() or not 0 < int(replicas) <= most:
        message = f"{replicas!r} is not a number from 1 to max_replicas ({most})"
        yield _error((*place, "desiredReplicas"), message)


def _authentication(trigger: Trigger, at: Path) -> Iterator[Finding]:
    fields, place = trigger.authentication, (*at, "authentication")
    if fields is None:
        return
    if trigger.type in _RESOURCES:
        yield _error(place, f"{trigger.type} needs no authentication")
    if "name" in fields:
        kind = fields.get("kind", REFERENCE_KINDS[0])
        if kind not in REFERENCE_KINDS or set(fields) - {"name", "kind"}:
            message = f"a reference has a name and a kind: {' or '.join(REFERENCE_KINDS)}"
            yield _error(place, message)
        return
    for key in fields:
        if key not in AUTHENTICATION_KEYS:
            known = suggestion(key, ["name", "kind", *sorted(AUTHENTICATION_KEYS)])
            yield _error((*place, key), f"a TriggerAuthentication has no key {key!r}{known}")
        elif (wrong := _authentication_error(key, fields[key])) is not None:
            yield _error((*place, key), wrong)
    if not fields:
        yield _error(place, "it is empty; refer to something, or remove it")


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


_ADDRESSES = re.compile(
    r"(?i)(address|addresses|url|uri|endpoint|endpoints|host|hosts|server|servers|connection"
    r"|connectionstring|endpointsuffix|template|cloudid|nsqlookupdhttpaddresses)(fromenv)*"
    r"|\w*(address|addresses|url|endpoint|servers|template)(fromenv)*"
)
"""Parameters that hold the server that KEDA connects to."""
_NO_ADDRESSES = frozenset({"queueURL", "queueURLFromEnv", "aggregateFromKubeServiceEndpoints"})
"""AWS's library uses the region and the account, not the host in the URL of a queue."""
_OWN_SECRETS = frozenset({"secretTargetRef", "configMapTargetRef", "env"})
"""Sources that pods of the namespace can read, too."""


def trigger_policy_findings(
    policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec
) -> Iterator[Finding]:
    """Requests of triggers that the policy does not allow."""
    for index, trigger in enumerate(spec.autoscaling.triggers):
        at: Path = ("autoscaling", "triggers", index)
        # `triggers.py` reports what KEDA does not know.
        if trigger.type in scalers() and trigger.type not in policy.triggers.types:
            message = (
                f"the policy does not allow {trigger.type!r} triggers; use another one, or list "
                f"{trigger.type!r} in policy.triggers.types of the project file"
                if policy.triggers.types
                else "the policy allows no triggers (policy.triggers.types)"
            )
            yield _denied((*at, "type"), message)
        yield from _identities(policy, trigger, at)
        yield from _denied_authentication(policy, spec, cluster, trigger, at)
        yield from _servers(policy, spec, cluster, trigger, at)


def _identities(policy: Policy, trigger: Trigger, at: Path) -> Iterator[Finding]:
    """Check the use of KEDA's own identity, which reads more than the team may."""
    owner = trigger.metadata.get("identityOwner", "pod")
    if owner not in ("pod", "workload") and "aws" not in policy.triggers.identities:
        yield _denied((*at, "metadata", "identityOwner"), _identity_message("aws"))
    if trigger.metadata.get("credentialsFromEnvFile") and "gcp" not in policy.triggers.identities:
        path = (*at, "metadata", "credentialsFromEnvFile")
        yield _denied(path, _identity_message("gcp"))
    identity = (trigger.authentication or {}).get("podIdentity")
    if not isinstance(identity, dict) or not _is_kedas_own(identity):
        return
    provider = str(identity.get("provider"))
    if provider not in policy.triggers.identities:
        yield _denied((*at, "authentication", "podIdentity"), _identity_message(provider))


def _is_kedas_own(identity: Mapping[str, Any]) -> bool:
    """Whether it is not ``identityOwner: workload``, the role of the API's own ServiceAccount."""
    if identity.get("provider") == "none":
        return False
    return identity.get("identityOwner") != "workload" or "roleArn" in identity


def _identity_message(provider: str) -> str:
    return (
        "the policy does not allow triggers to use KEDA's own identity, which reaches what other "
        "teams have; use a Secret of the namespace (authentication.secretTargetRef), or list "
        f"{provider!r} in policy.triggers.identities of the project file"
    )


def _denied_authentication(
    policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec, trigger: Trigger, at: Path
) -> Iterator[Finding]:
    fields, place = trigger.authentication or {}, (*at, "authentication")
    allowed = policy.triggers.authentications
    if "name" in fields:
        kind = fields.get("kind", REFERENCE_KINDS[0])
        entry = f"{kind}/{fields['name']}"
        if kind in REFERENCE_KINDS and not matches_any(allowed, entry):
            yield _denied(place, _not_allowed(entry, allowed))
        return
    for key, value in fields.items():
        if key in AUTHENTICATION_KEYS - {"podIdentity"} and key not in allowed:
            yield _denied((*place, key), _not_allowed(key, allowed))
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict):
                account = item.get("serviceAccountName")
                if account is not None and account != spec.name:
                    message = (
                        f"{account!r} is another ServiceAccount; the API's own is {spec.name!r}"
                    )
                    yield _denied((*place, key, index, "serviceAccountName"), message)
                if key == "secretTargetRef":
                    yield from _secret(policy, cluster, item, (*place, key, index))


def _not_allowed(entry: str, allowed: tuple[str, ...]) -> str:
    return (
        f"the policy does not allow {entry!r}{suggestion(entry, allowed)}; use one of them, or list "
        f"{entry!r} in policy.triggers.authentications of the project file"
    )


def _secret(
    policy: Policy, cluster: ClusterSpec, item: Mapping[str, Any], place: Path
) -> Iterator[Finding]:
    name = item.get("name")
    if isinstance(name, str) and not policy.allows_secret(name, cluster.image_pull_secrets):
        message = (
            f"the policy does not allow Secret {name!r}; use another one, or list it in "
            "policy.secrets of the project file"
        )
        yield _denied((*place, "name"), message)


def _servers(
    policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec, trigger: Trigger, at: Path
) -> Iterator[Finding]:
    holds_others = _holds_what_is_others(trigger)
    listed = (*policy.triggers.servers, *(servers_in(cluster.prometheus.address or "") or ()))
    for name, value in (*trigger.metadata.items(), *_token_servers(trigger)):
        is_hidden = not holds_others and _value(name, value, spec) is None
        if is_hidden or not is_address(name, value):
            continue
        place = (*at, "metadata", name) if name in trigger.metadata else (*at, "authentication")
        # One of `None`: the text does not determine it.
        for server in servers_in(_value(name, value, spec) or "") or (None,):
            reason = _refusal(server, holds_others=holds_others, trigger=trigger)
            if reason is not None and not matches_any(listed, server or ""):
                yield _denied(place, reason)


def is_address(name: str, value: str) -> bool:
    """Whether a parameter of a trigger holds the server that KEDA connects to."""
    if name in _NO_ADDRESSES:
        return False
    return _ADDRESSES.fullmatch(name) is not None or "://" in value


def _holds_what_is_others(trigger: Trigger) -> bool:
    """Whether KEDA would use more than what the API's own pods can read."""
    if trigger.metadata.get("identityOwner", "pod") != "pod":
        return True
    fields = trigger.authentication or {}
    if "name" in fields:
        return fields.get("kind", REFERENCE_KINDS[0]) in REFERENCE_KINDS
    return not _OWN_SECRETS.issuperset(AUTHENTICATION_KEYS.intersection(fields))


def _token_servers(trigger: Trigger) -> Iterator[tuple[str, str]]:
    for section, key in (("oauth2", "tokenUrl"), ("hashiCorpVault", "address")):
        fields = (trigger.authentication or {}).get(section)
        if isinstance(fields, dict) and key in fields:
            yield f"{section}.address", str(fields[key])


def _value(name: str, value: str, spec: ReleaseSpec) -> str | None:
    """The parameter itself, or the variable of the API that it names; ``None``: a Secret has it."""
    if not name.endswith("FromEnv"):
        return value
    work = spec.predictor or spec.container
    return work.env.get(value) if work else None


def _refusal(server: str | None, *, holds_others: bool, trigger: Trigger) -> str | None:
    where = "; list it in policy.triggers.servers of the project file if that is right"
    if server is not None and is_nodes_own(server):
        return f"{server} is KEDA's own machine, or a server that only KEDA may reach{where}"
    if not trigger.authentication and not holds_others:
        return None
    target = server or "a server that this text does not determine"
    if holds_others:
        return f"KEDA would send what the authentication holds to {target}{where}"
    if server is not None and is_in_cluster(server):
        return None
    return f"KEDA would send a secret of the namespace to {target}{where}"
