from __future__ import annotations

import pytest

from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.project.project import ForgeSpec, GpuClass, PullRequestSettings, SpotPool
from gitops_ml.project.reader import default_project, read_project

ENVIRONMENTS = "environments: {a: {namespace: ml}}\n"


def read(text: str):
    document = read_yaml(("project: p\n" + text).encode(), file="gitops-ml.yaml")
    return read_project(document)


def project(text: str = ENVIRONMENTS):
    found, problems = read(text)
    assert problems == ()
    assert found is not None
    return found


def sentences(text: str) -> list[str]:
    found, problems = read(text)
    assert found is None
    return [str(problem) for problem in problems]


def test_the_shortest_project_file_has_one_cluster_and_the_default_base_image():
    found = project()
    assert list(found.clusters) == ["in-cluster"]
    assert found.clusters["in-cluster"].server == "https://kubernetes.default.svc"
    assert found.environments["a"].cluster == "in-cluster"
    assert found.image.base.startswith("docker.io/library/python:3.12-slim@sha256:")
    assert (found.gitops, found.default_team) == (None, "ml")


def test_images_are_for_one_platform_or_for_several():
    def platforms(words):
        return project(f"image: {{{words}}}\n{ENVIRONMENTS}").image.platforms

    assert project().image.platforms == ("linux/amd64",)
    assert platforms("platform: linux/arm64") == ("linux/arm64",)
    assert platforms("platforms: [linux/arm64, linux/amd64]") == ("linux/amd64", "linux/arm64")
    (sentence,) = sentences(
        f"image: {{platform: linux/arm64, platforms: [linux/amd64]}}\n{ENVIRONMENTS}"
    )
    assert "'platform' is short for 'platforms': keep one of them" in sentence


def test_without_a_project_file_there_is_one_environment_and_plain_nvidia_gpus():
    found = default_project()
    assert {name: each.namespace for name, each in found.environments.items()} == {"default": "ml"}
    assert found.clusters["in-cluster"].gpu_classes["gpu"].resource == "nvidia.com/gpu"


GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
SPOT = {"karpenter.sh/capacity-type": "spot"}
AKS_SPOT = "kubernetes.azure.com/scalesetpriority"
CLASSES = {
    "{preset: gke, model: t4}": ({"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}, 1),
    "{preset: gke, model: nvidia-l4}": ({"cloud.google.com/gke-accelerator": "nvidia-l4"}, 1),
    "{preset: gke, model: L4, spot: true}": (
        {"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-spot": "true"},
        2,
    ),
    "{preset: gke, model: a100, mig: 1g.5gb}": (
        {
            "cloud.google.com/gke-accelerator": "nvidia-tesla-a100",
            "cloud.google.com/gke-gpu-partition-size": "1g.5gb",
        },
        1,
    ),
    "{preset: eks, model: a10g}": ({"eks.amazonaws.com/instance-gpu-name": "a10g"}, 1),
    "{preset: karpenter, model: h100, spot: true}": (
        {"karpenter.k8s.aws/instance-gpu-name": "h100", **SPOT},
        1,
    ),
    "{preset: aks}": ({"kubernetes.azure.com/accelerator": "nvidia"}, 2),
    "{preset: aks, model: t4, spot: true}": (
        {"karpenter.azure.com/sku-gpu-name": "T4", AKS_SPOT: "spot"},
        3,
    ),
    "{preset: nvidia, model: t4}": ({"nvidia.com/gpu.product": "Tesla-T4"}, 1),
    "{preset: nvidia}": ({}, 1),
}


@pytest.mark.parametrize(("words", "expected"), CLASSES.items(), ids=str)
def test_a_preset_knows_the_labels_and_taints_of_its_platform(words, expected):
    found = project(f"clusters: {{c: {{gpu_classes: {{x: {words}}}}}}}\n{ENVIRONMENTS}")
    gpu = found.clusters["c"].gpu_classes["x"]
    assert (dict(gpu.node_selector), len(gpu.tolerations)) == expected
    assert (gpu.resource, gpu.tolerations[0], gpu.spare) == ("nvidia.com/gpu", GPU_TAINT, False)


def test_a_slice_is_a_resource_of_its_own_but_on_gke():
    found = project(
        f"clusters: {{c: {{gpu_classes: {{x: {{preset: nvidia, mig: 2g.10gb}}}}}}}}\n{ENVIRONMENTS}"
    )
    assert found.clusters["c"].gpu_classes["x"].resource == "nvidia.com/mig-2g.10gb"


def test_a_class_can_be_written_out_and_a_preset_can_be_added_to():
    found = project(
        "clusters:\n  c:\n    gpu_classes:\n"
        "      amd: {resource: amd.com/gpu, node_selector: {gpu: mi300x}, spare: true}\n"
        "      pool: {preset: karpenter, node_selector: {pool: ml}, tolerations: [{key: ml}]}\n"
        "    spot: {preset: aks, node_selector: {pool: spot}}\n" + ENVIRONMENTS
    )
    cluster = found.clusters["c"]
    assert cluster.gpu_classes == {
        "amd": GpuClass(
            resource="amd.com/gpu", node_selector={"gpu": "mi300x"}, tolerations=(), spare=True
        ),
        "pool": GpuClass(
            resource="nvidia.com/gpu",
            node_selector={"pool": "ml"},
            tolerations=(GPU_TAINT, {"key": "ml"}),
            spare=False,
        ),
    }
    taint = {"key": AKS_SPOT, "operator": "Equal", "value": "spot", "effect": "NoSchedule"}
    assert cluster.spot == SpotPool(
        node_selector={AKS_SPOT: "spot", "pool": "spot"}, tolerations=(taint,)
    )


def test_overrides_have_the_shape_of_an_api_and_are_checked_where_they_stand():
    assert sentences(
        "environments:\n  a:\n    namespace: ml\n    overrides: {autoscaling: {min_replica: 1}}\n"
    )[0].startswith(
        "gitops-ml.yaml:5:31: environments.a.overrides.autoscaling.min_replica: unknown key; "
        "did you mean 'min_replicas'?"
    )


@pytest.mark.parametrize(
    "url", ["https://u:p@h/x.git", "https://ghp_x@h/x.git", "ssh://git:p@h/x.git"]
)
def test_a_password_in_the_repository_s_url_is_refused_and_not_repeated(url):
    [sentence] = sentences(f"gitops: {{repository: '{url}'}}\n{ENVIRONMENTS}")
    assert "gitops.token_env" in sentence
    assert url not in sentence


@pytest.mark.parametrize(
    "url",
    ["https://github.com/a/b.git", "git@github.com:a/b.git", "ssh://git@h/x", "/srv/git/x.git",
     "/srv/my team/git ops.git", "git@h:my team/x.git", "https://h/My%20Team/_git/x"],
)  # fmt: skip
def test_a_repository_without_a_password_is_fine(url):
    found = project(f"gitops: {{repository: '{url}'}}\n{ENVIRONMENTS}")
    assert found.gitops is not None
    assert (found.gitops.repository, found.gitops.branch) == (url, "main")


@pytest.mark.parametrize(
    ("url", "is_directory"),
    [
        *((url, False) for url in ("https://h/My Team/_git/x", "-x", " /x", "/x\\n", "/x\\t/y")),
        *(
            (path, True)
            for path in ("/x", "x/../y", "x/ ", " x", "x/ y", "x\\n/y", "x\\\\y", "..", "x/")
        ),
    ],
)
def test_a_repository_or_folder_that_git_or_a_reader_takes_for_another_is_refused(
    url, is_directory
):
    fields = f'repository: /srv/x, directory: "{url}"' if is_directory else f'repository: "{url}"'
    assert sentences(f"source: {{{fields}}}\n{ENVIRONMENTS}")


@pytest.mark.parametrize("path", ["apis", ".", "my apis/of a team", "a b c", ".hidden/x.y"])
def test_a_folder_of_the_repository_may_have_spaces(path):
    found = project(f'source: {{repository: "/my srv/x", directory: "{path}"}}\n{ENVIRONMENTS}')
    assert found.source is not None and found.source.directory == path


WRONG = [
    ("", "'environments' is missing"),
    ("environments: {}\n", "it is empty; at least one is needed"),
    ("enviroments: {}\n", "did you mean 'environments'?"),
    ("environments: {a: {cluster: x, namespace: ml}}\n", "unknown cluster 'x'; known: in-cluster"),
    ("clusters: {b: {}, c: {}}\n" + ENVIRONMENTS, "'cluster' is missing; the project has: b, c"),
    ("clusters: {c: {spot: {}}}\n" + ENVIRONMENTS, "it needs a preset or a node_selector"),
    (
        "clusters: {c: {spot: {preset: gke, tolerations: [{key: a, operator: Exists, value: b}]}}}\n"
        + ENVIRONMENTS,
        "Exists matches any value",
    ),
    (
        "clusters: {c: {gpu_classes: {x: {preset: gke, tolerations: [{key: a, tolerationSeconds: 5}]}}}}\n"
        + ENVIRONMENTS,
        "tolerationSeconds needs effect: NoExecute",
    ),
    (
        "clusters: {c: {spot: {preset: gke, tolerations: [{key: 'a b', operator: Exists}]}}}\n"
        + ENVIRONMENTS,
        "a taint's key is a word",
    ),
    (
        "clusters: {c: {gpu_classes: {x: {model: t4}}}}\n" + ENVIRONMENTS,
        "a GPU class needs a preset or a resource",
    ),
    (
        "clusters: {c: {gpu_classes: {x: {preset: nvidia, spot: true}}}}\n" + ENVIRONMENTS,
        "has no spot nodes; write their labels to node_selector",
    ),
    (
        "gitops: {repository: x, token_env: ghp_abcdefghijklmnopqrstuvwxyz0123456789}\n"
        + ENVIRONMENTS,
        "this looks like the token itself",
    ),
    ("teams: {fraud: {}}\ndefault_team: frauds\n" + ENVIRONMENTS, "did you mean 'fraud'?"),
    ("image: {repository: 'https://ghcr.io/acme'}\n" + ENVIRONMENTS, "without https://"),
    ("image: {python_version: 3.10}\n" + ENVIRONMENTS, 'quote it: "3.10"'),
    ("gitops: {repository: x, branch: 'a..b'}\n" + ENVIRONMENTS, "a branch name"),
    ("gitops: {repository: '--upload-pack=x'}\n" + ENVIRONMENTS, "a URL such as"),
    ("clusters: {c: {kubernetes_version: 1.34}}\n" + ENVIRONMENTS, 'quote it: "1.34"'),
    (
        'clusters: {c: {kubernetes_version: "1.32", image_volumes: true}}\n' + ENVIRONMENTS,
        "pods can mount images from Kubernetes 1.33 on; kubernetes_version is 1.32",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[each[1] for each in WRONG])
def test_what_is_wrong_is_said(text, sentence):
    assert any(sentence in each for each in sentences(text))


def test_a_list_is_no_project_file():
    document = read_yaml(b"- a\n", file="g.yaml")
    found = read_project(document)
    assert found[0] is None
    assert "must be a mapping" in found[1][0].message


def test_two_environments_do_not_share_a_namespace_of_one_cluster():
    assert sentences(
        "clusters: {x: {}, y: {server: 'https://kubernetes.default.svc'}, z: {server: 'https://z'}}\n"
        "environments:\n"
        "  a: {cluster: x, namespace: ml}\n"
        "  b: {cluster: y, namespace: ml}\n"
        "  c: {cluster: z, namespace: ml}\n"
    ) == [
        "gitops-ml.yaml:5:19: environments.b.namespace: 'ml' is the namespace of 'a' on the same "
        "cluster"
    ]


def test_a_team_is_not_called_like_argo_cds_own_project():
    message = "Argo CD has its own AppProject 'default'; choose another name for the team"
    assert sentences(ENVIRONMENTS + "teams: {default: {}}\n") == [
        f"gitops-ml.yaml:3:9: teams.default: {message}"
    ]
    assert sentences(ENVIRONMENTS + "default_team: default\n") == [
        f"gitops-ml.yaml:3:1: default_team: {message}"
    ]


def test_a_team_is_not_called_like_the_project_of_a_root():
    message = "AppProjects of gitops-ml begin with 'gitops-ml-'; choose another name for the team"
    assert sentences(ENVIRONMENTS + "teams: {gitops-ml-root-1a2b3c4d: {}}\n") == [
        f"gitops-ml.yaml:3:9: teams.gitops-ml-root-1a2b3c4d: {message}"
    ]


def test_where_pull_requests_go_and_whom_they_ask():
    found = project(
        "gitops: {repository: 'https://git.acme.example/a/b', forge: {type: gitea}}\n"
        "pull_requests: {reviewers: [ann], auto_merge: true}\n"
        "source: {repository: 'https://github.com/acme/models', directory: teams/vision}\n"
        + ENVIRONMENTS
    )
    assert found.gitops is not None
    assert found.gitops.forge == ForgeSpec(
        type="gitea", api_url=None, repository=None, token_env=None
    )
    assert found.pull_requests == PullRequestSettings(
        content="complete", reviewers=("ann",), teams=(), labels=(), draft=False, auto_merge=True,
        merge_method="merge",
    )  # fmt: skip
    assert found.source is not None
    assert (found.source.branch, found.source.directory, found.source.forge.type) == (
        "main",
        "teams/vision",
        "auto",
    )


def test_without_a_word_about_them_pull_requests_are_complete_and_there_is_no_source():
    found = project()
    assert (found.pull_requests.content, found.pull_requests.draft, found.source) == (
        "complete",
        False,
        None,
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gitops: {repository: x, forge: {type: github, api_url: 'http://h/api'}}", "use https"),
        ("gitops: {repository: x, forge: {type: githup}}", "did you mean 'github'?"),
        ("source: {repository: 'https://u:p@h/x.git'}", "source.token_env"),
        ("source: {repository: x, directory: ../x}", "a folder of the repository"),
        (
            "gitops: {repository: x, forge: {token_env: ghp_abcdefghijklmnopqrstuvwxyz0123456789}}",
            "this looks like the token itself",
        ),
    ],
)
def test_what_is_wrong_with_a_forge_is_said(text, sentence):
    assert any(sentence in each for each in sentences(f"{text}\n{ENVIRONMENTS}"))


# -- prices ----------------------------------------------------------------------------------------


def priced(words: str):
    return project(f"clusters: {{main: {words}}}\n{ENVIRONMENTS}").clusters["main"]


def test_prices_are_a_preset_with_a_source_and_a_date_or_ones_own():
    assert priced("{}").prices is None
    preset = priced("{prices: {preset: aws, cpu_hour: 0.03}}").prices
    assert (preset.currency, preset.cpu_hour, preset.memory_hour) == ("USD", 0.03, 0.0036)
    assert preset.source.startswith("list prices of AWS us-east-1, 2025-07, https://")
    own = priced("{prices: {currency: EUR, cpu_hour: 0.03, memory_hour: 0.004}}").prices
    assert (own.currency, own.spot_factor, own.source) == ("EUR", 0.4, None)


@pytest.mark.parametrize(
    ("fields", "hour"),
    [
        ("preset: gke, model: t4", 0.35),
        ("preset: gke, model: nvidia-tesla-t4", 0.35),
        ("preset: nvidia, model: NVIDIA-A100-SXM4-40GB", 2.934),
        ("preset: nvidia, model: NVIDIA-A100-SXM4-80GB", None),
        ("preset: nvidia, model: a100, mig: 3g.20gb", 2.934 * 3 / 7),
        ("preset: gke, model: t4, gpu_hour: 0.2", 0.2),
        ("preset: gke, model: b200", None),
        ("resource: amd.com/gpu", None),
    ],
)
def test_a_preset_of_prices_knows_the_usual_gpus(fields, hour):
    found = priced(f"{{prices: {{preset: gcp}}, gpu_classes: {{a: {{{fields}}}}}}}")
    assert found.gpu_classes["a"].gpu_hour == pytest.approx(hour)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{prices: {currency: EUR}}", "cpu_hour and memory_hour missing; give them, or a preset"),
        ("{prices: {preset: aws, currency: EUR}}", "the preset's prices are in USD"),
        ("{prices: {cpu_hour: -1, memory_hour: 0}}", "cpu_hour"),
        ("{prices: {preset: gcp, currency: euro}}", "a code of three capitals"),
        ("{gpu_classes: {a: {preset: gke, gpu_hour: 1}}}", "with 'prices' of the cluster only"),
    ],
)
def test_prices_that_mean_nothing_are_refused_with_a_reason(words, message):
    (sentence,) = sentences(f"clusters: {{main: {words}}}\n{ENVIRONMENTS}")
    assert message in sentence
