"""Bills of materials and provenance, judged by the schemas and libraries of those who define them."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from packageurl import PackageURL

from gitops_ml.image.attestations import cyclonedx, provenance, statement
from gitops_ml.image.content_hash import ContentHash
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.wheels import Component

BASE = ImageRef("ghcr.io/acme/base", "3.12", f"sha256:{'a' * 64}")
IMAGE = ImageRef("ghcr.io/acme/iris", digest=f"sha256:{'b' * 64}")
COMPONENTS = (
    Component(name="torch", version="2.9.0+cpu", sha256="1" * 64, licence="BSD-3-Clause",
              requires=("numpy>=2", 'sympy; extra == "x"', "Not.There", "Typing_Extensions")),
    Component(name="numpy", version="2.3.1", sha256="2" * 64, licence="BSD-3-Clause AND MIT"),
    Component(name="typing-extensions", version="4.15.0"),
    Component(name="openssl", version="3.5.4", sha256="3" * 64, kind="conda"),
    Component(name="libgomp1", version="14.2.0-19", kind="deb/debian"),
    Component(name="libstdc++6", version="1:14.2~rc1", kind="deb/debian"),
)  # fmt: skip


def bill(*components: Component) -> dict:
    text = cyclonedx(components or COMPONENTS, base=BASE, platform="linux/amd64").decode()
    problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    assert problem is None, problem
    found: dict = json.loads(text)
    return found


def test_it_is_what_the_official_schema_wants():
    found = bill()
    assert found["specVersion"] == "1.5"
    by_name = {each["name"]: each for each in found["components"]}
    assert by_name["torch"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert by_name["numpy"]["licenses"] == [{"expression": "BSD-3-Clause AND MIT"}]
    assert "hashes" not in by_name["libgomp1"]


def test_the_validator_would_notice():
    with_nonsense = bill() | {"components": [{"name": "x"}]}
    text = json.dumps(with_nonsense)
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is not None


def test_package_urls_are_canonical():
    for component in bill()["components"]:
        purl = PackageURL.from_string(component["purl"])
        assert purl.to_string() == component["purl"]
        assert (purl.version, component["bom-ref"]) == (component["version"], component["purl"])
    base = PackageURL.from_string(bill()["components"][0]["purl"])
    assert base.qualifiers == {"repository_url": BASE.repository}


def test_dependencies_are_those_that_are_there():
    on = {each["ref"]: each.get("dependsOn", []) for each in bill()["dependencies"]}
    assert on["pkg:pypi/torch@2.9.0%2Bcpu"] == [
        "pkg:pypi/numpy@2.3.1",
        "pkg:pypi/typing-extensions@4.15.0",
    ]
    assert set(on) == {"image", *on["image"][1:]}
    assert len(on["image"]) == 1 + len(COMPONENTS)


def test_equal_contents_have_one_serial_number_and_others_another():
    assert bill() == bill(*reversed(COMPONENTS), COMPONENTS[0])
    assert bill()["serialNumber"] != bill(*COMPONENTS[1:])["serialNumber"]


def made(**changes):
    facts = {
        "builder": "oci/1",
        "content_hash": ContentHash("c" * 64), "base": BASE, "platforms": ["linux/arm64", "linux/amd64"],
        "python": "3.12", "locks": {"linux/amd64": "d" * 64},
        "source": {"uri": "git+https://example.com/iris", "commit": "e" * 40},
    }  # fmt: skip
    return json.loads(provenance(IMAGE, **facts | changes))


@pytest.mark.parametrize(
    "changes", [{}, {"python": None, "locks": {}, "builder": "docker/1", "source": None}]
)
def test_provenance_is_a_statement_that_its_own_library_takes(changes):
    found = made(**changes)
    # unknown fields are errors here
    parsed = json_format.ParseDict(found, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.ParseDict(found["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.build_type.startswith("https://gitops-ml.dev/build/")
    assert predicate.run_details.builder.id.startswith("https://gitops-ml.dev/builder/")
    for material in found["predicate"]["buildDefinition"]["resolvedDependencies"]:
        assert material["digest"] or material["uri"], "SLSA wants one of them"


def test_provenance_names_everything_that_went_in():
    found = made()
    assert found["subject"] == [{"name": "ghcr.io/acme/iris", "digest": {"sha256": "b" * 64}}]
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    definition = found["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "platforms": ["linux/amd64", "linux/arm64"],
        "python": "3.12",
    }
    materials = {each["name"]: each for each in definition["resolvedDependencies"]}
    assert PackageURL.from_string(materials["base"]["uri"]).version == BASE.digest
    assert materials["base"]["digest"] == {"sha256": "a" * 64}
    assert materials["inputs"]["digest"] == {"sha256": "c" * 64}
    assert materials["lock for linux/amd64"]["digest"] == {"sha256": "d" * 64}
    assert materials["source"]["digest"] == {"gitCommit": "e" * 40}


def test_a_bill_becomes_a_statement_about_its_image():
    found = json.loads(
        statement(
            IMAGE,
            predicate_type="https://cyclonedx.org/bom",
            predicate=bill(),
        )
    )
    Statement.copy_from_pb(json_format.ParseDict(found, statement_pb2.Statement())).validate()
    assert found["predicate"] == bill()
