"""The client's verbs about what stands in the GitOps repository: looking at it, and changing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.client.accounts import History, Trace
from gitops_ml.client.connection import Connection
from gitops_ml.client.results import Api, Apis, Outcome
from gitops_ml.commands.delete import delete
from gitops_ml.commands.history import history, trace
from gitops_ml.commands.inspect import export
from gitops_ml.commands.patch import patch, refresh
from gitops_ml.commands.promote import promote, route
from gitops_ml.commands.rollback import rollback
from gitops_ml.delivery.releases import Selection, get_release, list_releases
from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Words = Mapping[str, Any]


class Standing(Connection):
    """`get_api`, `promote`, `rollback` and the rest that needs Git alone."""

    def get_api(self, api_name: str) -> Api:
        """The API as it stands in the GitOps repository.

        Raises:
            UsageError: it is not there; names those that are.
            Refused, ServerFailed: the repository cannot be read.
        """
        with self._at_work() as (workspace, tools):
            release = get_release(workspace, api_name, tools=tools, environment=self.environment)
        return Api.standing(release, self._client)

    def list_apis(self) -> Apis:
        """The project's APIs in this environment, as they stand in the GitOps repository.

        Raises:
            Refused, ServerFailed: the repository cannot be read.
        """
        with self._at_work() as (workspace, tools):
            found = list_releases(workspace, tools=tools, environments=[self.environment])
        return Apis(Api.standing(release, self._client) for release in found)

    def history(self, api_name: str, *, limit: int | None = 20) -> History:
        """The deployments of an API in this environment, the newest first.

        Raises:
            UsageError: nothing was ever deployed by that name.
            Refused, ServerFailed: the repository cannot be read.
        """
        with self._at_work() as (workspace, tools):
            found = history(
                workspace, api_name, tools=tools, environments=[self.environment], limit=limit
            )
        return History(api=api_name, entries=found.entries, warnings=found.warnings)

    def trace(self, deployment_id: str) -> Trace:
        """Where a deployment id leads; its beginning will do.

        Raises:
            UsageError: there is and was no such deployment; names the nearest.
            Refused, ServerFailed: the repository cannot be read.
        """
        with self._at_work() as (workspace, tools):
            return Trace.of(trace(workspace, deployment_id, tools=tools))

    def export(self, name: str, folder: str | Path) -> tuple[str, ...]:
        """Bring code, lock and manifest of a deployment (or of an image) back into an empty folder.

        Returns the paths that were written.

        Raises:
            UsageError: the folder is not empty, or there is no such deployment.
            GitopsMlError: the image holds no project.
            Refused, ServerFailed: the registry or the repository said no, or has no such image.
        """
        with self._at_work() as (workspace, tools):
            return export(workspace, name, Path(folder).absolute(), tools=tools).files

    # -- changing it -------------------------------------------------------------------------------

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
        """Change the configuration of an API that stands; its image stays as it is.

        ``api_spec`` is the API's name, and ``changes`` has the fields that should change; `None`
        takes a field back. As in Cortex, ``api_spec`` can have the name and the fields.

        Raises:
            UsageError: there is no such API, or the patch would need another image.
            InvalidDocument: the patched manifest breaks a rule.
            Refused, ServerFailed, RepositoryMoved: see `create_api`.
        """
        del force
        name, words = _patched(api_spec, changes)
        with self._at_work() as (workspace, tools):
            done = patch(
                workspace,
                name,
                words,
                environment=self.environment,
                tools=tools,
                options=self._options(dry_run, pull_request, message, why),
            )
        return Outcome.of(done, self._client)

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
        """Roll out what stands there anew: new pods, with nothing changed but the deployment id.

        Raises:
            UsageError: there is no such API.
            Refused, ServerFailed, RepositoryMoved: see `create_api`.
        """
        del force
        with self._at_work() as (workspace, tools):
            done = refresh(
                workspace,
                _selection(api_name),
                environment=self.environment,
                tools=tools,
                options=self._options(dry_run, pull_request, message, why),
            )
        return Outcome.of(done, self._client)

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
        """Remove an API from the GitOps repository; its history and its images stay.

        Raises:
            UsageError: there is no such API.
            Refused, ServerFailed, RepositoryMoved: see `create_api`.
        """
        del keep_cache
        with self._at_work() as (workspace, tools):
            done = delete(
                workspace,
                _selection(api_name),
                environment=self.environment,
                tools=tools,
                options=self._options(dry_run, pull_request, message, why),
            )
        return Outcome.of(done, self._client)

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
        """Give the next environment, or ``to``, what stands in this one: the same image by its digest.

        APIs are named, or chosen by ``every``, ``teams`` and ``labels``. ``skip`` goes past an
        environment into a protected one.

        Raises:
            UsageError: an environment or an API does not exist.
            InvalidDocument: a manifest breaks a rule in the target.
            Refused, ServerFailed, RepositoryMoved: see `create_api`.
        """
        selection = _selection(api_name, every=every, teams=teams, labels=labels)
        source, target = route(self._at_hand.project, self.environment, to)
        with self._at_work() as (workspace, tools):
            done = promote(
                workspace,
                selection,
                tools=tools,
                source=source,
                target=target,
                may_skip=skip,
                options=self._options(dry_run, pull_request, message, why, environment=target),
            )
        return Outcome.of(done, self._client)

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
        """Restore an API as it stood before, or at the deployment id ``to``, byte for byte.

        Raises:
            UsageError: there is no such deployment of this API here.
            Refused, ServerFailed, RepositoryMoved: see `create_api`.
        """
        with self._at_work() as (workspace, tools):
            done = rollback(
                workspace,
                api_name,
                environment=self.environment,
                tools=tools,
                to=to,
                options=self._options(dry_run, pull_request, message, why),
            )
        return Outcome.of(done, self._client)


def _patched(spec: object, changes: object) -> tuple[str, Words]:
    """The name of the API, and what should change."""
    # Cortex's second argument is `force`.
    changes = None if isinstance(changes, bool) else changes
    if isinstance(spec, str) and isinstance(changes, Mapping):
        return spec, changes
    if isinstance(spec, Mapping) and changes is None:
        name = spec.get("name")
        if not isinstance(name, str) or not name:
            raise UsageError("which API? Its spec has no name")
        return name, {key: value for key, value in spec.items() if key not in ("name", "kind")}
    raise UsageError(
        'patch takes a name and what should change: patch("iris", {"compute": {"cpu": 2}})'
    )


def _selection(
    names: str | Sequence[str],
    *,
    every: bool = False,
    teams: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Selection:
    apis = (names,) if isinstance(names, str) else tuple(names)
    if not (apis or every or teams or labels):
        raise UsageError("which APIs? Name them, or choose them with every=, teams= or labels=")
    if apis and every:
        raise UsageError("every=True means every API: leave the names out, or leave it out")
    return Selection(apis=apis, every=every, teams=tuple(teams), labels=labels)
