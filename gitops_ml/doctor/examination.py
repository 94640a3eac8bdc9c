"""What is examined for a project, in the order of the report: machine, registry, Git, Argo CD, clusters, monitoring."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from gitops_ml._version import __version__
from gitops_ml.cluster.cluster_facts import ClusterFacts
from gitops_ml.cluster.monitoring import Loki, Prometheus, proxy_path
from gitops_ml.doctor.cluster_checks import (
    argo_probes,
    argo_rights,
    cluster_probes,
    environment_rights,
    gpu_probes,
)
from gitops_ml.doctor.probes import SKIPPED, Check, Probe, finding, ok, skipped
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import EngineFailed, GitopsMlError, ProgramFailed, UsageError
from gitops_ml.forge.protocol import Forge
from gitops_ml.forge.token import token_remedy
from gitops_ml.git.environment import OUTSIDE, run_git
from gitops_ml.git.repository import GitRepository
from gitops_ml.oci.blob_upload import try_upload
from gitops_ml.oci.reference import ImageRef, split_repository
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.project.project import ClusterSpec
from gitops_ml.system.cache import cache_folder
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_BRANCH = "gitops-ml/doctor"
"""No branch has this name: the push is a dry run."""


def probes_of(workspace: Workspace, clients: Clients) -> tuple[Probe, ...]:
    """Everything that the project relies on, but for its documents."""
    apis = tuple(sorted({manifest.name for manifest in workspace.manifests}))
    return (
        *_machine(clients),
        *_registry(clients, apis),
        *_git_servers(clients),
        *_argo(workspace, clients),
        *_clusters(workspace, clients),
    )


def document_checks(workspace: Workspace) -> Iterator[Check]:
    """The project file and the manifests."""
    about, wrong = "documents", workspace.problems.errors
    for problem in wrong:
        remedy = "correct it; `gitops-ml validate` shows every problem"
        yield finding(str(problem), remedy, about=about)
    if not workspace.has_project_file:
        text = "there is no gitops-ml.yaml in this folder or above"
        yield finding(text, "run `gitops-ml init`, or name the project file", about=about)
    elif not wrong:
        apis, environments = len(workspace.manifests), ", ".join(workspace.environments)
        text = f"{count_of(apis, 'API')}, environments {environments or 'none'}"
        yield ok(text, about=about)


def without(checks: Iterable[Check], subjects: tuple[str, ...]) -> Iterator[Check]:
    """The checks; findings about one of ``subjects``, or what is below it, do not count."""
    for check in checks:
        is_left_out = any(
            check.subject == each or check.subject.startswith(f"{each}:") for each in subjects
        )
        if is_left_out and check.outcome != SKIPPED:
            yield skipped(f"left out: {check.text}", check.remedy, about=check.subject)
        else:
            yield check


def _argo(workspace: Workspace, clients: Clients) -> Iterator[Probe]:
    if (gitops := workspace.project.gitops) is not None:
        facts = ClusterFacts(clients.argo_cd.server)
        yield from argo_probes(gitops, workspace.environments, clients, facts)
        yield from argo_rights(gitops.argocd_namespace, facts)


def _clusters(workspace: Workspace, clients: Clients) -> Iterator[Probe]:
    project = workspace.project
    chosen = [project.environments[name] for name in workspace.environments]
    for name in dict.fromkeys(environment.cluster for environment in chosen):
        spec, facts = project.clusters[name], ClusterFacts(clients.cluster(name).server)
        yield from cluster_probes(spec, facts)
        yield from _monitoring(spec, clients)
        yield from gpu_probes(spec, facts)
        for environment in chosen:
            if environment.cluster == name:
                yield from environment_rights(environment, spec, facts)


# -- this machine ----------------------------------------------------------------------------------


def _machine(clients: Clients) -> Iterator[Probe]:
    yield Probe("Python", lambda: [ok(f"{platform.python_version()}, gitops-ml {__version__}")])
    yield Probe("git", _git)
    yield Probe("Helm", partial(_helm, clients))
    yield Probe("Docker", partial(_docker, clients))
    yield Probe("cache", partial(_cache, clients))


def _git() -> Iterator[Check]:
    try:
        yield ok(run_git("version", repository=OUTSIDE).strip())
    except ProgramFailed as error:
        yield finding(str(error), "install git, or name it in GIT_PYTHON_GIT_EXECUTABLE")


def _helm(clients: Clients) -> Iterator[Check]:
    try:
        yield ok(f"renders with {type(clients.helm).__name__}")
    except UsageError as error:
        gitops = clients.project.gitops
        if gitops is not None and gitops.mode == "manifests":
            yield finding(f"gitops.mode is manifests, and {error}", "install either")
        else:
            yield skipped(f"only the rendering of Kubernetes objects needs it: {error}")


def _docker(clients: Clients) -> Iterator[Check]:
    builder = clients.project.image.builder
    if builder == "oci":
        yield skipped("image.builder is oci, which needs no engine")
        return
    try:
        with clients.builder.engine() as engine:
            yield ok(f"the engine answers, version {engine.version()['Version']}")
    except EngineFailed as error:
        if builder == "docker":
            yield finding(str(error), "start it, or set image.builder to auto or oci")
        else:
            yield skipped(f"only packages without wheels need it: {error}")


def _cache(clients: Clients) -> Iterator[Check]:
    try:
        folder = cache_folder(clients.environ)
        probe = folder / ".doctor"
        probe.touch()
        probe.unlink()
    except (OSError, GitopsMlError) as error:
        yield finding(str(error), "set XDG_CACHE_HOME to a folder that you may write to")
    else:
        yield ok(f"{folder} is writable")


# -- the registry ----------------------------------------------------------------------------------


def _registry(clients: Clients, apis: tuple[str, ...]) -> Iterator[Probe]:
    if (registry := clients.registry) is not None:
        image = clients.project.image
        yield Probe("registry", partial(_image_push, registry, image.repository, apis))
        yield Probe("base image", partial(_base_image, registry, image.base))


def _image_push(registry: OciRegistry, place: str | None, apis: tuple[str, ...]) -> Iterator[Check]:
    """Whether the image of the first API could be pushed, by an upload that is begun and cancelled."""
    if place is None:
        yield skipped("image.repository is not set, so no image can be pushed")
        return
    repository = f"{place}/{apis[0] if apis else 'doctor'}"
    try_upload(registry.session, repository)
    yield ok(f"{split_repository(repository)[0]} accepts pushes to {repository}")


def _base_image(registry: OciRegistry, base: str) -> Iterator[Check]:
    if registry.digest(ImageRef.parse(base)) is None:
        remedy = "run `gitops-ml base update`, or correct image.base"
        yield finding(f"the registry has no {base}", remedy)
    else:
        yield ok(f"{base} can be read")


# -- Git repositories and their forges -------------------------------------------------------------


def _git_servers(clients: Clients) -> Iterator[Probe]:
    gitops, source = clients.project.gitops, clients.project.source
    if gitops is not None:
        yield from _of_repository(
            "GitOps repository", lambda: clients.repository, lambda: clients.forge, gitops.branch
        )
    if source is not None:
        yield from _of_repository(
            "source repository", lambda: clients.source_repository, lambda: clients.source_forge,
            source.branch,
        )  # fmt: skip


def _of_repository(
    subject: str,
    repository: Callable[[], GitRepository | None],
    forge: Callable[[], Forge | None],
    branch: str,
) -> Iterator[Probe]:
    yield Probe(subject, lambda: _read_and_push(subject, repository()))
    yield Probe(f"{subject}: forge", lambda: _pull_requests(forge(), branch))


def _read_and_push(subject: str, repository: GitRepository | None) -> Iterator[Check]:
    assert repository is not None, "the project names it"
    snapshot = repository.fetch()
    if snapshot.commit is None:
        yield finding(f"{repository.remote} can be read and is empty", "run `gitops-ml bootstrap`")
        return
    yield ok(f"{repository.remote} can be read; {repository.branch} is {snapshot.commit[:12]}")
    # A server refuses a key or token without the right to write before it looks at branches.
    repository.try_push(snapshot, branch=_BRANCH)
    yield ok(
        "a push would be accepted (dry run; rules of protected branches are not tried)",
        about=f"{subject}: push",
    )


def _pull_requests(forge: Forge | None, branch: str) -> Iterator[Check]:
    if forge is None:
        yield skipped("no forge is known: branches are pushed, and pull requests opened by hand")
        return
    session, host = forge.session, forge.session.address.host
    if session.token is None:
        remedy = token_remedy(session.address.type, host, session.section, session.environ)
        yield finding(f"there is no token for {host}", remedy)
        return
    forge.find(head=_BRANCH, base=branch)
    yield ok(f"{host} shows pull requests, with the token of {session.token.origin}")


# -- Prometheus and Loki ---------------------------------------------------------------------------


def _monitoring(spec: ClusterSpec, clients: Clients) -> Iterator[Probe]:
    def server(address: str | None) -> str:
        """The cluster, where its API server has to answer first."""
        return f"cluster {spec.name}" if address and proxy_path(address) else ""

    subject, prometheus = f"cluster {spec.name}: Prometheus", clients.prometheus(spec.name)
    look = partial(_prometheus, subject, spec, prometheus)
    yield Probe(subject, look, server(spec.prometheus.address))
    if spec.loki is not None:
        subject = f"cluster {spec.name}: Loki"
        yield Probe(
            subject, lambda: _loki(spec, clients.loki(spec.name)), server(spec.loki.address)
        )


def _prometheus(subject: str, spec: ClusterSpec, prometheus: Prometheus | None) -> Iterator[Check]:
    if prometheus is None:
        yield skipped(
            f"clusters.{spec.name}.prometheus.address is not set: KEDA and `compare` read the pods"
        )
        return
    yield ok(f"{prometheus.version()} at {prometheus.address}")
    predictors, about = prometheus.query("count(predictor_info)"), f"{subject}: targets"
    if predictors and predictors[0].value:
        yield ok(f"it reads {predictors[0].value:g} predictors", about=about)
    else:
        yield finding(
            "it has no series predictor_info: it reads no predictor, or none runs",
            f"if one runs, set clusters.{spec.name}.prometheus.pod_monitors, or have Prometheus read pods with "
            f"the annotation prometheus.io/scrape; its namespace is {spec.prometheus.namespace} for the NetworkPolicy",
            about=about,
        )


def _loki(spec: ClusterSpec, loki: Loki | None) -> Iterator[Check]:
    assert loki is not None and spec.loki is not None, "the entry names one"
    labels, wanted = loki.labels(), spec.loki.namespace_label
    if wanted in labels:
        yield ok(f"{loki.address} has streams with the label {wanted}")
        return
    known = ", ".join(sorted(labels)[:20]) or "none"
    yield finding(
        f"no stream of the last hours at {loki.address} has the label {wanted}; labels are: {known}",
        f"set clusters.{spec.name}.loki.namespace_label to the label with the namespace of pods, and "
        "loki.tenant where Loki has tenants",
    )
