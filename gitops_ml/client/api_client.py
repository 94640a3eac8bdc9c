"""The Python client, with the names and signatures of Cortex's client and the verbs of gitops-ml.

Methods raise `UsageError` for wrong arguments and unknown names, `InvalidDocument` with every problem
of a manifest, `Refused` and `ServerFailed` if Git, the forge, the registry or the cluster cannot be
used, and `RepositoryMoved` if the branch keeps moving. Docstrings list other errors only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.live_session import naming_replaced
from gitops_ml.client import cards
from gitops_ml.client.arguments import (
    CallKeywords,
    ChangeKeywords,
    DeployKeywords,
    patch_of,
    selection_of,
    takes,
)
from gitops_ml.client.cards import PullRequest
from gitops_ml.client.creation import GivenCode, create_api, deploy_files
from gitops_ml.client.past import History, Trace
from gitops_ml.client.predictions_view import ComparisonView, PredictionsView
from gitops_ml.client.python_terms import speaks_python
from gitops_ml.client.reading import Diagnosis, Reading
from gitops_ml.client.results import Api, Apis, Outcome
from gitops_ml.client.views import LocalApi, Logs, Prediction, Status, wait_for
from gitops_ml.commands.delete import delete
from gitops_ml.commands.doctor import SECONDS, doctor
from gitops_ml.commands.inspect import export
from gitops_ml.commands.logs import CONTAINER, follow
from gitops_ml.commands.patch import patch
from gitops_ml.commands.predict import Call
from gitops_ml.commands.promote import promote, route
from gitops_ml.commands.refresh import refresh
from gitops_ml.commands.rollback import rollback
from gitops_ml.commands.trace_request import DAYS as SEARCHED_DAYS
from gitops_ml.commands.wait import WaitPolicy
from gitops_ml.delivery.change import WAIT_SECONDS, ChangeContext, ChangeOptions, ChangeResult
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.delivery.proposals import Proposed, proposed_releases
from gitops_ml.delivery.releases import current_release, own_releases, repository_of
from gitops_ml.errors import UsageError
from gitops_ml.gitops.release_yaml import ReleaseRecord
from gitops_ml.predictions.from_cluster import DAYS
from gitops_ml.system.clean_text import printable

if TYPE_CHECKING:
    from typing_extensions import Unpack


@speaks_python
class Client(Reading):
    """The verbs for one environment of a project; `gml.client(…)` creates one."""

    @property
    def project(self) -> str:
        """The name of the project."""
        return self._connection.loaded.project.name

    def __repr__(self) -> str:
        gitops = self._connection.loaded.project.gitops
        repository = gitops and gitops.repository
        return f"<gitops_ml client: {self.project}, {self.environment}, {repository}>"

    def _repr_html_(self) -> str:
        project = self._connection.loaded.project
        place = project.environments[self.environment]
        rows = (
            cards.Row("GitOps repository", project.gitops.repository if project.gitops else None),
            cards.Row("images", project.image.repository if project.image else None),
            cards.Row("cluster", f"{place.cluster}, namespace {place.namespace}"),
            cards.Row("delivery", place.delivery.replace("_", " ")),
            cards.Row("environments", ", ".join(project.environments)),
        )
        state = "protected" if place.protected else ""
        return cards.html(
            cards.Card(title=f"{self.project} in {self.environment}", state=state, rows=rows)
        )

    # -- deploy ------------------------------------------------------------------------------------

    @takes(DeployKeywords, of=DeployOptions)
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
        example: Any = ...,
        content: str | None = None,
        origin: Mapping[str, Any] | None = None,
        **options: Unpack[DeployKeywords],
    ) -> Api:
        """Build, render and propose one API; return the result.

        ``api_spec`` is an API as in ``api.yaml``, or a list with one API. ``predictor`` is a class of this
        session: it is packaged as readable source with everything it needs, and imported by a clean
        interpreter, which proves that it is equal to the session, before anything is pushed.
        ``project_dir`` is a folder that contains ``predictor.path``, instead of a class.
        ``requirements`` are pinned to the installed versions; imports that are not listed are added.

        ``models`` are files, folders or objects of this session by name. They are stored as artifacts
        by digest and mounted read-only. A class with ``load_model`` gets them from its client; every
        other class finds the folder of each model in its config under the model's name (an object is
        ``<name>.pkl`` in that folder). A model that is already in a store is given by its URL.

        ``example`` is a payload, by default the attribute ``example`` of the class. It is predicted here and in
        the clean interpreter, and different answers are refused. `None` predicts nothing.

        A pull request is opened unless the environment has ``delivery: push`` or
        ``pull_request=False``. ``dry_run`` does everything except the last step. ``content`` is
        ``complete`` (build the image, propose the release) or ``source`` (propose code and manifest
        to the source repository). The default is ``pull_requests.content`` of the project.

        ``by_tag`` does not build, and deploys an image without a digest by its tag; ``build=False`` refuses that.
        ``why`` is Markdown for the reviewer. ``origin`` is recorded as provenance (in a notebook, its name and cell).
        ``wait`` waits until the API is merged and live, for ``timeout`` seconds. ``force`` of Cortex has no effect.

        Raises:
            Unpackageable: the class needs something that files cannot hold; has all reasons.
            EngineFailed: the image cannot be built.
        """
        del force
        given = GivenCode(
            predictor=predictor, task=task, requirements=requirements,
            conda_packages=conda_packages, project_dir=project_dir, models=models, example=example,
        )  # fmt: skip
        chosen = DeployOptions(wait=wait, **options)
        with naming_replaced(given.predictor):
            api = create_api(
                self._connection, api_spec, given,
                content=content, origin=origin, options=chosen,
            )  # fmt: skip
        if chosen.waits and api.content == "complete":
            api.wait(timeout=chosen.timeout)
        return api

    @takes(DeployKeywords, of=DeployOptions)
    def deploy(
        self,
        config_file: str | Path | Mapping[str, Any],
        project_dir: str | Path | None = None,
        force: bool = True,
        wait: bool = False,
        *,
        prune: bool = False,
        **options: Unpack[DeployKeywords],
    ) -> Apis:
        """Deploy the manifest in a file, or those below a folder, as `gitops-ml deploy` does.

        A dict with its ``project_dir`` is deployed as by `create_api`.
        """
        if not isinstance(config_file, str | Path):
            api = self.create_api(config_file, project_dir=project_dir, wait=wait, **options)
            return Apis([api])
        if project_dir is not None:
            raise UsageError(
                "project_dir is for a dict: the code of a manifest file is in the folder of the file"
            )
        chosen = DeployOptions(prune=prune, wait=wait, **options)
        return deploy_files(self._connection, Path(config_file), chosen)

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
        """The current release of an API with what is proposed for it; one that is only proposed, too."""
        with self._connection.open() as (workspace, clients):
            where = self.environment
            proposed = proposed_releases(
                workspace, clients=clients, environment=where, api=api_name
            )
            new = [each for each in proposed if each.release is not None]
            try:
                snapshot = repository_of(workspace, clients).fetch()
                release = current_release(snapshot, api_name, where)
            except UsageError:
                if not new:
                    raise
                return Api.of_proposal(new[-1], self._connection)
        return Api.of_release(release, self._connection, proposed=proposed)

    def list_apis(self) -> Apis:
        """The current releases of the project in this environment, and those that are only proposed."""
        with self._connection.open() as (workspace, clients):
            snapshot = repository_of(workspace, clients).fetch()
            found = own_releases(snapshot, workspace.project.name, [self.environment])
            proposed = [
                each
                for each in proposed_releases(
                    workspace, clients=clients, environment=self.environment
                )
                if each.release is None or each.release.project == self.project
            ]
        current = {release.api: release for release in found}
        new = {each.api: each for each in proposed if each.api not in current and each.release}
        return Apis(
            self._listed(current[name], proposed)
            if name in current
            else Api.of_proposal(new[name], self._connection)
            for name in sorted({*current, *new})
        )

    def _listed(self, release: ReleaseRecord, proposed: Sequence[Proposed]) -> Api:
        own = tuple(each for each in proposed if each.api == release.api)
        return Api.of_release(release, self._connection, proposed=own)

    def history(self, api_name: str, *, limit: int | None = 20) -> History:
        """The deployments of an API in this environment, the newest first."""
        return History.read(self._connection, api_name, limit=limit)

    def trace(
        self, deployment_id: str, *, apis: Sequence[str] = (), days: float = SEARCHED_DAYS
    ) -> Trace:
        """The origin of a deployment id, of a unique prefix of one, or of the `x-request-id` of a prediction.

        Requests are searched in Loki (``days``, for an id without a time) and in pods' logs, of all APIs or ``apis``.
        """
        return Trace.read(self._connection, deployment_id, apis=apis, days=days)

    def export(
        self, name: str, folder: str | Path, *, platform: str | None = None
    ) -> tuple[str, ...]:
        """Write code, lock and manifest of a deployment or an image to an empty folder; the paths of the files.

        Raises:
            GitopsMlError: the image holds no project.
        """
        with self._connection.open() as (workspace, clients):
            target = Path(folder).absolute()
            return export(workspace, name, target, clients=clients, platform=platform).files

    # -- change current releases -------------------------------------------------------------------

    @takes(ChangeKeywords, of=ChangeOptions)
    def patch(
        self,
        api_spec: str | Mapping[str, Any],
        changes: Mapping[str, Any] | bool | None = None,
        force: bool = False,
        **options: Unpack[ChangeKeywords],
    ) -> Outcome:
        """Change the configuration of a current release; keep its image.

        ``api_spec`` is the name of the API, and ``changes`` has the fields that change; `None` removes
        a field. As in Cortex, ``api_spec`` can be a dict with the name and the fields. A patch that
        needs another image is a `UsageError`.
        """
        del force
        name, fields = patch_of(api_spec, changes)
        with self._connection.change(options) as context:
            return self._outcome(patch(context, name, fields), context)

    @takes(ChangeKeywords, of=ChangeOptions)
    def refresh(
        self,
        api_name: str | Sequence[str],
        force: bool = False,
        **options: Unpack[ChangeKeywords],
    ) -> Outcome:
        """Restart releases: new pods with the same image and settings, and a new deployment id."""
        del force
        selection = selection_of(api_name)
        with self._connection.change(options) as context:
            return self._outcome(refresh(context, selection), context)

    @takes(ChangeKeywords, of=ChangeOptions)
    def delete_api(
        self,
        api_name: str | Sequence[str],
        keep_cache: bool = False,
        **options: Unpack[ChangeKeywords],
    ) -> Outcome:
        """Remove releases from the GitOps repository; their history and images stay."""
        del keep_cache
        selection = selection_of(api_name)
        with self._connection.change(options) as context:
            return self._outcome(delete(context, selection), context)

    delete = delete_api

    @takes(ChangeKeywords, of=ChangeOptions)
    def promote(
        self,
        api_name: str | Sequence[str] = (),
        *,
        to: str | None = None,
        every: bool = False,
        teams: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        skip: bool = False,
        **options: Unpack[ChangeKeywords],
    ) -> Outcome:
        """Promote releases to the next environment, or to ``to``: the same image by its digest.

        APIs are named, or chosen by ``every``, ``teams`` and ``labels``. ``skip`` allows skipping an
        environment before a protected one.
        """
        selection = selection_of(api_name, every=every, teams=teams, labels=labels)
        source, target = route(self._connection.loaded.project, self.environment, to)
        with self._connection.change(options, environment=target) as context:
            changed = promote(context, selection, source=source, target=target, may_skip=skip)
            return self._outcome(changed, context)

    @takes(ChangeKeywords, of=ChangeOptions)
    def rollback(
        self, api_name: str, *, to: str | None = None, **options: Unpack[ChangeKeywords]
    ) -> Outcome:
        """Restore the previous state of an API, or that of ``to`` (deployment id or commit), byte for byte."""
        with self._connection.change(options) as context:
            return self._outcome(rollback(context, api_name, to=to), context)

    def _outcome(self, changed: ChangeResult, context: ChangeContext) -> Outcome:
        """The result, once it is live where the caller waits for that."""
        outcome = Outcome.from_verb(
            changed,
            pull_request=PullRequest.of(changed.pull_request),
            is_plan=changed.dry_run,
            _connection=self._connection,
        )
        if context.options.waits:
            outcome.wait(timeout=context.options.timeout)
        return outcome

    # -- what runs, by the cluster of the kubeconfig -----------------------------------------------

    def status(self, api_name: str) -> Status:
        """The status of an API: what Git wants, what runs, why it is not live, and what to do."""
        return Status.read(self._connection, api_name)

    @takes(CallKeywords, of=Call)
    def predict(self, api_name: str, payload: Any, **call: Unpack[CallKeywords]) -> Prediction:
        """Send a request to a running API, through its gateway or through the Kubernetes API server.

        Bytes are sent unchanged, everything else as JSON. ``address`` is a URL of the API itself, such
        as that of a port-forward.

        Raises:
            PredictionFailed: the API answered with an error; has its response.
        """
        return Prediction.of_running(self._connection, api_name, payload, Call(**call))

    def logs(self, api_name: str, *, tail: int | None = 100, container: str = CONTAINER) -> Logs:
        """The newest log lines of all replicas; of a crashed replica, those of its last attempt.

        Raises:
            GitopsMlError: no replica runs; has the reason.
        """
        return Logs.read(self._connection, api_name, tail=tail, container=container)

    def stream_api_logs(self, api_name: str) -> None:
        """Print log lines as they come, also of new replicas, until interrupted."""
        with self._connection.open() as (workspace, clients):
            lines = follow(workspace, api_name, clients=clients, environment=self.environment)
        try:
            for line in lines:
                print(printable(f"{line.pod}  {line.text}"), flush=True)
        except KeyboardInterrupt:
            return

    def wait_for(
        self,
        api_name: str | Sequence[str],
        *,
        timeout: float = WAIT_SECONDS,
        interval: float = 5,
    ) -> tuple[Status, ...]:
        """Wait until the current releases of these APIs are live; results have a `wait()` of their own.

        Raises:
            NotLive: one of them cannot become live, or is not live in time; has the reason and what to do.
        """
        names = (api_name,) if isinstance(api_name, str) else api_name
        policy = WaitPolicy(timeout=timeout, interval=interval)
        wanted = [self.get_api(name).expected() for name in names]
        return wait_for(self._connection, wanted, proposed=None, policy=policy)

    def predictions(self, api_name: str, *, days: float = DAYS) -> PredictionsView:
        """What each deployment of an API predicted: classes, or a histogram of values.

        From the Prometheus of the cluster's entry (pods of the last ``days``), else from the pods that run.
        """
        return PredictionsView.read(self._connection, api_name, days=days)

    def compare(
        self,
        first: str,
        second: str,
        *,
        days: float = DAYS,
        logs: Sequence[str | Path] = (),
        key: str = "",
        model_type: str | None = None,
    ) -> ComparisonView:
        """Whether two deployments predict alike; with ``logs``, from files of the prediction log."""
        return ComparisonView.read(
            self._connection, first, second,
            days=days, logs=tuple(map(Path, logs)), key=key, model_type=model_type,
        )  # fmt: skip

    def doctor(self, *, timeout: float = SECONDS, skip: Sequence[str] = ()) -> Diagnosis:
        """Check what this project relies on, from here; nothing is changed.

        Each check has ``timeout`` seconds. Findings about the subjects in ``skip`` do not count.
        """
        with self._connection.open() as (workspace, clients):
            found = doctor(workspace, clients=clients, seconds=timeout, skip=tuple(skip))
        return Diagnosis.from_verb(found)

    # -- on this machine ---------------------------------------------------------------------------

    def run_locally(self, api: Api, *, port: int = 0) -> LocalApi:
        """Serve ``api`` on this machine by the runtime of its image, beside this session.

        The code is the folder that `create_api` packaged, or else comes from the image. It uses the
        packages that are installed here, and models from the cache.

        Raises:
            ProgramFailed: it does not become ready; has the end of its log.
        """
        return api.run_locally(port=port)
