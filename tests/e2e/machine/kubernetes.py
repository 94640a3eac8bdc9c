"""One node of Kubernetes: control plane, containerd and kubelet, from binaries, as root.

Up in about 15 seconds on an idle machine. Facts that cost time to find out: runc makes no sandbox on
some virtual machines unless containerd has `restrict_oom_score_adj`; cgroup v1 needs `failCgroupV1:
false`; `--enable-aggregator-routing` lets the API server reach webhooks and aggregated APIs by
endpoint; with `InternalIP` first, logs and exec need no name of the node in /etc/hosts.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shlex
import ssl
import subprocess
import tarfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import binaries
from tests.e2e.machine.processes import Processes, until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
    "kubectl", "containerd", "ctr", "runc", "iptables", "conntrack", "ip", "gcc", "openssl",
)  # fmt: skip
PODS, SERVICES = "10.244.0.0/24", "10.96.0.0/16"
ADMIN = "gitops-ml-e2e-admin"
PAUSE = "localhost/pause:1"


def missing() -> list[str]:
    """What this machine lacks for a node, in words."""
    lacking = binaries.missing(*PROGRAMS)
    if os.geteuid() != 0:
        lacking.append("root's rights (containerd and kubelet need them)")
    if not (binaries.CNI / "bridge").exists():
        lacking.append("CNI plugins (apt-get install containernetworking-plugins)")
    return lacking


class Node:
    """A cluster of one node; `kubeconfig` names its administrator.

    ``registry`` (host:port on loopback) is one that pods may pull from over plain HTTP.
    """

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder, self.registry = folder, registry
        self.processes = Processes(folder)
        self.kubeconfig = folder / "kubeconfig"
        self.address = _own_address()
        self.port = free_port()
        self._etcd = f"http://127.0.0.1:{free_port()}"
        self._socket = folder / "ctd.sock"
        self._left = ExitStack()

    def __getstate__(self) -> dict[str, object]:
        """What is left is removed by the process that started the node."""
        return {**vars(self), "_left": ExitStack()}

    # -- up --------------------------------------------------------------------------------------

    def start(self) -> None:
        self._write_keys()
        self._start_containerd()
        self._start_control_plane()
        self._import_pause_image()
        self._start_kubelet()
        self._start("kube-proxy", "--kubeconfig", self.kubeconfig, "--proxy-mode=iptables",
                    f"--cluster-cidr={PODS}", "--hostname-override=node1",
                    "--conntrack-max-per-core=0",
                    f"--healthz-bind-address=127.0.0.1:{free_port()}",
                    f"--metrics-bind-address=127.0.0.1:{free_port()}")  # fmt: skip
        until(self._is_ready, "the node is ready", seconds=60, impossible=self._broken)

    def _write_keys(self) -> None:
        folder = self.folder
        names = f"IP:127.0.0.1,IP:{self.address},IP:10.96.0.1,DNS:kubernetes.default.svc"
        _run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=e2e",
             "-addext", f"subjectAltName={names}", "-keyout", folder / "api.key",
             "-out", folder / "api.crt", "-days", "30")  # fmt: skip
        self.write_json(self.kubeconfig, self.access(ADMIN))
        (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n')
        _run("openssl", "genrsa", "-out", folder / "sa.key", "2048")
        _run("openssl", "rsa", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")
        _run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=front-proxy",
             "-keyout", folder / "proxy.key", "-out", folder / "proxy.crt", "-days", "30")  # fmt: skip

    def access(self, token: str) -> dict:
        """A kubeconfig for the bearer of ``token``."""
        trusted = base64.b64encode((self.folder / "api.crt").read_bytes()).decode()
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": trusted}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": server}],
            "users": [{"name": "e2e", "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
        }  # fmt: skip

    def _start_control_plane(self) -> None:
        folder, peers = self.folder, f"http://127.0.0.1:{free_port()}"
        self._start(
            "etcd", "--data-dir", folder / "etcd", "--listen-client-urls", self._etcd,
            "--advertise-client-urls", self._etcd, "--listen-peer-urls", peers,
            "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}",
            "--unsafe-no-fsync",
        )  # fmt: skip
        self._start(
            "kube-apiserver", f"--etcd-servers={self._etcd}", f"--cert-dir={folder / 'certs'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'sa.pub'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            f"--tls-cert-file={folder / 'api.crt'}", f"--tls-private-key-file={folder / 'api.key'}",
            f"--secure-port={self.port}", "--bind-address=0.0.0.0",
            f"--advertise-address={self.address}", f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC", f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged=true", "--enable-aggregator-routing=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={folder / 'proxy.crt'}",
            f"--proxy-client-cert-file={folder / 'proxy.crt'}",
            f"--proxy-client-key-file={folder / 'proxy.key'}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        )  # fmt: skip
        until(self._api_answers, "the API server is ready", seconds=90, impossible=self._broken)
        self._start(
            "kube-controller-manager", "--kubeconfig", self.kubeconfig,
            f"--service-account-private-key-file={folder / 'sa.key'}",
            "--use-service-account-credentials=true", f"--cluster-cidr={PODS}",
            "--allocate-node-cidrs=true", "--node-cidr-mask-size=24", "--leader-elect=false",
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-downscale-stabilization=10s",
            f"--secure-port={free_port()}",
        )  # fmt: skip
        self._start("kube-scheduler", "--kubeconfig", self.kubeconfig, "--leader-elect=false",
                    f"--secure-port={free_port()}")  # fmt: skip

    def _start_containerd(self) -> None:
        folder = self.folder
        (folder / "cni").mkdir()
        network = {"cniVersion": "0.4.0", "name": "e2e", "plugins": [
            {"type": "bridge", "bridge": "gitopsml0", "isGateway": True, "ipMasq": True,
             "ipam": {"type": "host-local", "dataDir": str(folder / "ipam"),
                      "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "loopback"},
        ]}  # fmt: skip
        self.write_json(folder / "cni/10-e2e.conflist", network)
        (folder / "containerd.toml").write_text(_CONTAINERD.format(
            folder=folder, socket=self._socket, registry=self.registry, pause=PAUSE, cni=binaries.CNI
        ))  # fmt: skip
        self._start("containerd", "-c", folder / "containerd.toml")
        until(self._socket.exists, "containerd listens", seconds=20, impossible=self._broken)

    def _import_pause_image(self) -> None:
        archive = self.folder / "pause.tar"
        archive.write_bytes(_pause_image(self.folder))
        self._ctr("images", "import", archive)

    def _start_kubelet(self) -> None:
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "failCgroupV1": False, "cgroupDriver": "cgroupfs", "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self._socket}", "enforceNodeAllocatable": [],
            "cgroupRoot": "/gitops-ml-e2e", "cgroupsPerQOS": True,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"}, "evictionHard": {}, "maxPods": 200,
            "imageGCHighThresholdPercent": 100,
            "port": free_port(), "healthzPort": 0, "readOnlyPort": 0,
        }  # fmt: skip
        _make_cgroup("gitops-ml-e2e")
        self.write_json(self.folder / "kubelet.json", settings)
        self._start(
            "kubelet", "--config", self.folder / "kubelet.json", "--kubeconfig", self.kubeconfig,
            "--root-dir", self.folder / "kubelet", "--hostname-override", "node1",
            "--cert-dir", self.folder / "kubelet-certs", f"--node-ip={self.address}",
        )  # fmt: skip

    # -- down ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every pod and process, and remove the rules, the bridge and the control groups."""
        self._remove_pods()
        self.processes.stop()
        _run(binaries.path("kube-proxy"), "--cleanup", check=False)
        _run("ip", "link", "delete", "gitopsml0", check=False)
        _remove_chains("CNI-", "KUBE-")
        _unmount(self.folder)
        _remove_cgroup("gitops-ml-e2e")

    def _remove_pods(self) -> None:
        """Remove all pods while the kubelet still runs, then what containerd has left."""
        with suppress(AssertionError, OSError):
            _run(binaries.path("kubectl"), "--kubeconfig", self.kubeconfig, "delete", "pods",
                 "--all-namespaces", "--all", "--grace-period=1", "--wait=false", check=False)  # fmt: skip
            until(
                lambda: not self._ctr("tasks", "list", "-q").split(),
                "all pods are gone",
                seconds=20,
            )
        with suppress(AssertionError, OSError):
            for task in self._ctr("tasks", "list", "-q").split():
                self._ctr("tasks", "kill", "-s", "9", task)
            time.sleep(0.5)
            for task in self._ctr("tasks", "list", "-q").split():
                self._ctr("tasks", "delete", "-f", task)

    # -- asked -----------------------------------------------------------------------------------

    def _start(self, program: str, *arguments: str | Path) -> None:
        self.processes.start(program, binaries.path(program) or program, *arguments)

    def _ctr(self, *arguments: str | Path) -> str:
        return _run("ctr", "-a", self._socket, "-n", "k8s.io", *arguments)

    def _broken(self) -> str | None:
        self.processes.check()
        return None

    def _api_answers(self) -> bool:
        url, trust = (
            f"https://127.0.0.1:{self.port}/readyz",
            ssl.create_default_context(cafile=str(self.folder / "api.crt")),
        )
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ADMIN}"})
        with suppress(OSError), urllib.request.urlopen(request, context=trust, timeout=5) as answer:
            return answer.status == 200
        return False

    def _is_ready(self) -> bool:
        shown = _run(binaries.path("kubectl"), "--kubeconfig", self.kubeconfig, "get", "node", "node1",
                     "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}", check=False)  # fmt: skip
        return shown.strip() == "True"

    @staticmethod
    def write_json(path: Path, value: object) -> None:
        path.write_text(json.dumps(value))


_CONTAINERD = """\
version = 2
root = "{folder}/ctd/root"
state = "{folder}/ctd/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."{registry}"]
    endpoint = ["http://{registry}"]
"""


def _pause_image(folder: Path) -> bytes:
    """An OCI archive with one static program that waits."""
    (folder / "pause.c").write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    _run("gcc", "-static", "-O2", "-o", folder / "pause", folder / "pause.c")
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(folder / "pause", arcname="pause")
    plain = layer.getvalue()
    blobs: dict[str, bytes] = {}

    def described(data: bytes, media_type: str, **more: object) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    oci = "application/vnd.oci.image."
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": f"{oci}manifest.v1+json",
        "config": described(json.dumps(config).encode(), f"{oci}config.v1+json"),
        "layers": [described(gzip.compress(plain), f"{oci}layer.v1.tar+gzip")],
    }  # fmt: skip
    names = {"io.containerd.image.name": PAUSE}
    entry = described(json.dumps(manifest).encode(), manifest["mediaType"], annotations=names)
    files = {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return whole.getvalue()


def _run(*command: str | Path | None, check: bool = True) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if check:
        assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _own_address() -> str:
    """The IPv4 address of this machine that pods reach it at: that of the default route."""
    words = _run("ip", "-4", "route", "get", "198.51.100.1").split()
    return words[words.index("src") + 1]


def _make_cgroup(name: str) -> None:
    for root in _cgroup_roots():
        (root / name).mkdir(exist_ok=True)


def _remove_cgroup(name: str) -> None:
    for root in _cgroup_roots():
        top = root / name
        folders = sorted(_folders(top), key=lambda path: -len(path.parts)) if top.exists() else []
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()


def _folders(top: Path) -> Iterator[Path]:
    yield top
    yield from (path for path in top.rglob("*") if path.is_dir())


def _cgroup_roots() -> list[Path]:
    """One root with cgroup v2, one for each controller with v1."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top]
    return [path for path in top.iterdir() if path.is_dir() and not path.is_symlink()]


def _remove_chains(*prefixes: str) -> None:
    """Remove the iptables chains of these names, and the rules that lead to them."""
    for program in ("iptables", "ip6tables"):
        for table in ("nat", "filter", "mangle", "raw"):
            _remove_chains_of((program, "-w", "-t", table), prefixes)


def _remove_chains_of(command: tuple[str, ...], prefixes: tuple[str, ...]) -> None:
    listed = _run(*command, "-S", check=False).splitlines()
    # A comment of a rule is quoted.
    rules = [
        shlex.split(line) for line in listed if any(f" {prefix}" in line for prefix in prefixes)
    ]
    for rule in rules:
        if rule[0] == "-A" and not rule[1].startswith(prefixes):
            _run(*command, "-D", *rule[1:], check=False)
    chains = [rule[1] for rule in rules if rule[0] == "-N"]
    for option in ("-F", "-X"):
        for chain in chains:
            _run(*command, option, chain, check=False)


def _unmount(folder: Path) -> None:
    """Unmount what containerd and the kubelet left below ``folder``."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{folder}/")]):
        _run("umount", "-l", point, check=False)


def definitions(folder: Path) -> str:
    """The custom resource definitions of the folder, as text: PyYAML cannot read `=` in them."""
    texts = [path.read_text() for path in sorted(folder.glob("*.yaml"))]
    return "\n---\n".join(text for text in texts if "\nkind: CustomResourceDefinition\n" in text)
