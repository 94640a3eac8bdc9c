"""Sign a commit where the git configuration of the user asks for it, as `git commit` does.

`git fast-import`, which writes the commits, signs none. Key and program are those of the user's and the
system's configuration; the configuration of the clone has neither.
"""

from __future__ import annotations

from gitops_ml.errors import ProgramFailed
from gitops_ml.git.program import GitProgram

_REMEDY = (
    "commit.gpgSign of your git configuration asks for signed commits: mend the key "
    "(`git commit -S` fails in the same way), or `git config --global commit.gpgSign false`"
)


def signed(
    git: GitProgram, commit: str, *, parent: str | None, message: str, author: tuple[str, str], seconds: int
) -> str:  # fmt: skip
    """The id of the commit with a signature; the commit itself where the user signs none.

    Raises:
        ProgramFailed: it cannot be signed.
    """
    wanted = git.local("config", "--type=bool", "--get", "commit.gpgSign")
    if wanted.stdout.strip() != b"true":
        return commit
    who = {"NAME": author[0], "EMAIL": author[1], "DATE": f"@{seconds} +0000"}
    parents = ("-p", parent) if parent else ()
    done = git.sign(
        "-c", "i18n.commitEncoding=UTF-8", "commit-tree", "-S", *parents, "-F", "-", f"{commit}^{{tree}}",
        input=(message.rstrip("\n") + "\n").encode(),
        variables={f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
    )  # fmt: skip
    if done.status:
        raise ProgramFailed(done.command, done.status, f"{done.stderr.strip()}\n{_REMEDY}")
    return done.text
