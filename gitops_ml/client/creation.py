"""Deploy from Python: an API as a dict with its code, or manifests in files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.notebook_origin import notebook_origin
from gitops_ml.capture.package import Package, check_package, package
from gitops_ml.capture.package_text import package_text
from gitops_ml.capture.spec_of_class import api_name, source_folder, with_class, with_models
from gitops_ml.client.results import Api, Apis, PullRequest
from gitops_ml.commands.deploy import deploy
from gitops_ml.commands.model import name_models, store_models
from gitops_ml.commands.propose_source import propose_source
from gitops_ml.errors import UsageError
from gitops_ml.models.saved import modules_of, saved
from gitops_ml.release.runtime_settings import runtime_settings
from gitops_ml.workspace.from_dicts import DescribedApi, check_shape
from gitops_ml.workspace.workspace import checked, open_project

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gitops_ml.client.api_client import Client
    from gitops_ml.client.connection import Connection
    from gitops_ml.delivery.plan import DeployOptions
    from gitops_ml.system.progress import Progress
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCode:
    """The code arguments of `Client.create_api`."""

    predictor: type | None
    task: Callable[..., Any] | None
    requirements: Sequence[str]
    conda_packages: Sequence[str]
    project_dir: str | Path | None
    models: Mapping[str, Any]

    @property
    def target(self) -> type | Callable[..., Any] | None:
        """The class or function to package, if the code is not in a folder.

        Raises:
            UsageError: more than one of predictor, task and project_dir is given.
        """
        given = [
            name for name in ("predictor", "task", "project_dir") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise UsageError(f"give only one of {' and '.join(given)}: each of them is the code")
        return self.predictor if self.predictor is not None else self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """The folder of the code, and the API with the fields that follow from the code."""

    spec: dict[str, Any]
    folder: Path
    manifest_file: str
    package: Package | None = None
    locations: Mapping[str, str] = field(default_factory=dict)
    """The URL of each model of the call."""
    models: Mapping[str, Any] = field(default_factory=dict)
    """What is stored at these URLs; an object of the session is pickled once."""

    @property
    def notes(self) -> tuple[str, ...]:
        return self.package.notes() if self.package else ()


def create_api(
    client: Client,
    connection: Connection,
    api_spec: Mapping[str, Any],
    given: GivenCode,
    *,
    content: str,
    origin: Mapping[str, Any] | None,
    options: DeployOptions,
) -> Api:
    """Package, check and store the code, then deploy the API or propose its source."""
    with connection.working() as progress:
        code = _code(connection, api_spec, given, progress)
        workspace = _workspace(connection, code, origin)
        clients = connection.clients(workspace, progress)
        if code.package is not None:
            progress(f"importing {code.package.class_name} in a clean interpreter")
            _check_import(code.package, workspace)
        if code.models and not options.dry_run:
            # The manifest has their digests already; nothing is pushed before this line.
            store_models(
                workspace, api_name(api_spec), code.models, named=code.locations, tools=clients
            )
        if content == "source":
            return _propose_source(client, code, workspace, clients, options)
        why = options.why
        if code.package is not None:
            why = package_text("predictor_source.md.j2", code.package, why=why)
        pull_request = connection.proposes(options.pull_request)
        options = replace(options, pull_request=pull_request, why=why)
        deployed = deploy(workspace, tools=clients, options=options)
    (release,) = deployed.all_releases
    (manifest,) = workspace.manifests
    return Api.deployed(release, deployed, manifest.submitted, client, package=code.package)


def deploy_files(
    client: Client, connection: Connection, path: Path, options: DeployOptions
) -> Apis:
    """Deploy the manifest in a file, or those below a folder."""
    with connection.working() as progress:
        workspace = open_project(
            [path],
            project_file=connection.loaded.file,
            environments=[connection.environment],
            instead=connection.loaded if connection.loaded.file is None else None,
        )
        clients = connection.clients(workspace, progress)
        deployed = deploy(workspace, tools=clients, options=options)
    submitted = {each.name: each.submitted for each in workspace.manifests}
    return Apis(
        Api.deployed(release, deployed, submitted[release.name], client)
        for release in deployed.all_releases
    )


def _code(
    connection: Connection, api_spec: Mapping[str, Any], given: GivenCode, progress: Progress
) -> _Code:
    target = given.target
    if target is not None:
        return _packaged(connection, api_spec, target, given, progress)
    return _in_folder(connection, api_spec, given, progress)


def _packaged(
    connection: Connection,
    api_spec: Mapping[str, Any],
    target: type | Callable[..., Any],
    given: GivenCode,
    progress: Progress,
) -> _Code:
    class_name = getattr(target, "__name__", type(target).__name__)
    # The folder of the package has the API's name, so the name must be valid.
    check_shape(with_class(api_spec, path="predictor.py", class_name=class_name))
    models = {name: saved(name, each) for name, each in given.models.items()}
    progress(f"packaging {class_name}")
    found = package(
        api_name(api_spec),
        target,
        requirements=given.requirements,
        conda_packages=given.conda_packages,
        modules={each for item in models.items() for each in modules_of(*item)},
    )
    python = found.python if found.pickled else None
    spec = with_class(api_spec, path=found.path, class_name=found.class_name, python=python)
    locations = _locations(connection, spec, models, progress)
    return _Code(
        spec=with_models(spec, locations, loads_models=hasattr(target, "load_model")),
        folder=found.folder,
        manifest_file=f"{_source_folder(connection, api_spec)}/api.yaml",
        package=found,
        locations=locations,
        models=models,
    )


def _in_folder(
    connection: Connection, api_spec: Mapping[str, Any], given: GivenCode, progress: Progress
) -> _Code:
    if given.requirements or given.conda_packages:
        raise UsageError(
            "requirements and conda_packages are for predictor= and task=; for a project_dir, write "
            "requirements.txt and conda-packages.txt in that folder"
        )
    if given.project_dir is None and api_spec.get("predictor"):
        raise UsageError(
            "the code of the predictor is missing: give predictor=<a class>, or project_dir=<the "
            "folder that predictor.path is relative to>"
        )
    if given.models:
        check_shape(api_spec)
    models = {name: saved(name, each) for name, each in given.models.items()}
    locations = _locations(connection, api_spec, models, progress)
    root, home = connection.loaded.root, _source_folder(connection, api_spec)
    folder = Path(given.project_dir or root).absolute()
    if given.project_dir is not None and folder.is_relative_to(root):
        home = folder.relative_to(root).as_posix()
    return _Code(
        spec=with_models(dict(api_spec), locations, loads_models=False),
        folder=folder,
        manifest_file=f"{home}/api.yaml" if home != "." else "api.yaml",
        locations=locations,
        models=models,
    )


def _source_folder(connection: Connection, api_spec: Mapping[str, Any]) -> str:
    source = connection.loaded.project.source
    return source_folder(api_name(api_spec), source.directory if source else "apis")


def _locations(
    connection: Connection,
    spec: Mapping[str, Any],
    models: Mapping[str, Any],
    progress: Progress,
) -> Mapping[str, str]:
    if not models:
        return {}
    workspace = connection.workspace()
    clients = connection.clients(workspace, progress)
    return name_models(workspace, api_name(spec), models, tools=clients)


def _workspace(connection: Connection, code: _Code, origin: Mapping[str, Any] | None) -> Workspace:
    api = DescribedApi(
        spec=code.spec,
        folder=code.folder,
        manifest_file=code.manifest_file,
        is_packaged=code.package is not None,
    )
    if origin is None:
        origin = notebook_origin(connection.loaded.root)
    return checked(connection.workspace(api, origin=origin))


def _propose_source(
    client: Client, code: _Code, workspace: Workspace, clients: Clients, options: DeployOptions
) -> Api:
    delivered = propose_source(workspace, code.package, tools=clients, options=options)
    (planned,) = workspace.releases
    return Api(
        name=planned.name,
        environment=client.environment,
        namespace=planned.environment.namespace,
        content="source",
        changes=delivered.plan.changes,
        commit=delivered.commit,
        pull_request=PullRequest.of(delivered.pull_request),
        is_plan=options.dry_run,
        warnings=(
            *map(str, workspace.problems.warnings),
            *delivered.warnings,
            *delivered.plan.warnings,
        ),
        notes=code.notes,
        package=code.package.folder if code.package else None,
        client=client,
    )


def _check_import(found: Package, workspace: Workspace) -> None:
    (release,) = workspace.releases
    spec = release.spec
    if spec.predictor is not None:
        settings = runtime_settings(
            spec.predictor, spec.monitoring, timeout=spec.networking.timeout
        )
        env = dict(spec.predictor.env)
        check_package(found, settings=settings, env=env, memory=workspace.memory)
