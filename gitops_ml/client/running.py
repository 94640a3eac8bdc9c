"""The client's verbs about what runs: how it is, when it is live, what it says, what it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml.client.accounts import Logs, Prediction, Status
from gitops_ml.client.connection import Connection
from gitops_ml.commands.get import describe
from gitops_ml.commands.logs import follow, logs
from gitops_ml.commands.predict import Call, predict
from gitops_ml.commands.wait import WaitPolicy, wait
from gitops_ml.system.clean_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.client.results import PullRequest
    from gitops_ml.cluster.status_words import ExpectedRelease


class Running(Connection):
    """`status`, `wait`, `logs` and `predict`, by the cluster that the kubeconfig names."""

    def status(self, api_name: str) -> Status:
        """How an API is: what Git wants, what runs, why it is not live, and what to do.

        Raises:
            UsageError: there is no such API.
            Refused, ServerFailed: the GitOps repository cannot be read.
        """
        with self._at_work() as (workspace, tools):
            return Status.of(
                describe(workspace, api_name, tools=tools, environment=self.environment)
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
        """Ask a running API: at its gateway, or by way of the API server.

        Bytes are sent as they are, all else as JSON. ``address`` is a URL at which the API itself
        answers, such as that of a port-forward.

        Raises:
            UsageError: there is no such API, or the payload cannot be JSON.
            PredictionFailed: it answered with a failure; carries its words.
            Refused, ServerFailed: it cannot be reached.
        """
        call = Call(path=path, headers=headers, timeout=timeout, address=address)
        with self._at_work() as (workspace, tools):
            found = predict(
                workspace, api_name, payload, tools=tools, environment=self.environment, call=call
            )
        return Prediction.of(found, self._client)

    def logs(self, api_name: str, *, tail: int | None = 100) -> Logs:
        """The newest log lines of all replicas; of one that crashed, those of its last attempt.

        Raises:
            UsageError: there is no such API.
            GitopsMlError: nothing of it runs; says why.
            Refused, ServerFailed: the repository or the cluster cannot be read.
        """
        with self._at_work() as (workspace, tools):
            return Logs(
                logs(workspace, api_name, tools=tools, environment=self.environment, tail=tail)
            )

    def stream_api_logs(self, api_name: str) -> None:
        """Print log lines as they come, of new replicas, too, until it is interrupted.

        Raises:
            UsageError: there is no such API.
            Refused, ServerFailed: the repository or the cluster cannot be read.
        """
        with self._at_work() as (workspace, tools):
            lines = follow(workspace, api_name, tools=tools, environment=self.environment)
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
            NotLive: one cannot become live, or has not in time; says why and what to do.
            Refused, ServerFailed, UsageError: the repository, forge or cluster cannot be asked.
        """
        asked = proposed.asked() if proposed else None
        with self._at_work() as (workspace, tools):
            found = wait(workspace, wanted, tools=tools, proposed=asked, patience=patience)
            return tuple(
                Status.of(
                    describe(
                        workspace,
                        live.release.api,
                        tools=tools,
                        environment=live.release.environment,
                    )
                )
                for live in found
            )
