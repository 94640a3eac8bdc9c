"""Rules of the policy about KEDA triggers.

KEDA's operator reads the metric, with its own network and the credentials of an authentication. A
trigger that names a server and an authentication sends the credentials to the server, so the policy
lists the servers that may get credentials that the author of the manifest cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, suggestion
from gitops_ml.project.policy import Policy, is_in_cluster, is_nodes_own, matches_any, servers_in
from gitops_ml.project.project import ClusterSpec
from gitops_ml.release.rules.keda_scalers import scalers
from gitops_ml.release.rules.triggers import AUTHENTICATION_KEYS, REFERENCE_KINDS
from gitops_ml.release.spec import ReleaseSpec, Trigger

_RULE = "policy"
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
            yield error((*at, "type"), message, rule=_RULE)
        yield from _identities(policy, trigger, at)
        yield from _authentication(policy, spec, cluster, trigger, at)
        yield from _servers(policy, spec, cluster, trigger, at)


def _identities(policy: Policy, trigger: Trigger, at: Path) -> Iterator[Finding]:
    """Check the use of KEDA's own identity, which reads more than the team may."""
    owner = trigger.metadata.get("identityOwner", "pod")
    if owner not in ("pod", "workload") and "aws" not in policy.triggers.identities:
        yield error((*at, "metadata", "identityOwner"), _identity_message("aws"), rule=_RULE)
    if trigger.metadata.get("credentialsFromEnvFile") and "gcp" not in policy.triggers.identities:
        path = (*at, "metadata", "credentialsFromEnvFile")
        yield error(path, _identity_message("gcp"), rule=_RULE)
    identity = (trigger.authentication or {}).get("podIdentity")
    if not isinstance(identity, dict) or not _is_kedas_own(identity):
        return
    provider = str(identity.get("provider"))
    if provider not in policy.triggers.identities:
        yield error((*at, "authentication", "podIdentity"), _identity_message(provider), rule=_RULE)


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


def _authentication(
    policy: Policy, spec: ReleaseSpec, cluster: ClusterSpec, trigger: Trigger, at: Path
) -> Iterator[Finding]:
    fields, place = trigger.authentication or {}, (*at, "authentication")
    allowed = policy.triggers.authentications
    if "name" in fields:
        kind = fields.get("kind", REFERENCE_KINDS[0])
        entry = f"{kind}/{fields['name']}"
        if kind in REFERENCE_KINDS and not matches_any(allowed, entry):
            yield error(place, _not_allowed(entry, allowed), rule=_RULE)
        return
    for key, value in fields.items():
        if key in AUTHENTICATION_KEYS - {"podIdentity"} and key not in allowed:
            yield error((*place, key), _not_allowed(key, allowed), rule=_RULE)
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict):
                yield from _account(spec, item, (*place, key, index))
                if key == "secretTargetRef":
                    yield from _secret(policy, cluster, item, (*place, key, index))


def _not_allowed(entry: str, allowed: tuple[str, ...]) -> str:
    return (
        f"the policy does not allow {entry!r}{suggestion(entry, allowed)}; use one of them, or list "
        f"{entry!r} in policy.triggers.authentications of the project file"
    )


def _account(spec: ReleaseSpec, item: Mapping[str, Any], place: Path) -> Iterator[Finding]:
    account = item.get("serviceAccountName")
    if account is not None and account != spec.name:
        message = f"{account!r} is another ServiceAccount; the API's own is {spec.name!r}"
        yield error((*place, "serviceAccountName"), message, rule=_RULE)


def _secret(
    policy: Policy, cluster: ClusterSpec, item: Mapping[str, Any], place: Path
) -> Iterator[Finding]:
    name = item.get("name")
    if isinstance(name, str) and not policy.allows_secret(name, cluster.image_pull_secrets):
        message = (
            f"the policy does not allow Secret {name!r}; use another one, or list it in "
            "policy.secrets of the project file"
        )
        yield error((*place, "name"), message, rule=_RULE)


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
        for server in _hosts_of(name, value, spec):
            if matches_any(listed, server or ""):
                continue
            reason = _refusal(server, holds_others=holds_others, trigger=trigger)
            if reason is not None:
                yield error(place, reason, rule=_RULE)


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


def _hosts_of(name: str, value: str, spec: ReleaseSpec) -> tuple[str | None, ...]:
    """The hosts of a parameter; ``None`` for one that the text does not determine."""
    return servers_in(_value(name, value, spec) or "") or (None,)


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
