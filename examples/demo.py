"""The main job from end to end: what `make demo` runs.

Takes the iris classifier from training to a release in Git and a prediction, on this machine alone:
no cluster, no Docker engine and no registry are needed. It keeps everything in one folder and may be
run again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "iris-classifier"
NO_REGISTRY = ("--offline", "--by-tag")
SKLEARN = "scikit-learn>=1.5,<2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=ROOT / ".demo", help="where everything goes")
    home = parser.parse_args().home.resolve()
    if sys.version_info < (3, 10):  # noqa: UP036 - the Python that runs this is anybody's
        sys.exit("the demo needs Python 3.10 or newer: make demo PYTHON=python3.12")
    if shutil.which("git") is None:
        sys.exit("the demo needs git: on Debian, apt-get install git")
    started = time.monotonic()
    demo = Demo(home)
    demo.install()
    demo.prepare()
    demo.train()
    demo.check()
    demo.build()
    demo.deploy()
    demo.change()
    demo.serve()
    title(
        f"Done in {time.monotonic() - started:.0f} s. Everything is in {home}; remove it with `make clean`."
    )


class Demo:
    """One folder with a virtual environment, a project and a GitOps repository."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "venv" / "bin"
        self.project = home / "iris-classifier"
        self.repository = home / "gitops.git"
        self.environ = {
            "GIT_AUTHOR_NAME": "A demo",
            "GIT_AUTHOR_EMAIL": "demo@example.org",
            **os.environ,
            "GITOPS_ML_CACHE": str(home / "cache"),
            "PATH": f"{self.bin}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def install(self) -> None:
        title("Install gitops-ml and scikit-learn into a virtual environment of its own")
        stamp = self.home / "venv" / ".installed"
        wanted = hashlib.sha256((ROOT / "setup.cfg").read_bytes()).hexdigest()
        if stamp.is_file() and stamp.read_text() == wanted:
            print("already there")
            return
        venv.create(self.home / "venv", with_pip=True, clear=True)
        python = str(self.bin / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
        subprocess.run(pip, check=True)
        uv = [str(self.bin / "uv"), "pip", "install", "--python", python]
        subprocess.run([*uv, "--editable", str(ROOT), SKLEARN], check=True)
        stamp.write_text(wanted)
        print(f"installed into {self.home / 'venv'}")

    def prepare(self) -> None:
        title("A project: a manifest, a predictor and its training script")
        model = self.project / "model.joblib"
        kept = model.read_bytes() if model.is_file() else None
        shutil.rmtree(self.project, ignore_errors=True)
        shutil.copytree(EXAMPLE, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        if kept is not None:
            model.write_bytes(kept)
        shutil.rmtree(self.repository, ignore_errors=True)
        init = ["git", "init", "--quiet", "--bare", "--initial-branch=main"]
        subprocess.run([*init, str(self.repository)], check=True)
        # a source repository of its own: a GitOps repository inside of the source folder is refused
        subprocess.run(["git", "init", "--quiet", str(self.project)], check=True)
        file = self.project / "gitops-ml.yaml"
        text = file.read_text()
        file.write_text(
            text.replace("https://github.com/acme/gitops.git", self.repository.as_uri())
        )
        print((self.project / "api.yaml").read_text())

    def train(self) -> None:
        title("Train the model")
        self._show([str(self.bin / "python"), "train.py"])

    def check(self) -> None:
        title("Check the manifest")
        self._show(["gitops-ml", "validate"])

    def build(self) -> None:
        title("Hash the inputs of the image; its lock lists the packages")
        self._show(["gitops-ml", "lock", "--check"])
        self._show(["gitops-ml", "build", "--no-push", "--dry-run"])
        print("(`gitops-ml build` needs no Docker, but the base image's registry and an index)")

    def deploy(self) -> None:
        title("Render the release and commit it to the GitOps repository")
        print("(--by-tag, because there is no registry that has the digest of the image)")
        self._show(["gitops-ml", "deploy", "-e", "staging", *NO_REGISTRY])
        self._show(["gitops-ml", "deploy", "-e", "staging", *NO_REGISTRY])
        title("The files that Argo CD reads")
        git = ["git", f"--git-dir={self.repository}"]
        listing = subprocess.run(
            [*git, "ls-tree", "-r", "--name-only", "main"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        print(tree(listing.split()))
        subprocess.run([*git, "--no-pager", "log", "-1", "--format=%h %s%n%n%b"], check=True)

    def change(self) -> None:
        title("Change the number of replicas, and show the difference")
        manifest = self.project / "api.yaml"
        manifest.write_text(manifest.read_text().replace("max_replicas: 5", "max_replicas: 8"))
        self._show(["gitops-ml", "diff", "--offline", "-e", "staging"])
        self._show(["gitops-ml", "deploy", "-e", "staging", *NO_REGISTRY])
        # Back to where a second run of the demo starts.
        manifest.write_text(manifest.read_text().replace("max_replicas: 8", "max_replicas: 5"))

    def serve(self) -> None:
        title("Serve the predictor with the runtime of the image, and send it a request")
        port = free_port()
        server = subprocess.Popen(
            ["gitops-ml", "run", "--port", str(port)], cwd=self.project, env=self.environ
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", server)
            flower = json.loads((self.project / "sample.json").read_text())
            print(f"\n> {json.dumps(flower)}")
            answer = ask(f"http://127.0.0.1:{port}/predict", flower)
            print(f"< {json.dumps(answer)}\n")
            if answer["label"] != "setosa":
                sys.exit(f"the model should predict setosa, but predicts {answer}")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)

    def _show(self, command: list[str], *, check: bool = True) -> int:
        print(
            f"$ {' '.join(Path(part).name if part.startswith('/') else part for part in command)}",
            flush=True,
        )
        program = shutil.which(command[0], path=self.environ["PATH"]) or command[0]
        done = subprocess.run([program, *command[1:]], cwd=self.project, env=self.environ)
        if check and done.returncode:
            sys.exit(f"{command[0]} ended with exit code {done.returncode}")
        print(flush=True)
        return done.returncode


def title(text: str) -> None:
    print(f"\n=== {text}\n", flush=True)


def tree(paths: list[str]) -> str:
    """Paths as an indented tree; a chart's templates are many, so they are counted."""
    lines: list[str] = []
    seen: set[str] = set()
    templates = [path for path in paths if "/templates/" in path]
    for path in [path for path in paths if "/templates/" not in path]:
        parts = path.split("/")
        for depth, part in enumerate(parts):
            prefix = "/".join(parts[: depth + 1])
            if prefix not in seen:
                seen.add(prefix)
                lines.append("  " * depth + part + ("/" if depth < len(parts) - 1 else ""))
    return "\n".join([*lines, f"(and {len(templates)} chart templates)", ""])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the predictor ended with exit code {server.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    sys.exit("the predictor was not ready after a minute")


def ask(url: str, payload: object) -> dict[str, object]:
    request = urllib.request.Request(
        url, json.dumps(payload).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        result: dict[str, object] = json.loads(answer.read())
        return result


if __name__ == "__main__":
    main()
