"""The pull request that a commit came by, as the forges write it into messages."""

from __future__ import annotations

import re

# Each is what its forge writes when somebody presses its button; the words between are free.
_SUBJECTS = (
    re.compile(r"Merge pull request #(\d+)\b"),  # GitHub, Bitbucket Server of today
    re.compile(r"Pull request #(\d+): "),  # Bitbucket Server
    re.compile(r"Merged in .+ \(pull request #(\d+)\)$"),  # Bitbucket Cloud
    re.compile(r"Merge pull request '.*' \([#!](\d+)\) from "),  # Gitea, Forgejo
    re.compile(r"Merged PR (\d+): "),  # Azure DevOps
    re.compile(r".* \([#!](\d+)\)$"),  # squashed or rebased: GitHub, Gitea, Forgejo
)
_GITLAB = re.compile(r"^See merge request \S*!(\d+)$", re.M)


def pull_request_number(message: str) -> int | None:
    """The number in a commit's message, `None` where it names none.

    >>> pull_request_number("Deploy iris to staging (#12)")
    12
    """
    subject = message.lstrip().split("\n", 1)[0].rstrip()
    for pattern in _SUBJECTS:
        if match := pattern.match(subject):
            return int(match[1])
    match = _GITLAB.search(message.replace("\r", ""))
    return int(match[1]) if match else None
