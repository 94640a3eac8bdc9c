"""The client's verbs that deploy: an API as a dict with its code, or manifests in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.notebook_origin import notebook_origin
from gitops_ml.capture.package import Package, check_package, package
from gitops_ml.capture.package_text import package_text
from gitops_ml.capture.spec_of_class import (
    api_name,
    one_api,
    source_folder,
    with_class,
    with_models,
)
from gitops_ml.client.connection import Connection
from gitops_ml.client.results import Api, Apis, PullRequest
from gitops_ml.commands.deploy import deploy
from gitops_ml.commands.given_models import name_models, store_models
from gitops_ml.commands.propose_source import SourceFiles, propose_source
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.errors import UsageError
from gitops_ml.models.saved import modules_of, saved
from gitops_ml.release.runtime_settings import runtime_settings
from gitops_ml.system.resources import template_text
from gitops_ml.workspace.from_dicts import DescribedApi, check_shape, describe
from gitops_ml.workspace.workspace import Workspace, checked, open_project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_ml.commands.deploy import Deployment
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.system.progress import Progress
    from gitops_ml.workspace.clients import Clients

    Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """Where the code of an API is, and the API with that filled in."""

    spec: dict[str, Any]
    folder: Path
    manifest_file: str
    package: Package | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    """Where those will be that came with the call."""
    given: Words = field(default_factory=dict)
    """What is stored there; an object of the session is pickled once."""


class Deploying(Connection):
    """`create_api`, and Cortex's other names for it."""

    def create_api(
        self,
        api_spec: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        predictor: type | None = None,
        task: Callable[..., Any] | None = None,
        requirements: Sequence[str] = (),
        conda_packages: Sequence[str] = (),
        project_dir: str | Path | None = None,
        force: bool = True,
        wait: bool = False,
        *,
        models: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        pull_request: bool | None = None,
        content: str | None = None,
        message: str | None = None,
        by_tag: bool = False,
        build: bool = True,
        why: str = "",
        origin: Mapping[str, Any] | None = None,
    ) -> Api:
        """Build, render and propose one API; returns what has become of it.

        ``api_spec`` is an API as in ``api.yaml``, or a list of one. ``predictor`` is a class that lives here: it is
        packaged as readable source with what it needs, and imported by a clean interpreter before
        anything is pushed. ``project_dir`` is a folder whose ``predictor.path`` is said instead.
        ``requirements`` are pinned to what is installed; imports that nobody listed are added.

        ``models`` are files, folders or objects of this session by name, stored as artifacts by
        their digest and mounted read-only. A class with ``load_model`` gets them from its client;
        every other one finds the folder of each under its name in the config (an object is
        ``<name>.pkl`` in there). What is in a store already is named by its URL.

        A pull request is opened unless the environment says ``delivery: push`` or
        ``pull_request=False`` does. ``dry_run`` does everything but the last act. ``content`` is
        ``complete`` (the image is built, the release is proposed) or ``source`` (code and manifest
        are proposed to the source repository); without it, the project's ``pull_requests.content``.

        ``by_tag`` builds nothing and names an image without a digest by its tag; ``build=False``
        refuses it. ``why`` is Markdown for the reviewer, ``origin`` is recorded as provenance (in a
        notebook its name and cell are). ``wait`` waits until it is merged and live. ``force`` is
        Cortex's: nothing is in the way.

        Raises:
            UsageError: the call is off: what was given is no API, class or list of requirements.
            InvalidDocument: the API is wrong; all problems with their paths.
            Unpackageable: the class needs what files cannot hold; all reasons.
            EngineFailed, Refused, ServerFailed, RepositoryMoved: see `deploy`.
        """
        del force
        api_spec = one_api(api_spec)
        _refuse_no_class(predictor, kind=api_spec.get("kind"))
        _refuse_no_models(models)
        content = _content(content or self._at_hand.project.pull_requests.content)
        with self._working() as tell:
            code = self._code(
                api_spec,
                predictor=predictor,
                task=task,
                requirements=requirements,
                conda_packages=conda_packages,
                project_dir=project_dir,
                models=models or {},
                tell=tell,
            )
            workspace = self._workspace(code, origin)
            tools = self._tools(workspace, tell)
            if code.package is not None:
                tell(f"importing {code.package.class_name} in a clean interpreter")
                _check_import(code.package, workspace)
            if code.given and not dry_run:
                # Their digests are in the manifest already; nothing was pushed until here.
                store_models(
                    workspace, api_name(api_spec), code.given, named=code.models, tools=tools
                )
            if content == "source":
                return self._propose_source(
                    code, workspace, tools,
                    dry_run=dry_run, pull_request=pull_request, message=message, why=why,
                )  # fmt: skip
            options = DeployOptions(
                message=message,
                by_tag=by_tag,
                build=build,
                dry_run=dry_run,
                pull_request=self._proposes(pull_request),
                why=_why(why, code.package),
            )
            deployed = deploy(workspace, tools=tools, options=options)
        (api,) = self._apis(deployed, workspace, code.package)
        if wait and not dry_run:
            api.wait()
        return api

    def deploy(
        self,
        config_file: str | Path | Mapping[str, Any],
        project_dir: str | Path | None = None,
        force: bool = True,
        wait: bool = False,
        *,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        prune: bool = False,
        by_tag: bool = False,
        build: bool = True,
    ) -> Apis:
        """Deploy the manifest in a file, or those below a folder, as `gitops-ml deploy` does.

        A dict with its ``project_dir`` is what `create_api` takes.

        Raises:
            UsageError: there is no such file, or no manifest in it.
            InvalidDocument: the documents are wrong; all problems with their lines.
            EngineFailed, Refused, ServerFailed, RepositoryMoved: see `create_api`.
        """
        if not isinstance(config_file, str | Path):
            api = self.create_api(
                config_file, project_dir=project_dir, force=force, wait=wait, dry_run=dry_run,
                pull_request=pull_request, message=message, by_tag=by_tag, build=build,
            )  # fmt: skip
            return Apis([api])
        if project_dir is not None:
            raise UsageError("project_dir belongs to a dict; a manifest's file is beside its code")
        with self._working() as tell:
            workspace = open_project(
                [Path(config_file)],
                project_file=self._at_hand.file,
                environments=[self.environment],
                instead=self._at_hand.instead_of_file(),
            )
            options = DeployOptions(
                message=message,
                prune=prune,
                by_tag=by_tag,
                build=build,
                dry_run=dry_run,
                pull_request=self._proposes(pull_request),
            )
            deployed = deploy(workspace, tools=self._tools(workspace, tell), options=options)
        apis = self._apis(deployed, workspace)
        for api in apis if wait and not dry_run else ():
            api.wait()
        return apis

    deploy_from_file = deploy

    def deploy_realtime_api(
        self,
        api_spec: Mapping[str, Any],
        handler: type,
        requirements: Sequence[str] = (),
        conda_packages: Sequence[str] = (),
        force: bool = True,
        wait: bool = False,
        **options: Any,
    ) -> Api:
        """Cortex's later name of `create_api` with a class."""
        return self.create_api(
            api_spec, predictor=handler, requirements=requirements,
            conda_packages=conda_packages, force=force, wait=wait, **options,
        )  # fmt: skip

    # -- inside ------------------------------------------------------------------------------------

    def _code(
        self,
        api_spec: Words,
        *,
        predictor: type | None,
        task: Callable[..., Any] | None,
        requirements: Sequence[str],
        conda_packages: Sequence[str],
        project_dir: str | Path | None,
        models: Words,
        tell: Progress,
    ) -> _Code:
        """The class packaged, or the folder that holds the code already."""
        target = _one_of(predictor=predictor, task=task, project_dir=project_dir)
        spec, root = dict(api_spec), self._at_hand.root
        source = self._at_hand.project.source
        home = source_folder(api_name(spec), source.directory if source else "apis")
        if target is not None:
            class_name = getattr(target, "__name__", type(target).__name__)
            # The folder of the package has the API's name, so that has to be one.
            check_shape(with_class(spec, path="predictor.py", class_name=class_name))
            given = {name: saved(name, each) for name, each in models.items()}
            tell(f"packaging {class_name}")
            found = package(
                api_name(spec),
                target,
                requirements=requirements,
                conda_packages=conda_packages,
                modules={each for item in given.items() for each in modules_of(*item)},
            )
            python = found.python if found.pickled else None
            spec = with_class(spec, path=found.path, class_name=found.class_name, python=python)
            loads_models = hasattr(target, "load_model")
            locations = self._locations(spec, given, tell)
            return _Code(
                spec=with_models(spec, locations, loads_models=loads_models),
                folder=found.folder,
                manifest_file=f"{home}/api.yaml",
                package=found,
                models=locations,
                given=given,
            )
        if requirements or conda_packages:
            raise UsageError(
                "requirements and conda_packages are for predictor= and task=; a project_dir has its "
                "own requirements.txt and conda-packages.txt"
            )
        if project_dir is None and spec.get("predictor"):
            raise UsageError(
                "where is the code of the predictor? Give predictor=<a class>, or project_dir= "
                "the folder that predictor.path starts from"
            )
        if models:
            check_shape(spec)
        given = {name: saved(name, each) for name, each in models.items()}
        locations = self._locations(spec, given, tell)
        folder = Path(project_dir or root).absolute()
        if project_dir is not None and folder.is_relative_to(root):
            home = folder.relative_to(root).as_posix()
        return _Code(
            spec=with_models(spec, locations, loads_models=False),
            folder=folder,
            manifest_file=f"{home}/api.yaml" if home != "." else "api.yaml",
            models=locations,
            given=given,
        )

    def _locations(self, spec: Words, models: Words, tell: Progress) -> Mapping[str, str]:
        if not models:
            return {}
        workspace = describe([], self._at_hand, environment=self.environment)
        tools = self._tools(workspace, tell)
        return name_models(workspace, api_name(spec), models, tools=tools)

    def _workspace(self, code: _Code, origin: Words | None) -> Workspace:
        api = DescribedApi(
            spec=code.spec,
            folder=code.folder,
            manifest_file=code.manifest_file,
            is_packaged=code.package is not None,
        )
        if origin is None:
            origin = notebook_origin(self._at_hand.root)
        return checked(describe([api], self._at_hand, environment=self.environment, origin=origin))

    def _propose_source(
        self,
        code: _Code,
        workspace: Workspace,
        tools: Clients,
        *,
        dry_run: bool,
        pull_request: bool | None,
        message: str | None,
        why: str,
    ) -> Api:
        found = code.package
        files = SourceFiles(
            api=api_name(code.spec),
            folder=code.manifest_file.rpartition("/")[0] or ".",
            spec=workspace.manifests[0].submitted,
            class_name=found.class_name if found else "",
            path=found.path if found else "",
            source=found.source if found else "",
            notes=found.notes() if found else (),
        )
        delivered = propose_source(
            workspace,
            files,
            tools=tools,
            pull_request=pull_request is not False,
            dry_run=dry_run,
            message=message,
            why=why,
        )
        (planned,) = workspace.releases
        return Api(
            name=planned.name,
            environment=self.environment,
            namespace=planned.environment.namespace,
            content="source",
            changes=delivered.plan.changes,
            commit=delivered.commit,
            pull_request=PullRequest.of(delivered.pull_request),
            is_plan=dry_run,
            warnings=(
                *map(str, workspace.problems.warnings),
                *delivered.warnings,
                *delivered.plan.warnings,
            ),
            notes=files.notes,
            package=found.folder if found else None,
            client=self._client,
        )

    def _apis(
        self, deployed: Deployment, workspace: Workspace, packaged: Package | None = None
    ) -> Apis:
        submitted = {each.name: each.submitted for each in workspace.manifests}
        return Apis(
            self._api(each, deployed, submitted[each.name], packaged)
            for each in deployed.all_releases
        )

    def _api(
        self, release: Release, deployed: Deployment, submitted: Words, packaged: Package | None
    ) -> Api:
        return Api(
            name=release.name,
            environment=release.environment,
            deployment_id=release.deployment_id,
            image=release.image,
            namespace=release.namespace,
            changes=deployed.changes,
            commit=deployed.commit,
            pull_request=PullRequest.of(deployed.pull_request),
            is_plan=deployed.dry_run,
            warnings=deployed.warnings,
            notes=packaged.notes() if packaged else (),
            package=packaged.folder if packaged else None,
            manifest=submitted,
            client=self._client,
        )


def _content(name: str) -> str:
    if name not in ("complete", "source"):
        raise UsageError(f"content is 'complete' or 'source', not {name!r}")
    return name


def _refuse_no_class(predictor: object, *, kind: object) -> None:
    if predictor is None or isinstance(predictor, type) or kind == "TaskAPI":
        return
    name = getattr(predictor, "__qualname__", None)
    found = f"the function {name}" if name else f"a {type(predictor).__name__}"
    raise UsageError(
        f"predictor must be a class and not {found}: predictor=MyPredictor, which has a method "
        "predict"
    )


def _refuse_no_models(models: object) -> None:
    is_right = models is None or (
        isinstance(models, Mapping) and all(isinstance(name, str) for name in models)
    )
    if not is_right:
        raise UsageError(
            f'models are named: models={{"model": "model.onnx"}}, and not {models!r:.80}'
        )


def _one_of(
    *, predictor: type | None, task: Callable[..., Any] | None, project_dir: object
) -> type | Callable[..., Any] | None:
    given = [name for name, value in
             (("predictor", predictor), ("task", task), ("project_dir", project_dir))
             if value is not None]  # fmt: skip
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: the code is in one of them")
    return predictor if predictor is not None else task


def _why(why: str, found: Package | None) -> str:
    """What the reviewer is told: the author's words, and the source that was packaged."""
    if found is None:
        return why
    return package_text(
        template_text("predictor_source.md.j2"),
        why=why,
        path=found.path,
        class_name=found.class_name,
        source=found.source,
        requirements=found.requirements.lines,
        notes=found.notes(),
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
