"""The programs of the local cluster: which versions, where they are, and how they are built.

`python -m tests.e2e.machine` builds what is missing from Go modules. Go and, for Gitea, a C
compiler are needed. Argo CD is not served as a Go module: put its program `argocd` and `git-verify-wrapper.sh`
of its folder `hack/` into the folder of the binaries, and its `manifests/crds` into `definitions/argo-cd`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KUBERNETES, GITEA = "1.36.3", "1.26.0"


@dataclass(frozen=True)
class GoModule:
    path: str
    version: str
    programs: tuple[tuple[str, str], ...] = ()
    """Name of the binary and the package below the module that makes it."""
    definitions: str | None = None
    """Folder of its custom resource definitions."""
    staging: str | None = None
    """Version of the modules in its folder `staging`, which a release replaces by that version."""
    flags: tuple[str, ...] = ()
    cgo: bool = False
    in_place: bool = False
    """Built in a copy of the module, which the program also reads while it runs."""
    upgrades: tuple[str, ...] = ()
    """Modules that it needs in newer versions; it is built in a copy, whose go.mod keeps its replacements."""

    @property
    def source(self) -> Path:
        return Path(
            json.loads(_go("mod", "download", "-json", f"{self.path}@v{self.version}"))["Dir"]
        )


_KUBERNETES_VERSION = " ".join([
    "-s -w",
    f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}",
    f"-X k8s.io/component-base/version.gitMajor={KUBERNETES.split('.')[0]}",
    f"-X k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}",
    f"-X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}",
])  # fmt: skip
_KUBERNETES_PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
)  # fmt: skip
MODULES = (
    GoModule("go.etcd.io/etcd/server/v3", "3.6.16", (("etcd", "."),)),
    GoModule(
        "k8s.io/kubernetes", KUBERNETES, tuple((name, f"cmd/{name}") for name in _KUBERNETES_PROGRAMS),
        staging="0" + KUBERNETES[1:], flags=("-ldflags", _KUBERNETES_VERSION),
    ),
    GoModule(
        "github.com/kedacore/keda/v2", "2.21.0",
        (("keda-operator", "cmd/operator"), ("keda-adapter", "cmd/adapter"),
         ("keda-webhooks", "cmd/webhooks")),
        definitions="config/crd/bases",
    ),
    GoModule(
        "github.com/kedacore/http-add-on", "0.15.0",
        (("keda-http-operator", "operator"), ("keda-http-interceptor", "interceptor"),
         ("keda-http-scaler", "scaler")),
        definitions="config/crd/bases",
    ),
    GoModule("github.com/coredns/coredns", "1.14.7", (("coredns", "."),)),
    GoModule(
        "code.gitea.io/gitea", GITEA, (("gitea", "."),), cgo=True, in_place=True,
        # Argo CD's client refuses to list pull requests of a server without a version.
        flags=("-tags", "sqlite sqlite_unlock_notify", "-ldflags", f"-X main.Version={GITEA}"),
    ),
    # The newest that is a Go module and has the Apache licence; newer Go needs newer dependencies.
    GoModule(
        "github.com/grafana/loki", "1.6.1", (("grafana-loki", "cmd/loki"),),
        upgrades=(
            "golang.org/x/sys@v0.30.0", "golang.org/x/net@v0.30.0",
            "github.com/modern-go/reflect2@v1.0.2", "github.com/json-iterator/go@v1.1.12",
        ),
    ),
    GoModule("sigs.k8s.io/gateway-api", "1.6.3", definitions="config/crd/standard"),
    GoModule(
        "github.com/prometheus-operator/prometheus-operator", "0.85.0",
        definitions="example/prometheus-operator-crd",
    ),
    GoModule(
        "github.com/external-secrets/external-secrets", "0.20.4", definitions="config/crds/bases"
    ),
    GoModule("github.com/grafana/grafana-operator/v5", "5.21.4", definitions="config/crd/bases"),
)  # fmt: skip
DEBIAN = {
    "containerd": "containerd", "ctr": "containerd", "runc": "runc", "iptables": "iptables",
    "conntrack": "conntrack", "ip": "iproute2", "gcc": "gcc", "openssl": "openssl",
    "redis-server": "redis-server", "docker-registry": "docker-registry", "skopeo": "skopeo",
}  # fmt: skip
CNI = Path("/usr/lib/cni")


def _named_folder() -> Path:
    named = os.environ.get("GITOPS_ML_E2E_BINARIES")
    if named:
        return Path(named).expanduser()
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser() / "gitops-ml-e2e"


_FOLDER = _named_folder()
"""Read at the import: a test has another HOME."""


def folder() -> Path:
    """Where the binaries are kept: ``GITOPS_ML_E2E_BINARIES`` or a folder of the user's cache."""
    return _FOLDER


def path(name: str) -> str | None:
    """The program, from the folder of the binaries or from PATH."""
    return shutil.which(name, path=f"{folder()}{os.pathsep}{os.environ['PATH']}")


def definitions() -> Path:
    """The custom resource definitions of all modules, one folder for each."""
    return folder() / "definitions"


def gitea_files() -> Path:
    """The templates and options that Gitea reads while it runs."""
    return folder() / "gitea-files"


def missing(*names: str) -> list[str]:
    """What brings each of the ``names`` that is not there, in words."""
    return [f"{name} ({_what_brings(name)})" for name in names if path(name) is None]


def _what_brings(name: str) -> str:
    if name in ("argocd", "git-verify-wrapper.sh"):
        return "of Argo CD: put it on PATH"
    if name == "helm":
        return "tests/support/install_helm.py"
    return f"apt-get install {DEBIAN[name]}" if name in DEBIAN else "make e2e-binaries"


# -- building --------------------------------------------------------------------------------------


def build() -> None:
    """Build the programs that are missing, and copy the definitions; what is there stays."""
    folder().mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        if module.definitions and not (target := definitions() / _short(module)).exists():
            print(f"{module.path} v{module.version}: definitions", flush=True)
            shutil.copytree(module.source / module.definitions, target)
        wanted = [each for each in module.programs if not (folder() / each[0]).exists()]
        if wanted:
            _build_programs(module, wanted)


def _build_programs(module: GoModule, programs: list[tuple[str, str]]) -> None:
    sources = folder() / "build" / _short(module)
    if module.in_place:
        sources = gitea_files()
        _copy(module, sources)
    elif module.upgrades:
        _copy(module, sources)
        shutil.rmtree(sources / "vendor", ignore_errors=True)
        _go("get", *module.upgrades, cwd=sources)
    else:
        _write_go_mod(module, sources)
    for name, package in programs:
        print(f"{module.path} v{module.version}: {name}", flush=True)
        is_copied = module.in_place or module.upgrades
        named = f"./{package}" if is_copied else f"{module.path}/{package}".removesuffix("/.")
        # Built beside its place, so that an interrupted build leaves no half program.
        partial = folder() / f"{name}.partial"
        _go(
            "build",
            "-mod=mod",
            *module.flags,
            "-o",
            str(partial),
            named,
            cwd=sources,
            cgo=module.cgo,
        )
        partial.replace(folder() / name)


def _copy(module: GoModule, target: Path) -> None:
    """Copy the sources of a module, so that they can be written to."""
    if not target.exists():
        shutil.copytree(module.source, target)
        for found in [target, *target.rglob("*")]:
            found.chmod(found.stat().st_mode | 0o200)


def _write_go_mod(module: GoModule, sources: Path) -> None:
    sources.mkdir(parents=True, exist_ok=True)
    lines = ["module e2e", "go 1.26", f"require {module.path} v{module.version}"]
    if module.staging:
        for line in (module.source / "go.mod").read_text().splitlines():
            replaced, arrow, place = line.strip().partition(" => ")
            if arrow and place.startswith("./staging/"):
                name = replaced.removeprefix("replace ")
                lines.append(f"replace {name} => {name} v{module.staging}")
    (sources / "go.mod").write_text("\n".join([*lines, ""]))
    if not module.staging:
        _go("get", f"{module.path}@v{module.version}", cwd=sources)


def _go(*arguments: str, cwd: Path | None = None, cgo: bool = False) -> str:
    environ = {**os.environ, "CGO_ENABLED": "1" if cgo else "0"}
    done = subprocess.run(
        ["go", *arguments], cwd=cwd or folder(), env=environ, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.decode()


@cache
def _short(module: GoModule) -> str:
    """`kubernetes` of `k8s.io/kubernetes`, `keda` of `github.com/kedacore/keda/v2`."""
    parts = [part for part in module.path.split("/") if part not in {"v2", "v3", "v5", "server"}]
    return parts[-1]
