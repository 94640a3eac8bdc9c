"""What the client's methods return: values with attributes, which show themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitops_ml.core import layout
from gitops_ml.core.differences import unified_diff
from gitops_ml.library import cards

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.core.changes import Change
    from gitops_ml.core.image import ImageRef
    from gitops_ml.core.pull_request import PullRequest
    from gitops_ml.library.verbs import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One API in one environment, as a call left it.

    ``repr()`` and notebooks show a card; the attributes are for programs.
    """

    name: str
    environment: str
    deployment_id: str
    image: ImageRef
    """With its digest, unless this is a plan whose image is not built yet."""
    namespace: str
    changes: tuple[Change, ...]
    """The files of the GitOps repository that change."""
    commit: str | None
    """The commit in the GitOps repository; `None` where nothing had to change, or for a plan."""
    pull_request: PullRequest | None
    """Where the commit waits for its review; `None` where it is on the branch."""
    is_plan: bool
    """Whether this is what would happen (``dry_run=True``)."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was found out while the class was packaged."""
    package: Path | None = None
    """The folder that the class was packaged in, as it enters the image."""
    client: Client = field(repr=False, compare=False)

    @property
    def diff(self) -> str:
        """What changes in the GitOps repository, as a unified diff, without base charts."""
        return "".join(
            unified_diff(change) for change in self.changes if layout.chart_of(change.path) is None
        )

    @property
    def summary(self) -> str:
        """One line: what has become of it."""
        if not self.changes:
            return "nothing to change"
        if self.is_plan:
            return "planned; nothing was changed"
        if self.pull_request is not None:
            return f"proposed in {self.pull_request.url or self.pull_request.head}"
        return f"committed {(self.commit or '')[:12]}"

    def __repr__(self) -> str:
        return cards.text(self)

    def _repr_html_(self) -> str:
        return cards.html(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
