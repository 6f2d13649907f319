"""What is uploaded: named by its content, with the words of the form, and only once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.config.parameters import PipelineParameters
from sightline.errors import ClusterError, ConfigError
from sightline.orchestrate import images, versions
from sightline.orchestrate.kfp_api import Server
from tests.helpers import compiled
from tests.helpers.kfp_stand_in import StandIn

UPLOAD = "POST /apis/v2beta1/pipelines/upload_version"
DIGEST = "sha256:" + "ab" * 32


def test_twice_is_one_version_and_other_content_is_another(kfp_server: StandIn, tmp_path: Path) -> None:
    sent = versions.package(compiled.write(tmp_path))
    first, second = (versions.upload(Server(), sent) for _ in range(2))
    assert (first.new, second.new) == (True, False)
    assert first.version.pipeline_version_id == second.version.pipeline_version_id
    other = versions.upload(Server(), versions.package(compiled.write(tmp_path, deadline=60)))
    assert other.new
    assert other.pipeline_id == first.pipeline_id
    assert len({version.name for version in kfp_server.versions.values()}) == 2
    assert kfp_server.sent[first.version.pipeline_version_id] == sent.text


def test_a_call_repairs_what_an_earlier_one_left_undone(kfp_server: StandIn, tmp_path: Path) -> None:
    sent = versions.package(compiled.write(tmp_path))
    kfp_server.faults[UPLOAD] = [(500, "no disk")]
    with pytest.raises(ClusterError, match=r"could not upload the version .*: no disk"):
        versions.upload(Server(), sent)
    assert len(kfp_server.pipelines) == 1
    assert versions.upload(Server(), sent).new
    assert len(kfp_server.pipelines) == 1
    kfp_server.versions.clear()  # somebody deleted it
    assert versions.upload(Server(), sent).new
    kfp_server.pipelines.clear()
    kfp_server.versions.clear()
    assert versions.upload(Server(), sent).new


def test_what_somebody_else_uploads_at_the_same_time_is_as_good(kfp_server: StandIn, tmp_path: Path) -> None:
    sent = versions.package(compiled.write(tmp_path))
    mine, theirs = Server(), Server()
    done = versions.upload(theirs, sent)
    created = mine.create_pipeline(sent.name, "")
    assert created.pipeline_id == done.pipeline_id
    path = compiled.write(tmp_path)
    again = mine.upload_version(created.pipeline_id, sent.version, str(path), "", {})
    assert again.pipeline_version_id == done.version.pipeline_version_id


def test_pipeline_and_version_carry_the_words_of_the_form_and_the_version_tags(
    kfp_server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"reg.example/sightline-{name}" for name in images.NAMES]
    monkeypatch.setenv(images.VARIABLE, f"{names[0]}@{DIGEST},{names[1]}:1.2,{names[2]}:1.2")
    monkeypatch.setenv("SIGHTLINE_GIT_COMMIT", "c0ffee")
    sent = versions.package()
    versions.upload(Server(), sent)
    (version,) = kfp_server.versions.values()
    (pipeline,) = kfp_server.pipelines.values()
    assert pipeline.description == version.description == sent.description
    for name, field in PipelineParameters.model_fields.items():
        assert f"\n{name}" in sent.description
        assert str(field.description) in sent.description
    assert version.tags == {
        "sightline": version.name.partition("-")[0],
        "content": version.name.rpartition("-")[2],
        "commit": "c0ffee",
        "image-data": "sha256:abababababab",
        "image-train": "1.2",
        "image-infer": "1.2",
    }
    assert sent.images == (f"{names[0]}@{DIGEST}", f"{names[2]}:1.2", f"{names[1]}:1.2")


def test_parameters_are_checked_down_to_the_configuration(tmp_path: Path) -> None:
    sent = versions.package(compiled.write(tmp_path))
    assert versions.given({"data": "s3://b/c", "train_epochs": 7}, sent) == {"data": "s3://b/c", "train_epochs": "7"}
    with pytest.raises(ConfigError, match="unknown parameter 'epochs'; did you mean 'train_epochs'"):
        versions.given({"epochs": 3}, sent)
    with pytest.raises(ConfigError, match="train_epochs: got 'many', expected a whole number or preset"):
        versions.given({"train_epochs": "many"}, sent)
    with pytest.raises(ConfigError, match=r"takes no such parameters .*\n  - 'train_seed'"):
        versions.given({"train_seed": 3}, sent)
    with pytest.raises(ConfigError, match=r"train\.epochs: got 0"):
        versions.given({"train_epochs": 0}, sent)


@pytest.mark.parametrize("text", ["", "a: [", "just words", "root: {}\npipelineInfo: {name: x}\n", "\x00"])
def test_a_file_that_is_no_compiled_pipeline_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"is no compiled pipeline\. `make compile` writes one"):
        versions.package(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        versions.package(tmp_path / "gone.yaml")
