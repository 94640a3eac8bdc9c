"""The cache folder for clones and other data that can be fetched or computed again, and the user's seal on it.

A file in the cache is trusted in two ways only: by the hash of its content, which the reader knows, or by
the user's `Seal`. CI restores caches in other jobs, and a job of a pull request may write what the
job that deploys reads. So owner, size and date of a file prove nothing.
A folder that cannot be made, or that another user owns, is a `UsageError`.

A seal is a keyed hash (HMAC-SHA256) on what the reader knows no hash of, such as the layer of some inputs. The key
is a file in the user's configuration, outside the cache: a job of a pull request has another key, or none, and the
files that it writes are ignored. A new CI container has a new key, so it computes such answers again.
A folder under a seal is verified file by file: each use hashes its contents."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from gitops_ml.errors import UsageError
from gitops_ml.system.files import HeldFile, read_whole, written


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder of gitops-ml in the user's cache, created if missing, readable by this user only.

    ``GITOPS_ML_CACHE`` itself, or ``gitops-ml`` in ``XDG_CACHE_HOME`` or ``~/.cache``. In a shared
    folder, such as ``/tmp`` or a volume of root, it is the user's own folder in that.
    Root, who can read all of them, may use the folder of another user.
    """
    folder = _made(cache_place(environ))
    facts = folder.stat()
    if facts.st_mode & stat.S_ISVTX or facts.st_uid == 0 != os.geteuid():
        folder = _own_in(folder)
        facts = folder.stat()
    if os.geteuid() not in (0, facts.st_uid):
        raise _foreign(folder, f"belongs to another user ({facts.st_uid})")
    if facts.st_mode & 0o077:
        # CI restores caches with any umask.
        try:
            folder.chmod(facts.st_mode & 0o700)
        except OSError as error:
            if facts.st_mode & 0o022:
                why = f"can be changed by other users ({error.strerror})"
                raise _foreign(folder, why) from error
    return folder


def cache_place(environ: Mapping[str, str]) -> Path:
    """The path of `cache_folder`, which may not exist."""
    if named := environ.get("GITOPS_ML_CACHE"):
        return Path(named).expanduser().absolute()
    return user_folder(environ, "XDG_CACHE_HOME", ".cache") / "gitops-ml"


def user_folder(environ: Mapping[str, str], variable: str, usual: str) -> Path:
    """The folder that ``variable`` names by an absolute path, or ``usual`` in the user's home."""
    named = Path(environ.get(variable, ""))
    return named if named.is_absolute() else home_folder(environ) / usual


def home_folder(environ: Mapping[str, str]) -> Path:
    """The user's home."""
    return Path(environ.get("HOME") or Path.home())


def folder_in(folder: Path, *names: str) -> Path:
    """The folder ``names`` below ``folder``, created if missing; links on the way are removed.

    A cache that is restored can hold links, and what is written must stay in the cache.
    """
    for name in names:
        folder = folder / name
        if folder.is_symlink():
            folder.unlink()
        _made(folder)
    return folder


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be created ({error.strerror}); "
            "name another one in the environment variable GITOPS_ML_CACHE"
        ) from error
    return folder


def _own_in(shared: Path) -> Path:
    """The user's own folder in a shared one; a link or folder of another user in its place is removed."""
    folder = shared / f"gitops-ml-{os.geteuid()}"
    with suppress(OSError):
        if folder.is_symlink():
            folder.unlink()
        elif folder.stat().st_uid != os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
    _made(folder)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise _foreign(folder, "belongs to another user")
    return folder


def _foreign(folder: Path, what: str) -> UsageError:
    return UsageError(
        f"the cache folder {folder} {what}: remove it, or name another folder in the "
        "environment variable GITOPS_ML_CACHE"
    )


_SIZE = 32
_FILE = "gitops-ml/cache.key"


class Seal:
    """Makes and checks marks, with the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Seal:
        """The seal of the user, whose key is created if missing.

        If the key cannot be stored, or would be in the cache, this process has its own key, and
        ignores the files that earlier processes wrote.
        """
        file = user_folder(environ, "XDG_CONFIG_HOME", ".config") / _FILE
        if Path(os.path.realpath(file)).is_relative_to(os.path.realpath(cache_place(environ))):
            return cls(_of_this_process())
        return cls(_read_key(file) or _made_key(file) or _of_this_process())

    def mark(self, *parts: str | bytes) -> str:
        """The mark of ``parts``, as hex."""
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        text = b"".join(b"%d:%s" % (len(part), part) for part in encoded)
        return hmac.digest(self._key, text, "sha256").hex()

    def is_on(self, mark: object, *parts: str | bytes) -> bool:
        """Whether ``mark`` is the mark of ``parts``."""
        return isinstance(mark, str) and hmac.compare_digest(
            mark.encode(), self.mark(*parts).encode()
        )


@cache
def _of_this_process() -> bytes:
    return secrets.token_bytes(_SIZE)


def _read_key(file: Path) -> bytes | None:
    """The key, unless other users may know it: a file from a checkout is readable by all."""
    try:
        opened = HeldFile(file)
    except OSError:
        return None
    key = opened.read(0, _SIZE + 1) if opened.is_private else b""
    return key if len(key) == _SIZE else None


def _made_key(file: Path) -> bytes | None:
    """A new key, or the one that another call has made meanwhile."""
    name = ""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as out:
            out.write(secrets.token_bytes(_SIZE))
        try:
            os.link(name, file)
        except FileExistsError:
            if _read_key(file) is None:  # the file is not a key of this user
                os.replace(name, file)  # noqa: PTH105
    except OSError:
        pass
    finally:
        if name:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108
    return _read_key(file)


EXECUTABLE = " (executable)"
_LARGEST = 64 << 20


def listing(folder: Path) -> Mapping[str, str]:
    """The sha256 hex of each file by its path; other entries are named as such."""
    found = {}
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            path = Path(parent, name)
            found[path.relative_to(folder).as_posix()] = _file_hash(path)
    return dict(sorted(found.items()))


def _file_hash(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "no plain file"
    file = HeldFile(path)
    return f"{file.sha256()}{EXECUTABLE if file.is_executable else ''}"


def keep_listing(folder: Path, *, seal: Seal) -> None:
    """Write the listing of ``folder`` beside it, under the user's seal."""
    text = json.dumps(listing(folder))
    with written(_listing_of(folder)) as file:
        file.write(f"{seal.mark('folder', folder.name, text)}\n{text}".encode())


def what_changed(folder: Path, *, seal: Seal) -> str | None:
    """The first difference between ``folder`` and its listing, or ``None``."""
    try:
        mark, _, text = read_whole(_listing_of(folder), limit=_LARGEST).decode().partition("\n")
        if not seal.is_on(mark, "folder", folder.name, text):
            return "it was not written by this user"
        return difference(json.loads(text), listing(folder))
    except (OSError, UnicodeDecodeError) as error:
        return f"its listing cannot be read ({error})"


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """The first difference between two listings, or ``None``."""
    for path in sorted({*expected, *found}):
        if (here := found.get(path)) != (asked := expected.get(path)):
            return f"{path} should be {asked or 'absent'}, and is {here or 'absent'}"
    return None


def remove(folder: Path) -> None:
    """Remove a folder, or the link in its place."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(FileNotFoundError):
        _listing_of(folder).unlink()


def _listing_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")
