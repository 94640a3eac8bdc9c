"""The project file as a `Project`: presets expanded, defaults filled in, references checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from gitops_ml.documents.findings import Finding, Path, dotted, error, suggestion
from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.plain_data import merged, structure, within
from gitops_ml.documents.yaml_reader import Document
from gitops_ml.errors import Problem
from gitops_ml.http.urls import is_protected
from gitops_ml.manifest.cortex_spellings import current_spelling, original
from gitops_ml.project.checks import check_relations
from gitops_ml.project.policy import Policy, is_never_allowed, own_domains, toleration_error
from gitops_ml.project.presets import (
    SPOT_PRESETS,
    preset_gpu_class,
    preset_spot_pool,
    price_findings,
    with_prices,
)
from gitops_ml.project.preview_checks import preview_findings
from gitops_ml.project.project import (
    ARGO_CDS_OWN,
    EnvironmentSpec,
    GpuClass,
    Project,
    SpotPool,
    minor_version,
    taken_team,
)
from gitops_ml.system.clean_text import without_credentials
from gitops_ml.system.secret_scan import has_secret_shape

_error = partial(error, rule="project")
_secret = partial(error, rule="secret")
_ONLY_CLUSTER = "in-cluster"


def read_project(document: Document) -> tuple[Project | None, tuple[Problem, ...]]:
    """The project that a document describes, or none and its problems."""
    if any(problem.severity == "error" for problem in document.problems):
        return None, document.problems
    if not isinstance(document.data, dict):
        message = "the project file must be a mapping that begins with project: my-project"
        return None, (Problem(document.file, *document.place(()), "", message),)
    findings = list(load_schema("project").findings(document.data, written=document.written))
    overrides, more = _overrides(document.data)
    findings += more
    if not any(finding.severity == "error" for finding in findings):
        findings += _relations(document.data)
    problems = tuple(_problem(document, finding) for finding in findings)
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    return _project(document.data, overrides), problems


def default_project() -> Project:
    """The project without a project file: one environment on the cluster of Argo CD."""
    cluster = {"gpu_classes": {"gpu": {"preset": "nvidia"}}}
    document = {
        "project": "default",
        "clusters": {_ONLY_CLUSTER: cluster},
        "environments": {"default": {"namespace": "ml"}},
    }
    return _project(document, {})


def _problem(document: Document, finding: Finding) -> Problem:
    place = document.place(finding.path)
    path = dotted(finding.path)
    return Problem(document.file, *place, path, finding.message, finding.rule, finding.severity)


def _overrides(data: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], list[Finding]]:
    """The overrides of the environments in current spelling; they have the shape of an API."""
    schema = load_schema("api").definition("overrides")
    spelled: dict[str, Mapping[str, Any]] = {}
    findings: list[Finding] = []
    environments = data.get("environments")
    for name, environment in (environments if isinstance(environments, dict) else {}).items():
        fields = environment.get("overrides") if isinstance(environment, dict) else None
        if not isinstance(fields, dict):
            continue
        spelling = current_spelling({"kind": "", **fields})
        body = {key: value for key, value in spelling.body.items() if key != "kind"}
        found = [*spelling.findings, *schema.findings(body)]
        at: Path = ("environments", name, "overrides")
        for each in found:
            path = (*at, *original(spelling.renamed, each.path))
            findings.append(Finding(path, each.message, each.rule, each.severity))
        spelled[name] = body
    return spelled, findings


def _relations(data: Mapping[str, Any]) -> Iterator[Finding]:
    image = data.get("image") or {}
    if image.get("platform") and "platforms" in image:
        yield _error(("image", "platform"), "'platform' is short for 'platforms': keep one of them")
    for key in ("gitops", "source"):
        yield from _repository(data.get(key) or {}, key)
    yield from _signing(image.get("signing") or {})
    yield from _policies(data)
    yield from check_relations(data)
    clusters = data.get("clusters") or {_ONLY_CLUSTER: {}}
    for name, cluster in clusters.items():
        yield from _cluster_relations(cluster or {}, ("clusters", name))
    for name, environment in data["environments"].items():
        at, cluster = ("environments", name), environment.get("cluster")
        if cluster is None and len(clusters) > 1:
            yield _error(at, f"'cluster' is missing; the project has: {', '.join(clusters)}")
        elif cluster is not None and cluster not in clusters:
            message = f"unknown cluster {cluster!r}{suggestion(cluster, clusters)}"
            yield _error((*at, "cluster"), message)
    yield from _shared_places(data["environments"], clusters)
    yield from preview_findings(data)
    teams, default = data.get("teams") or {}, data.get("default_team")
    yield from _team_names(teams, default)
    if teams and default is not None and default not in teams:
        yield _error(("default_team",), f"unknown team {default!r}{suggestion(default, teams)}")


def _policies(data: Mapping[str, Any]) -> Iterator[Finding]:
    places: list[tuple[Path, Any]] = [(("policy",), data.get("policy"))]
    for name, environment in data["environments"].items():
        places.append((("environments", name, "policy"), environment.get("policy")))
    for at, fields in places:
        for section in ("annotations", "labels"):
            for index, key in enumerate((fields or {}).get(section) or ()):
                if is_never_allowed(key):
                    message = f"{key!r} cannot be allowed: Helm, Argo CD, Kubernetes or gitops-ml acts on it"
                    yield _error((*at, section, index), message)


def _tolerations(nodes: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    for index, toleration in enumerate(nodes.get("tolerations") or ()):
        if (wrong := toleration_error(toleration)) is not None:
            yield _error((*at, "tolerations", index), wrong)


def _cluster_relations(cluster: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    for gpu, fields in (cluster.get("gpu_classes") or {}).items():
        yield from _gpu_class_relations(fields, (*at, "gpu_classes", gpu))
        yield from _tolerations(fields, (*at, "gpu_classes", gpu))
    version = cluster.get("kubernetes_version")
    if cluster.get("image_volumes") and version and minor_version(version) < 33:
        message = f"pods can mount images from Kubernetes 1.33 on; kubernetes_version is {version}"
        yield _error((*at, "image_volumes"), message)
    prometheus, loki = within(cluster, "prometheus"), within(cluster, "loki")
    is_scraped = prometheus.get("pod_monitors") or prometheus.get("address")
    if prometheus.get("alerts") and not is_scraped:
        message = (
            "without pod_monitors or address nothing scrapes the pods, so that no alert could fire"
        )
        yield _error((*at, "prometheus", "alerts"), message)
    host = urlsplit(loki.get("address") or "").hostname or ""
    if loki.get("token_env") and host.endswith((".svc", ".svc.cluster.local")):
        message = (
            "an address inside of the cluster is reached through the API server's proxy, which passes no "
            "token on: remove it, or give an address outside of the cluster"
        )
        yield _error((*at, "loki", "token_env"), message)
    yield from price_findings(cluster, at)
    spot = cluster.get("spot")
    yield from _tolerations(spot or {}, (*at, "spot"))
    if spot is not None and not spot.get("preset") and not spot.get("node_selector"):
        yield _error((*at, "spot"), "it needs a preset or a node_selector")


def _repository(fields: Mapping[str, Any], section: str) -> Iterator[Finding]:
    forge = fields.get("forge") or {}
    for key in ("repository", "argocd_repository"):
        address = fields.get(key) or ""
        if without_credentials(address) != address:
            message = (
                "the URL holds a user name, a password or a query; put the token in an environment variable and "
                f"name it in {section}.token_env (a user name goes to {section}.username)"
            )
            yield _secret((section, key), message)
    for at, each in (((section,), fields), ((section, "forge"), forge)):
        if has_secret_shape(each.get("token_env") or ""):
            message = (
                "this looks like the token itself; name the environment variable that holds it, "
                "and revoke the token if this file was ever pushed"
            )
            yield _secret((*at, "token_env"), message)
    if (api_url := forge.get("api_url")) and not is_protected(api_url):
        message = "a token would travel in plain text; use https"
        yield _secret((section, "forge", "api_url"), message)


def _signing(signing: Mapping[str, Any]) -> Iterator[Finding]:
    for key in ("key", "password_env"):
        if has_secret_shape(signing.get(key) or ""):
            message = (
                "this looks like the secret itself; name the file or the environment variable that "
                "holds it, and make a new key if this file was ever pushed"
            )
            yield _secret(("image", "signing", key), message)


def _gpu_class_relations(fields: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    preset = fields.get("preset")
    if preset is None:
        if not fields.get("resource"):
            yield _error(at, "a GPU class needs a preset or a resource")
        for key in ("model", "mig", "spot"):
            if fields.get(key):
                yield _error((*at, key), f"{key!r} has an effect with a preset only")
    elif fields.get("spot") and preset not in SPOT_PRESETS:
        message = f"the preset {preset!r} has no spot nodes; write their labels to node_selector"
        yield _error((*at, "spot"), message)


def _shared_places(
    environments: Mapping[str, Any], clusters: Mapping[str, Any]
) -> Iterator[Finding]:
    """A release is called like its API: in one namespace two environments would overwrite each other."""
    taken: dict[tuple[str, str], str] = {}
    only = next(iter(clusters))
    for name, fields in environments.items():
        cluster = clusters.get(fields.get("cluster") or only) or {}
        place = (cluster.get("server") or ARGO_CDS_OWN, fields["namespace"])
        other = taken.setdefault(place, name)
        if other != name:
            message = f"{fields['namespace']!r} is the namespace of {other!r} on the same cluster"
            yield _error(("environments", name, "namespace"), message)


def _team_names(teams: Mapping[str, Any], default: str | None) -> Iterator[Finding]:
    places: list[tuple[str, Path]] = [(name, ("teams", name)) for name in teams]
    if default is not None and default not in teams:
        places.append((default, ("default_team",)))
    for name, place in places:
        if message := taken_team(name):
            yield _error(place, message)


# -- data to values --------------------------------------------------------------------------------


def _project(document: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]]) -> Project:
    clusters = document.get("clusters") or {_ONLY_CLUSTER: {}}
    data = load_schema("project").with_defaults({**document, "clusters": clusters})
    image, only = data["image"], data["image"]["platform"]
    teams, default_team = data["teams"], data["default_team"]
    if teams and default_team not in teams:
        default_team = next(iter(teams))
    return structure(
        Project,
        {
            **data,
            "name": data["project"],
            "image": {**image, "platforms": [only] if only else sorted(image["platforms"])},
            "clusters": _named({name: _cluster(each) for name, each in data["clusters"].items()}),
            "environments": _named(_environments(data, overrides)),
            "teams": _named(teams),
            "default_team": default_team,
        },
    )


def _named(items: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return {name: {**fields, "name": name} for name, fields in items.items()}


def _cluster(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    classes = {name: _gpu_class(each) for name, each in fields["gpu_classes"].items()}
    spot = fields["spot"]
    if spot and spot["preset"]:
        spot = _over_preset(preset_spot_pool(spot["preset"]), spot)
    return with_prices({**fields, "gpu_classes": classes, "spot": spot})


def _gpu_class(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if fields["preset"] is None:
        return fields
    preset = preset_gpu_class(
        fields["preset"], model=fields["model"], mig=fields["mig"], spot=fields["spot"]
    )
    resource = fields["resource"] or preset.resource
    return {**fields, **_over_preset(preset, fields), "resource": resource}


def _over_preset(preset: GpuClass | SpotPool, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "node_selector": {**preset.node_selector, **fields["node_selector"]},
        "tolerations": (*preset.tolerations, *fields["tolerations"]),
    }


def _environments(
    data: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any]]:
    gateways = [each["gateway"] for each in data["clusters"].values() if each["gateway"]]
    hosts = [host for gateway in gateways for host in gateway["hosts"]]
    policy = {**data["policy"], "hosts_domains": own_domains(hosts)}
    return {
        name: {
            **fields,
            "cluster": fields["cluster"] or next(iter(data["clusters"])),
            "overrides": overrides.get(name, {}),
            "policies": (policy, *_narrower(policy, fields["policy"])),
        }
        for name, fields in data["environments"].items()
    }


def _narrower(
    policy: Mapping[str, Any], fields: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """The policy of the environment: that of the project with the fields that the environment sets."""
    own = {key: value for key, value in fields.items() if value is not None}
    return (merged(policy, own),) if own else ()


def narrowed(
    environment: EnvironmentSpec, document: Document
) -> tuple[EnvironmentSpec | None, tuple[Problem, ...]]:
    """The environment with the policy of ``policy.yaml`` alone, and what is wrong with that file.

    What the file leaves out is as the project has it, so that checking both only narrows.
    """
    if any(problem.severity == "error" for problem in document.problems):
        return None, document.problems
    schema = load_schema("project").definition("policy")
    found = schema.findings(document.data, written=document.written)
    if problems := tuple(_problem(document, finding) for finding in found):
        return None, problems
    policies = _narrower(asdict(environment.policies[0]), document.data)
    return replace(environment, policies=tuple(structure(Policy, each) for each in policies)), ()
