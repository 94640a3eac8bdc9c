"""The Python client, with the names and signatures of Cortex's client and the verbs of gitops-ml.

Methods raise `UsageError` for wrong arguments and unknown names, `InvalidDocument` with every problem
of a manifest, `Refused` and `ServerFailed` if Git, the forge, the registry or the cluster cannot be
used, and `RepositoryMoved` if the branch keeps moving. Docstrings list other errors only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.spec_of_class import one_api
from gitops_ml.client.arguments import check_arguments, patch_of, selection_of
from gitops_ml.client.connection import Connection
from gitops_ml.client.creation import GivenCode, create_api, deploy_files
from gitops_ml.client.results import Api, Apis, Outcome
from gitops_ml.client.views import History, LocalApi, Logs, Prediction, Status, Trace, serve
from gitops_ml.commands.delete import delete
from gitops_ml.commands.get import describe
from gitops_ml.commands.history import history, trace
from gitops_ml.commands.inspect import export
from gitops_ml.commands.logs import follow, logs
from gitops_ml.commands.patch import patch
from gitops_ml.commands.predict import Call, predict
from gitops_ml.commands.promote import promote, route
from gitops_ml.commands.refresh import refresh
from gitops_ml.commands.rollback import rollback
from gitops_ml.commands.wait import WaitPolicy, wait
from gitops_ml.delivery.change import ChangeContext
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.delivery.releases import get_release, list_releases
from gitops_ml.errors import UsageError
from gitops_ml.system.clean_text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gitops_ml.client.results import PullRequest
    from gitops_ml.cluster.model import ExpectedRelease
    from gitops_ml.delivery.change import ChangeOptions, ChangeResult
    from gitops_ml.system.progress import Progress
    from gitops_ml.workspace.workspace import LoadedProject

    Change = Callable[[ChangeContext], ChangeResult]


class Client:
    """The verbs for one environment of a project; `gml.client(…)` creates one."""

    def __init__(
        self,
        at_hand: LoadedProject,
        environment: str,
        *,
        offline: bool = False,
        progress: Progress | bool | None = None,
    ) -> None:
        self._connection = Connection(
            loaded=at_hand, environment=environment, offline=offline, progress=progress
        )
        self.environment = environment

    @property
    def project(self) -> str:
        """The name of the project."""
        return self._connection.loaded.project.name

    def __repr__(self) -> str:
        gitops = self._connection.loaded.project.gitops
        repository = gitops and gitops.repository
        return f"<gitops_ml client: {self.project}, {self.environment}, {repository}>"

    # -- deploy ------------------------------------------------------------------------------------

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
        """Build, render and propose one API; return the result.

        ``api_spec`` is an API as in ``api.yaml``, or a list with one API. ``predictor`` is a class of this
        session: it is packaged as readable source with everything it needs, and imported by a clean
        interpreter before anything is pushed. ``project_dir`` is a folder that contains
        ``predictor.path``, instead of a class. ``requirements`` are pinned to the installed versions;
        imports that are not listed are added.

        ``models`` are files, folders or objects of this session by name. They are stored as artifacts
        by digest and mounted read-only. A class with ``load_model`` gets them from its client; every
        other class finds the folder of each model in its config under the model's name (an object is
        ``<name>.pkl`` in that folder). A model that is already in a store is given by its URL.

        A pull request is opened unless the environment has ``delivery: push`` or
        ``pull_request=False``. ``dry_run`` does everything except the last step. ``content`` is
        ``complete`` (build the image, propose the release) or ``source`` (propose code and manifest
        to the source repository). The default is ``pull_requests.content`` of the project.

        ``by_tag`` does not build, and deploys an image without a digest by its tag; ``build=False``
        refuses that. ``why`` is Markdown for the reviewer. ``origin`` is recorded as provenance (in a
        notebook, by default, its name and cell). ``wait`` waits until the API is merged and live.
        ``force`` exists for Cortex and has no effect.

        Raises:
            Unpackageable: the class needs something that files cannot hold; has all reasons.
            EngineFailed: the image cannot be built.
        """
        del force
        api_spec = one_api(api_spec)
        content = content or self._connection.loaded.project.pull_requests.content
        check_arguments(predictor, models, content, kind=api_spec.get("kind"))
        given = GivenCode(
            predictor=predictor, task=task, requirements=requirements,
            conda_packages=conda_packages, project_dir=project_dir, models=models or {},
        )  # fmt: skip
        options = DeployOptions(
            message=message, by_tag=by_tag, build=build,
            dry_run=dry_run, pull_request=pull_request, why=why,
        )  # fmt: skip
        api = create_api(
            self, self._connection, api_spec, given, content=content, origin=origin, options=options
        )
        if wait and not dry_run and content == "complete":
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

        A dict with its ``project_dir`` is deployed as by `create_api`.
        """
        if not isinstance(config_file, str | Path):
            api = self.create_api(
                config_file, project_dir=project_dir, force=force, wait=wait, dry_run=dry_run,
                pull_request=pull_request, message=message, by_tag=by_tag, build=build,
            )  # fmt: skip
            return Apis([api])
        if project_dir is not None:
            raise UsageError(
                "project_dir is for a dict: the code of a manifest file is in the folder of the file"
            )
        options = DeployOptions(
            message=message, prune=prune, by_tag=by_tag, build=build,
            dry_run=dry_run, pull_request=self._connection.proposes(pull_request),
        )  # fmt: skip
        apis = deploy_files(self, self._connection, Path(config_file), options)
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
        """Call `create_api` with a class; the name in later versions of Cortex."""
        return self.create_api(
            api_spec, predictor=handler, requirements=requirements,
            conda_packages=conda_packages, force=force, wait=wait, **options,
        )  # fmt: skip

    # -- read current releases and their history ---------------------------------------------------

    def get_api(self, api_name: str) -> Api:
        """The current release of an API."""
        with self._connection.open() as (workspace, clients):
            release = get_release(workspace, api_name, tools=clients, environment=self.environment)
        return Api.standing(release, self)

    def list_apis(self) -> Apis:
        """The current releases of the project in this environment."""
        with self._connection.open() as (workspace, clients):
            found = list_releases(workspace, tools=clients, environments=[self.environment])
        return Apis(Api.standing(release, self) for release in found)

    def history(self, api_name: str, *, limit: int | None = 20) -> History:
        """The deployments of an API in this environment, the newest first."""
        with self._connection.open() as (workspace, clients):
            found = history(
                workspace, api_name, tools=clients, environments=[self.environment], limit=limit
            )
        return History(api=api_name, entries=found.entries, warnings=found.warnings)

    def trace(self, deployment_id: str) -> Trace:
        """The origin of a deployment id, or of a unique prefix of one."""
        with self._connection.open() as (workspace, clients):
            return Trace.of(trace(workspace, deployment_id, tools=clients))

    def export(self, name: str, folder: str | Path) -> tuple[str, ...]:
        """Write code, lock and manifest of a deployment or an image to an empty folder.

        Returns the paths of the written files.

        Raises:
            GitopsMlError: the image holds no project.
        """
        with self._connection.open() as (workspace, clients):
            return export(workspace, name, Path(folder).absolute(), tools=clients).files

    # -- change current releases -------------------------------------------------------------------

    def patch(
        self,
        api_spec: str | Mapping[str, Any],
        changes: Mapping[str, Any] | bool | None = None,
        force: bool = False,
        *,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        why: str = "",
    ) -> Outcome:
        """Change the configuration of a current release; keep its image.

        ``api_spec`` is the name of the API, and ``changes`` has the fields that change; `None` removes
        a field. As in Cortex, ``api_spec`` can be a dict with the name and the fields. A patch that
        needs another image is a `UsageError`.
        """
        del force
        name, fields = patch_of(api_spec, changes)
        options = self._connection.change_options(dry_run, pull_request, message, why)
        return self._change(lambda context: patch(context, name, fields), options)

    def refresh(
        self,
        api_name: str | Sequence[str],
        force: bool = False,
        *,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        why: str = "",
    ) -> Outcome:
        """Restart releases: new pods with the same image and settings, and a new deployment id."""
        del force
        selection = selection_of(api_name)
        options = self._connection.change_options(dry_run, pull_request, message, why)
        return self._change(lambda context: refresh(context, selection), options)

    def delete_api(
        self,
        api_name: str | Sequence[str],
        keep_cache: bool = False,
        *,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        why: str = "",
    ) -> Outcome:
        """Remove releases from the GitOps repository; their history and images stay."""
        del keep_cache
        selection = selection_of(api_name)
        options = self._connection.change_options(dry_run, pull_request, message, why)
        return self._change(lambda context: delete(context, selection), options)

    delete = delete_api

    def promote(
        self,
        api_name: str | Sequence[str] = (),
        *,
        to: str | None = None,
        every: bool = False,
        teams: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        skip: bool = False,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        why: str = "",
    ) -> Outcome:
        """Promote releases to the next environment, or to ``to``: the same image by its digest.

        APIs are named, or chosen by ``every``, ``teams`` and ``labels``. ``skip`` allows skipping an
        environment before a protected one.
        """
        selection = selection_of(api_name, every=every, teams=teams, labels=labels)
        source, target = route(self._connection.loaded.project, self.environment, to)
        options = self._connection.change_options(
            dry_run, pull_request, message, why, environment=target
        )
        return self._change(
            lambda context: promote(
                context, selection, source=source, target=target, may_skip=skip
            ),
            options,
        )

    def rollback(
        self,
        api_name: str,
        *,
        to: str | None = None,
        dry_run: bool = False,
        pull_request: bool | None = None,
        message: str | None = None,
        why: str = "",
    ) -> Outcome:
        """Restore the files of the previous deployment, or of deployment id ``to``, byte for byte."""
        options = self._connection.change_options(dry_run, pull_request, message, why)
        return self._change(lambda context: rollback(context, api_name, to=to), options)

    def _change(self, verb: Change, options: ChangeOptions) -> Outcome:
        with self._connection.open() as (workspace, clients):
            changed = verb(ChangeContext(workspace, clients, options))
        return Outcome.of(changed, self)

    # -- what runs, by the cluster of the kubeconfig -----------------------------------------------

    def status(self, api_name: str) -> Status:
        """The status of an API: what Git wants, what runs, why it is not live, and what to do."""
        with self._connection.open() as (workspace, clients):
            return Status.of(
                describe(workspace, api_name, tools=clients, environment=self.environment)
            )

    def predict(
        self,
        api_name: str,
        payload: Any,
        *,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        address: str | None = None,
    ) -> Prediction:
        """Send a request to a running API, through its gateway or through the Kubernetes API server.

        Bytes are sent unchanged, everything else as JSON. ``address`` is a URL of the API itself, such
        as that of a port-forward.

        Raises:
            PredictionFailed: the API answered with an error; has its response.
        """
        call = Call(path=path, headers=headers, timeout=timeout, address=address)
        with self._connection.open() as (workspace, clients):
            found = predict(
                workspace, api_name, payload, tools=clients, environment=self.environment, call=call
            )
        return Prediction.of(found, self)

    def logs(self, api_name: str, *, tail: int | None = 100) -> Logs:
        """The newest log lines of all replicas; of a crashed replica, those of its last attempt.

        Raises:
            GitopsMlError: no replica runs; has the reason.
        """
        with self._connection.open() as (workspace, clients):
            return Logs(
                logs(workspace, api_name, tools=clients, environment=self.environment, tail=tail)
            )

    def stream_api_logs(self, api_name: str) -> None:
        """Print log lines as they come, also of new replicas, until interrupted."""
        with self._connection.open() as (workspace, clients):
            lines = follow(workspace, api_name, tools=clients, environment=self.environment)
        try:
            for line in lines:
                print(printable(f"{line.pod}  {line.text}"), flush=True)
        except KeyboardInterrupt:
            return

    def wait_for(
        self,
        wanted: Iterable[ExpectedRelease],
        *,
        proposed: PullRequest | None = None,
        patience: WaitPolicy = WaitPolicy(),  # noqa: B008 - frozen
    ) -> tuple[Status, ...]:
        """Wait until deployments are merged and live; results have a `wait()` of their own.

        Raises:
            NotLive: a deployment cannot become live, or is not live in time; has the reason and what to do.
        """
        with self._connection.open() as (workspace, clients):
            found = wait(workspace, wanted, tools=clients, proposed=proposed, patience=patience)
            return tuple(
                Status.of(
                    describe(workspace, each.api, tools=clients, environment=each.environment)
                )
                for each in (live.release for live in found)
            )

    # -- on this machine ---------------------------------------------------------------------------

    def run_locally(self, api: Api, *, port: int = 0) -> LocalApi:
        """Serve ``api`` on this machine by the runtime of its image, beside this session.

        The code is the folder that `create_api` packaged, or else comes from the image. It uses the
        packages that are installed here, and models from the cache.

        Raises:
            ProgramFailed: it does not become ready; has the end of its log.
        """
        return serve(self, self._connection, api, port=port)
