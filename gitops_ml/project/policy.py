"""The policy of the project file: what manifests may request, and what no policy can allow.

Every list is an allow list: an unknown controller may act on what is not listed. A policy
of an environment is checked in addition to the project's, so it can only narrow what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPolicy:
    types: tuple[str, ...]
    authentications: tuple[str, ...]
    """Keys of a TriggerAuthentication, and ``<kind>/<name>`` of those that exist."""
    identities: tuple[str, ...]
    """Providers whose identity of KEDA's own a trigger may use."""
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    annotations: tuple[str, ...]
    labels: tuple[str, ...]
    own_domains: bool
    priority_classes: tuple[str, ...]
    tolerations: tuple[str, ...]
    """As in ``kubectl taint``: ``key[=value][:effect]``."""
    node_labels: tuple[str, ...]
    hosts: tuple[str, ...]
    """Beside those of the cluster's gateway."""
    secrets: tuple[str, ...]
    volumes: tuple[str, ...]
    """PersistentVolumeClaims."""
    external_secrets: tuple[str, ...]
    """``<store kind>/<store>/<key>``."""
    registries: tuple[str, ...] | None
    """``None``: any."""
    least_user_id: int
    prune_at_most: int
    triggers: TriggerPolicy
    hosts_domains: frozenset[str] = frozenset()
    """Of the gateways' hosts; see `domains`."""

    def allows_secret(self, name: str, pull_secrets: Iterable[str]) -> bool:
        """Whether APIs may read the Secret; those that nodes pull images with have to be named."""
        return name in self.secrets or (
            name not in pull_secrets and matches_any(self.secrets, name)
        )

    @property
    def domains(self) -> frozenset[str]:
        """The domains that are the project's own."""
        return self.hosts_domains if self.own_domains else frozenset()


# -- names -----------------------------------------------------------------------------------------


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern``, in which each ``*`` matches any characters; in linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    *middle, last = rest
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)


def matches_any(patterns: Iterable[str], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


# -- keys of annotations and labels ----------------------------------------------------------------

_NEVER = ("argoproj.io", "helm.sh", "gitops-ml.dev", "app.kubernetes.io")
"""Domains, with all below them, whose keys decide what Helm, Argo CD and we do with an object."""
_NEVER_KEYS = ("kubectl.kubernetes.io/last-applied-configuration",)
_NOT_PRIVATE = ("aadpodidbinding",)
"""Keys without a domain that a controller acts on: this label gives pods an identity of Azure."""
_INGRESS = (
    *(
        "ingress.kubernetes.io",
        "nginx.org",
        "nginx.com",
        "haproxy.org",
        "haproxy-ingress.github.io",
    ),
    *("traefik.io", "traefik.containo.us", "projectcontour.io", "contour.heptio.com", "konghq.com"),
    *("k8s.apisix.apache.org", "getambassador.io", "kubernetes.io", "k8s.io"),
)
_PRIVILEGED = re.compile(
    r"(?i)snippet|auth|alias|lua|modsecurity|jwt|middleware|plugin|exec|command|secret|certificate"
)
"""Names of ingress controllers' keys by which they run code, take hosts or use credentials: a policy
has to name the whole key."""
_NOBODYS = ("kubernetes.io", "k8s.io", "amazonaws.com", "gke.io")
"""Domains that are never a project's own, with any names of its hosts."""


def own_domains(hosts: Iterable[str]) -> frozenset[str]:
    """The hosts and the domains above them, of at least two labels: ``ml.acme.example``, ``acme.example``."""
    found = set()
    for host in hosts:
        labels = host.removeprefix("*.").split(".")
        found |= {".".join(labels[at:]) for at in range(len(labels) - 1)}
    return frozenset(name for name in found if not _is_below(name, _NOBODYS + _NEVER))


def _is_below(domain: str, domains: Iterable[str]) -> bool:
    return any(domain == each or domain.endswith(f".{each}") for each in domains)


def is_never_allowed(key: str) -> bool:
    """Whether no policy can allow this key: it would change what Helm or Argo CD does with a release."""
    domain = key.rpartition("/")[0]
    return _is_below(domain, _NEVER) or key in _NEVER_KEYS


def allows_key(key: str, entries: Iterable[str], domains: Iterable[str]) -> bool:
    """Whether a policy allows the key of an annotation, a label or a node's label.

    An entry is a whole key, a domain with ``/`` at its end, or a key with ``*`` at its end. Keys
    without a domain are private to users by Kubernetes' convention, and always allowed.
    """
    if is_never_allowed(key):
        return False
    domain, _, name = key.rpartition("/")
    if key in entries or domain in domains:
        return True
    if not domain:
        return key not in _NOT_PRIVATE
    if _is_below(domain, _INGRESS) and _PRIVILEGED.search(name):
        return False
    return any(_is_beginning(entry, domain, name) for entry in entries if entry[-1:] in ("/", "*"))


def _is_beginning(entry: str, domain: str, name: str) -> bool:
    its_domain, _, its_name = entry.rpartition("/")
    return its_domain == domain and name.startswith(its_name.removesuffix("*"))


# -- taints ----------------------------------------------------------------------------------------


def toleration_error(toleration: Mapping[str, Any]) -> str | None:
    """The error that the API server would report for a toleration."""
    exists = toleration.get("operator") == "Exists"
    if not toleration.get("key") and not exists:
        return "without a key the operator must be Exists"
    if exists and toleration.get("value"):
        return "Exists matches any value; remove 'value', or write operator: Equal"
    if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
        return "tolerationSeconds needs effect: NoExecute"
    return None


def allows_toleration(toleration: Mapping[str, Any], entries: Iterable[str]) -> bool:
    """Whether one of the taints in ``entries`` covers all that the toleration tolerates."""
    return any(_covers(entry, toleration) for entry in entries)


def _covers(entry: str, toleration: Mapping[str, Any]) -> bool:
    if entry == "*":
        return True
    taint, _, effect = entry.partition(":")
    key, has_value, value = taint.partition("=")
    if (toleration.get("key") or "") != key:
        return False
    if effect and toleration.get("effect") != effect:
        return False
    is_exact = toleration.get("operator", "Equal") == "Equal"
    return not has_value or (is_exact and (toleration.get("value") or "") == value)


# -- hosts and servers -----------------------------------------------------------------------------


def allows_host(host: str, patterns: Iterable[str], *, any_depth: bool) -> bool:
    """Whether ``host`` is one of the patterns or below a ``*.`` of one.

    Gateway API matches ``*.`` with one or more labels (``any_depth``), an Ingress with exactly one.
    """
    return any(host == pattern or _is_in(host, pattern, any_depth) for pattern in patterns)


def _is_in(host: str, pattern: str, any_depth: bool) -> bool:
    if not pattern.startswith("*.") or host.startswith("*"):
        return False
    rest = host.removesuffix(pattern[1:])
    return rest not in ("", host) and (any_depth or "." not in rest)


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9.-]+)(?::[0-9]+)?(?:[/?][^\s\\@]*)?")
_ADDRESS = re.compile(r"([A-Za-z0-9.-]+)(?::[0-9]+)?")


def servers_in(text: str) -> tuple[str, ...] | None:
    """The hosts in the addresses or URLs of a trigger, in small letters; ``None`` where it is not
    certain how a client reads it."""
    found = []
    for part in text.split(","):
        match = _URL.fullmatch(part.strip()) or _ADDRESS.fullmatch(part.strip())
        if match is None:
            return None
        found.append(match[1].lower().rstrip("."))
    return tuple(found)


def is_in_cluster(host: str) -> bool:
    """Whether only the cluster's own DNS can know the host."""
    return "." not in host or host.endswith((".svc", ".svc.cluster.local"))


_NODES_OWN = re.compile(
    r"localhost|.*\.localhost|127\..*|0\..*|0|169\.254\..*|metadata|metadata\.google\.internal"
    r"|[0-9]+|0x.*|kubernetes|kubernetes\.default(\.svc(\.cluster\.local)?)?"
)


def is_nodes_own(host: str) -> bool:
    """Whether the host is the machine or pod that asks, its cloud's metadata, or the API server."""
    return _NODES_OWN.fullmatch(host) is not None
