"""The client and its methods: Cortex's names and signatures, our verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml import wiring
from gitops_ml.actions.deployment import deploy
from gitops_ml.core.runtime import runtime_settings
from gitops_ml.core.spec_of_class import api_name, manifest_path, with_class
from gitops_ml.described import DescribedApi, ProjectAtHand, describe
from gitops_ml.errors import UsageError
from gitops_ml.library.progress import Shown
from gitops_ml.library.results import Api
from gitops_ml.packaging import Package, check_package, package
from gitops_ml.target import DeployOptions
from gitops_ml.workspace import Workspace, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gitops_ml.actions.deployment import Deployment
    from gitops_ml.core.render import Release
    from gitops_ml.ports import Progress

    Words = Mapping[str, Any]


class Client:
    """The verbs for one environment of a project; `client` makes one."""

    def __init__(
        self,
        at_hand: ProjectAtHand,
        environment: str,
        *,
        offline: bool = False,
        progress: Progress | bool | None = None,
    ) -> None:
        self._at_hand = at_hand
        self._offline = offline
        self._progress = progress
        self.environment = environment

    @property
    def project(self) -> str:
        """The project's name."""
        return self._at_hand.project.name

    def __repr__(self) -> str:
        repository = self._at_hand.project.gitops and self._at_hand.project.gitops.repository
        return f"<gitops_ml client: {self.project}, {self.environment}, {repository}>"

    # -- deploying ---------------------------------------------------------------------------------

    def create_api(
        self,
        api_spec: Mapping[str, Any],
        predictor: type | None = None,
        task: Callable[..., Any] | None = None,
        requirements: Sequence[str] = (),
        conda_packages: Sequence[str] = (),
        project_dir: str | Path | None = None,
        force: bool = True,
        wait: bool = False,
        *,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        by_tag: bool = False,
        build: bool = True,
        why: str = "",
        origin: Mapping[str, Any] | None = None,
    ) -> Api:
        """Build, render and propose one API; returns what has become of it.

        ``api_spec`` is an API as in ``api.yaml``. ``predictor`` is a class that lives here: it is
        packaged as readable source with what it needs, and imported by a clean interpreter before
        anything is pushed. ``project_dir`` is a folder whose ``predictor.path`` is said instead.
        ``requirements`` are pinned to what is installed; imports that nobody listed are added.

        A pull request is opened unless the environment says ``delivery: push`` or
        ``pull_request=False`` does. ``dry_run`` does everything but the last act. ``by_tag`` builds nothing
        and names an image without a digest by its tag; ``build=False`` refuses it. ``why`` is for the
        reviewer, ``origin`` is recorded as provenance. ``force`` is Cortex's: nothing is in the way.

        Raises:
            InvalidDocument: the API is wrong; all problems with their paths.
            Unpackageable: the class needs what files cannot hold; all reasons.
            EngineFailed, Refused, ServerFailed, RepositoryMoved: see `deploy`.
        """
        del force
        target = _one_of(predictor=predictor, task=task, project_dir=project_dir)
        if target is None and (requirements or conda_packages):
            raise UsageError(
                "requirements and conda_packages are for predictor= and task=; a project_dir has its "
                "own requirements.txt and conda-packages.txt"
            )
        with Shown(self._progress) as tell:
            packaged: Package | None = None
            spec, folder = dict(api_spec), Path(project_dir or self._at_hand.root).absolute()
            if target is not None:
                tell(f"packaging {getattr(target, '__name__', target)}")
                packaged = package(
                    api_name(spec), target, requirements=requirements, conda_packages=conda_packages
                )
                spec = _spec_of(spec, packaged)
                folder = packaged.folder
            elif project_dir is None and spec.get("predictor"):
                raise UsageError(
                    "where is the code of the predictor? Give predictor=<a class>, or project_dir= "
                    "the folder that predictor.path starts from"
                )
            api = DescribedApi(
                spec=spec, folder=folder, manifest_file=self._manifest_file(spec, project_dir)
            )
            workspace = describe([api], self._at_hand, environment=self.environment, origin=origin)
            checked(workspace)
            if packaged is not None:
                tell(f"importing {packaged.class_name} in a clean interpreter")
                _check_import(packaged, workspace)
            options = DeployOptions(
                message=message,
                by_tag=by_tag,
                build=build,
                dry_run=dry_run,
                pull_request=self._proposes(pull_request),
                why=why,
            )
            deployed = self._deploy(workspace, options, tell)
        (result,) = self._results(workspace, deployed, packaged)
        return result

    # -- inside ------------------------------------------------------------------------------------

    def _deploy(self, workspace: Workspace, options: DeployOptions, tell: Progress) -> Deployment:
        tools = wiring.tools(
            workspace.project, root=workspace.root, offline=self._offline, progress=tell
        )
        return deploy(workspace, tools=tools, options=options)

    def _proposes(self, asked: bool | None) -> bool:
        if asked is not None:
            return asked
        return self._at_hand.says_delivery(self.environment) != "push"

    def _manifest_file(self, spec: Words, project_dir: str | Path | None) -> str:
        """Where the manifest is in the source project: beside the code, if that is a part of it."""
        if project_dir is not None:
            folder = Path(project_dir).absolute()
            if folder.is_relative_to(self._at_hand.root):
                return (folder / "api.yaml").relative_to(self._at_hand.root).as_posix()
        return manifest_path(api_name(spec))

    def _results(
        self, workspace: Workspace, deployed: Deployment, packaged: Package | None = None
    ) -> tuple[Api, ...]:
        return tuple(self._result(release, deployed, packaged) for release in deployed.all_releases)

    def _result(self, release: Release, deployed: Deployment, packaged: Package | None) -> Api:
        return Api(
            name=release.name,
            environment=release.environment,
            deployment_id=release.deployment_id,
            image=release.image,
            namespace=release.namespace,
            changes=deployed.changes,
            commit=deployed.commit,
            pull_request=deployed.pull_request,
            is_plan=deployed.dry_run,
            warnings=deployed.warnings,
            notes=packaged.notes() if packaged else (),
            package=packaged.folder if packaged else None,
            client=self,
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


def _spec_of(spec: Words, packaged: Package) -> dict[str, Any]:
    python = packaged.python if packaged.pickled else None
    return with_class(spec, path=packaged.path, class_name=packaged.class_name, python=python)


def _check_import(packaged: Package, workspace: Workspace) -> None:
    (release,) = workspace.releases
    spec = release.spec
    if spec.predictor is not None:
        settings = runtime_settings(
            spec.predictor, spec.monitoring, timeout=spec.networking.timeout
        )
        check_package(packaged, settings=settings, env=dict(spec.predictor.env))
