"""Deploy from Python: an API as a dict with its code, or manifests in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitops_ml.capture.comparison.example import Asked, Example, try_example
from gitops_ml.capture.comparison.proof import Proof
from gitops_ml.capture.live_session import notebook_origin, refuse_replaced_builtins
from gitops_ml.capture.package import check_package, package
from gitops_ml.capture.packaged_class import (
    Package,
    api_name,
    one_api,
    package_text,
    source_folder,
    with_class,
    with_models,
)
from gitops_ml.client.connection import Connection, progress_line
from gitops_ml.client.results import Api, Apis
from gitops_ml.client.views import LocalCode
from gitops_ml.commands.deploy import deploy
from gitops_ml.commands.model import name_models, store_models
from gitops_ml.commands.propose_source import propose_source
from gitops_ml.commands.wait import WaitPolicy, wait, wanted_by
from gitops_ml.delivery.change import DeliveryResult, refuse_unreadable
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.errors import UsageError
from gitops_ml.models.saved import modules_of, saved
from gitops_ml.project.project import Project
from gitops_ml.release.model_artifacts import mounted
from gitops_ml.release.runtime_settings import runtime_settings
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.runtime.runtime_package import PodEnvironment
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.from_dicts import DescribedApi, check_shape, plain_mapping
from gitops_ml.workspace.workspace import Workspace, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCode:
    """The code arguments of `Client.create_api`."""

    predictor: type | None
    task: Callable[..., Any] | None
    requirements: Sequence[str]
    conda_packages: Sequence[str]
    project_dir: str | Path | None
    models: Mapping[str, Any] | None
    example: Any = ...
    """A payload to compare the answers of; by default that of the class, `None` for none."""

    def __post_init__(self) -> None:
        if self.project_dir is None:
            refuse_replaced_builtins(self.predictor)

    def check(self, *, kind: object) -> None:
        """Refuse arguments of another type.

        Raises:
            UsageError: what is wrong, with an example.
        """
        predictor, models = self.predictor, self.models
        if not (predictor is None or isinstance(predictor, type) or kind == "TaskAPI"):
            name = getattr(predictor, "__qualname__", None)
            found = f"the function {name}" if name else f"an object of {type(predictor).__name__}"
            raise UsageError(
                f"predictor must be a class, not {found}: predictor=MyPredictor, a class with a method "
                "predict"
            )
        is_mapping = isinstance(models, Mapping) and all(isinstance(name, str) for name in models)
        if not (models is None or is_mapping):
            raise UsageError(
                f'models must be a dict of names: models={{"model": "model.onnx"}}, not {models!r:.80}'
            )

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

    def payload(self) -> Any:
        """The payload of the example: that of the call, or that of the class."""
        if self.example is not ...:
            return self.example
        found = vars(self.predictor or type).get("example")
        is_json = isinstance(found, str | int | float | bool | list | dict)
        return found if is_json and hasattr(self.predictor, "predict") else None

    def saved_models(self) -> dict[str, Any]:
        is_of_session = getattr(self.target, "__module__", None) == "__main__"
        return {
            name: saved(name, each, takes_session=is_of_session)
            for name, each in (self.models or {}).items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """The API with the fields that follow from its code, and what the code consists of."""

    api: DescribedApi
    package: Package | None = None
    locations: Mapping[str, str]
    """The URL of each model of the call."""
    models: Mapping[str, Any]
    """What is stored at these URLs; an object of the session is pickled once."""

    def local(self, options: DeployOptions) -> LocalCode:
        """What `run_locally` serves; where nothing was stored, the models are of the call."""
        models = self.models if options.dry_run else {}
        return LocalCode(folder=self.api.folder, models=models, locations=self.locations)


def create_api(
    connection: Connection,
    api_spec: object,
    given: GivenCode,
    *,
    content: str | None,
    origin: Mapping[str, Any] | None,
    options: DeployOptions,
) -> Api:
    """Package, check and store the code, then deploy the API or propose its source."""
    spec = one_api(api_spec)
    content = content or connection.loaded.project.pull_requests.content
    given.check(kind=spec.get("kind"))
    if content not in ("complete", "source"):
        raise UsageError(f"content must be 'complete' or 'source', not {content!r}")
    with progress_line(connection.progress) as progress:
        loaded = connection.loaded
        clients = connection.clients(loaded.project, loaded.root, progress)
        code = _code(spec, given, clients, connection)
        root = clients.root
        origin = notebook_origin(root) if origin is None else plain_mapping("origin", origin)
        workspace = checked(connection.workspace(code.api, origin=origin))
        submitted = workspace.manifests[0].submitted
        if code.package is not None:
            progress(f"importing {code.package.class_name} in a clean interpreter")
            _check_import(code.package, workspace)
        example = _tried(given, code, workspace, clients)
        if options.waits and content == "complete":
            refuse_unreadable(workspace, workspace.environments, clients)
        if code.models and not options.dry_run:
            # The manifest has their digests already; nothing is pushed before this line.
            store_models(api_name(spec), code.models, named=code.locations, clients=clients)
        done: DeliveryResult
        release = None
        if content == "source":
            done = propose_source(workspace, code.package, clients=clients, options=options)
        else:
            options = _reviewed(options, connection, code)
            done = deployed = deploy(workspace, clients=clients, options=options)
            (release,) = deployed.all_releases
    return Api.of(
        done, submitted, connection,
        release=release, package=code.package, code=code.local(options), example=example,
    )  # fmt: skip


def deploy_files(connection: Connection, path: Path, options: DeployOptions) -> Apis:
    """Deploy the manifest in a file, or those below a folder."""
    options = replace(options, pull_request=connection.proposes(options.pull_request))
    with connection.read(path) as (workspace, clients):
        deployed = deploy(workspace, clients=clients, options=options)
        if options.waits:
            wait(
                workspace,
                wanted_by(workspace, deployed, clients=clients),
                clients=clients,
                proposed=deployed.pull_request,
                patience=WaitPolicy(timeout=options.timeout),
            )
    submitted = {each.name: each.submitted for each in workspace.manifests}
    return Apis(
        Api.of(deployed, submitted[release.name], connection, release=release)
        for release in deployed.all_releases
    )


def _code(
    spec: Mapping[str, Any], given: GivenCode, clients: Clients, connection: Connection
) -> _Code:
    if given.target is not None:
        return _packaged(spec, given.target, given, clients, connection)
    return _in_folder(spec, given, clients)


def _packaged(
    spec: Mapping[str, Any],
    target: type | Callable[..., Any],
    given: GivenCode,
    clients: Clients,
    connection: Connection,
) -> _Code:
    class_name = getattr(target, "__name__", type(target).__name__)
    # The folder of the package has the API's name, so the name must be valid.
    check_shape(with_class(spec, path="predictor.py", class_name=class_name))
    models = given.saved_models()
    clients.progress(f"packaging {class_name}")
    found = package(
        api_name(spec),
        target,
        requirements=given.requirements,
        conda_packages=given.conda_packages,
        modules={each for item in models.items() for each in modules_of(*item)},
        of_models={name for each in models.values() for name in getattr(each, "of_session", ())},
        proof=_proof(spec, clients, connection),
    )
    python = found.python if found.pickled else None
    spec = with_class(spec, path=found.path, class_name=found.class_name, python=python)
    locations = name_models(api_name(spec), models, clients=clients) if models else {}
    api = DescribedApi(
        spec=with_models(spec, locations, loads_models=hasattr(target, "load_model")),
        folder=found.folder,
        manifest_file=f"{_source_folder(spec, clients.project)}/api.yaml",
        is_packaged=True,
    )
    return _Code(api=api, package=found, locations=locations, models=models)


def _proof(spec: Mapping[str, Any], clients: Clients, connection: Connection) -> Proof:
    """Where the package is compared: with the variables and secrets that its pods will have."""
    api = DescribedApi(
        spec=with_class(spec, path="predictor.py", class_name="Predictor"),
        folder=clients.root,
        manifest_file=f"{_source_folder(spec, clients.project)}/api.yaml",
    )
    workspace = connection.workspace(api)
    pods = [_pod(release.spec) for release in workspace.releases]
    return Proof(pod=pods[0] if pods else PodEnvironment(), memory=workspace.memory)


def _pod(spec: ReleaseSpec) -> PodEnvironment:
    env = dict(spec.predictor.env) if spec.predictor is not None else {}
    return PodEnvironment(env, frozenset(each.env for each in spec.secrets))


def _in_folder(spec: Mapping[str, Any], given: GivenCode, clients: Clients) -> _Code:
    if given.requirements or given.conda_packages:
        raise UsageError(
            "requirements and conda_packages are for predictor= and task=; for a project_dir, write "
            "requirements.txt and conda-packages.txt in that folder"
        )
    if given.project_dir is None and spec.get("predictor"):
        raise UsageError(
            f"the code of the predictor of {spec.get('name')} is missing: give predictor=<a class>, or "
            "project_dir=<the folder that predictor.path is relative to>"
        )
    if given.models:
        check_shape(spec)
    models = given.saved_models()
    locations = name_models(api_name(spec), models, clients=clients) if models else {}
    folder = Path(given.project_dir or clients.root).absolute()
    home = _source_folder(spec, clients.project)
    if given.project_dir is not None and folder.is_relative_to(clients.root):
        home = folder.relative_to(clients.root).as_posix()
    api = DescribedApi(
        spec=with_models(spec, locations, loads_models=False),
        folder=folder,
        manifest_file=f"{home}/api.yaml" if home != "." else "api.yaml",
    )
    return _Code(api=api, locations=locations, models=models)


def _source_folder(spec: Mapping[str, Any], project: Project) -> str:
    source = project.source
    return source_folder(api_name(spec), source.directory if source else "apis")


def _reviewed(options: DeployOptions, connection: Connection, code: _Code) -> DeployOptions:
    """The options with the text for the reviewer: the author's, and the packaged class."""
    why = options.why
    if code.package is not None:
        why = package_text("predictor_source.md.j2", code.package, why=why)
    return replace(options, pull_request=connection.proposes(options.pull_request), why=why)


def _tried(given: GivenCode, code: _Code, workspace: Workspace, clients: Clients) -> Example | None:
    """The answers of the class and of its package to the example, if there is one."""
    (release,) = workspace.releases
    predictor = release.spec.predictor
    payload = given.payload() if release.spec.kind in ("RealtimeAPI", "AsyncAPI") else None
    if payload is None or code.package is None or predictor is None or given.predictor is None:
        return None
    clients.progress(f"comparing the answers of {code.package.class_name} to its example")
    with ExitStack() as opened:
        local = LocalCode(models=code.models, locations=code.locations)
        folders = local.folders(api_name(code.api.spec), clients, opened)
        try:
            here = mounted(predictor, lambda each: str(folders[each.image.digest or ""])).predictor
        except KeyError:
            return Example(json.dumps(payload, default=str), why_not="its model is in a registry")
        facts = json.dumps(dict(predictor.config), sort_keys=True, default=str)
        asked = Asked(
            payload=payload, config=here.config, facts=facts,
            pod=_pod(release.spec), memory=workspace.memory,
        )  # fmt: skip
        return try_example(given.predictor, code.package, asked)


def _check_import(found: Package, workspace: Workspace) -> None:
    (release,) = workspace.releases
    spec = release.spec
    if spec.predictor is not None:
        settings = runtime_settings(
            spec.predictor, spec.monitoring, timeout=spec.networking.timeout
        )
        check_package(found, settings=settings, pod=_pod(spec), memory=workspace.memory)
