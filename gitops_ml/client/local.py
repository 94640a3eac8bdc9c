"""An API served on this machine: the files that are in its image, or will be, by the runtime of the image."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.spec_of_class import source_folder
from gitops_ml.client import cards
from gitops_ml.client.accounts import Prediction
from gitops_ml.client.cards import Shown
from gitops_ml.client.connection import Connection
from gitops_ml.commands.inspect import export
from gitops_ml.commands.predict import Call, predict_at
from gitops_ml.commands.run import start
from gitops_ml.errors import UsageError
from gitops_ml.workspace.from_dicts import DescribedApi, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.client.results import Api
    from gitops_ml.client.verbs import Client
    from gitops_ml.runtime.serve import LocalServer
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LocalApi(Shown):
    """An API that is served beside this session until `stop`, or until the session ends."""

    name: str
    url: str
    folder: Path
    """The files that it is served from."""
    client: Client = field(compare=False)
    _server: LocalServer = field(compare=False)
    _kept: ExitStack = field(compare=False)

    def predict(
        self, payload: Any, *, path: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Prediction:
        """Ask it; bytes are sent as they are, all else as JSON.

        Raises:
            UsageError: the payload cannot be JSON.
            PredictionFailed: it answered with a failure; carries its words.
        """
        found = predict_at(self.url, payload, api=self.name, call=Call(path=path, headers=headers))
        return Prediction.of(found, self.client)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._server.log

    def stop(self) -> None:
        """End it; again is no harm."""
        self._kept.close()

    def __enter__(self) -> LocalApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"{self.name} on this machine",
            state="live",
            rows=(
                cards.Row("predictions", f"{self.url}/predict"),
                cards.Row("documentation", "/docs", link=f"{self.url}/docs"),
                cards.Row("files", str(self.folder)),
            ),
        )


class Local(Connection):
    """`run_locally`: predictions before anything is merged, and without a cluster."""

    def run_locally(self, api: Api, *, port: int = 0) -> LocalApi:
        """Serve ``api`` here, by the runtime of its image and beside this session.

        The code is what `create_api` packaged, or else what is in the image. It finds the packages
        that are installed here, and its models in the cache.

        Raises:
            UsageError: it has neither package nor image.
            ProgramFailed: it does not become ready; holds the end of its log.
            Refused, ServerFailed: its image or its models cannot be had.
        """
        with ExitStack() as opened:
            with self._at_work() as (workspace, tools):
                folder = api.package or _exported(api, opened, workspace, tools)
                described = DescribedApi(
                    spec=api.manifest,
                    folder=folder,
                    manifest_file=f"{source_folder(api.name)}/api.yaml",
                )
                server = start(
                    describe([described], self._at_hand, environment=api.environment),
                    tools=tools,
                    progress=tools.progress,
                    port=port,
                )
            opened.callback(server.stop)
            return LocalApi(
                name=api.name, url=server.url, folder=folder, client=self._client,
                _server=server, _kept=opened.pop_all(),
            )  # fmt: skip


def _exported(api: Api, opened: ExitStack, workspace: Workspace, tools: Clients) -> Path:
    """The code out of the image, in a folder that is there until ``opened`` is closed."""
    if api.image is None or api.image.digest is None:
        raise UsageError(
            f"{api.name} has no image yet that its code could be brought out of; `gitops-ml run` "
            "serves a project folder"
        )
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"{api.name}-")))
    tools.progress(f"bringing the code out of {api.image.repository}")
    export(workspace, str(api.image), folder, tools=tools)
    return folder
