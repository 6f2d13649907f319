"""What stages leave in the store comes back as it was, in a folder and in a bucket, or is named as gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.documents import ErrorReport, SummaryDocument
from sightline.documents.stage_record import StageRecord, StoredFile, read_records, write_records
from sightline.errors import StageInputError, StorageError, StorageUsageError
from sightline.run_store import RunStore, finished_training, keep_training, missing, pack, unpack
from sightline.storage import Store, open_store
from sightline.summary import summarise

KEY = "ab" * 32
DOCUMENT = {"name": "Zellen – 细胞", "score": 1e-05, "whole": 1.0, "count": 2**60, "none": None, "deep": [{"a": []}]}


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(f"s3://{request.getfixturevalue('s3')}/in" if request.param == "s3" else f"{tmp_path}/a store %")


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The folder of a stage: two documents, two equal files, one of them in a subfolder, and an empty one."""
    folder = tmp_path / "made"
    for name, data in {"best.pt": b"weights", "plots/deep/it's 100%.png": b"weights", "train.log": b""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for name in ("train.json", "plots/axes.json"):
        (folder / name).write_text(json.dumps(DOCUMENT))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def error(stage: str, kind: str = "train") -> ErrorReport:
    return ErrorReport(stage=stage, kind=kind, message=f"{stage} – 'failed'", exit_code=1)


def test_a_record_brings_back_documents_and_files_from_the_store_or_an_artifact(
    store: Store, stage: Path, tmp_path: Path
) -> None:
    record = pack("train", stage, store, "r1")
    assert len(list(store.entries("files/"))) == 2, "equal files are stored once"
    assert pack("train", stage, store, "r1") == record
    run = RunStore(store, "r1")
    run.leave([record])
    write_records({"train": record}, tmp_path / "artifact")
    assert run.record("train") == record == read_records(tmp_path / "artifact")["train"]
    before = content(stage)
    whole = content(unpack(record, tmp_path / "whole", None))
    for name in ("train.json", "plots/axes.json"):
        assert json.loads(whole.pop(name)) == json.loads(before.pop(name)) == DOCUMENT
    assert whole == before
    assert set(content(unpack(record, tmp_path / "some", ("best.pt",)))) == {"train.json", "plots/axes.json", "best.pt"}
    kept = tmp_path / "whole" / "best.pt"
    unchanged = kept.stat().st_mtime_ns
    unpack(record, tmp_path / "whole", None)
    assert kept.stat().st_mtime_ns == unchanged
    kept.write_bytes(b"other")
    assert content(unpack(record, tmp_path / "whole", None))["best.pt"] == b"weights"


def test_a_file_that_lies_elsewhere_in_the_store_is_not_sent_again(store: Store, stage: Path, tmp_path: Path) -> None:
    digest = pack("train", stage, store, "r0").files["best.pt"].sha256
    store.put_bytes("predictions/x.npz", b"weights")
    there = StoredFile(uri=f"{store.uri}/predictions/x.npz", sha256=digest, size_bytes=7)
    store.delete([entry.key for entry in store.entries("files/")])
    record = pack("train", stage, store, "r1", {"best.pt": there})
    assert record.files["best.pt"] == there
    assert content(unpack(record, tmp_path / "out", ("best.pt",)))["best.pt"] == b"weights"
    assert missing(record) is None


def test_lost_and_damaged_files_are_named_with_what_to_do(store: Store, stage: Path, tmp_path: Path) -> None:
    record = pack("train", stage, store, "r1")
    key = f"files/{record.files['best.pt'].sha256}"
    assert missing(record) is None
    for data in (b"weight", b"WEIGHTS"):  # cut; altered, which a bucket is not asked for: fetching it finds out
        store.put_bytes(key, data)
        found = missing(record)
        assert found is None if data == b"WEIGHTS" and store.uri.startswith("s3") else "best.pt" in str(found)
        with pytest.raises(StorageError, match="has sha256"):
            unpack(record, tmp_path / f"damaged {data!r}", ("best.pt",))
        assert not (tmp_path / f"damaged {data!r}" / "best.pt").exists()
    store.delete([key])
    assert "(best.pt) is gone" in str(missing(record))
    with pytest.raises(StorageUsageError, match=r"lost best\.pt of train, .*run r1 made: .*without reusing earlier"):
        unpack(record, tmp_path / "gone", ("best.pt",))
    assert pack("train", stage, store, "r2").files == record.files
    assert missing(record) is None, "whoever has the bytes has sent them again"


def test_a_finished_training_is_found_by_its_key_while_its_files_are_there(store: Store, stage: Path) -> None:
    record = pack("train", stage, store, "r1")
    assert finished_training(store, KEY) is None
    keep_training(store, KEY, record)
    assert finished_training(store, KEY) == record
    assert finished_training(store, "cd" * 32) is None
    for text in (b"", b"{", record.model_dump_json().replace('"schema_version":2', '"schema_version":1').encode()):
        store.put_bytes(f"trainings/{KEY}.json", text)
        assert finished_training(store, KEY) is None, text
    keep_training(store, KEY, record)
    store.delete([f"files/{record.files['train.log'].sha256}"])
    assert finished_training(store, KEY) is None


def test_a_success_removes_the_error_of_its_stage_alone_and_a_new_beginning_everything(store: Store) -> None:
    run, other = RunStore(store, "r1"), RunStore(store, "r10")
    records = {name: StageRecord(stage=name, run_id="r1", documents={}, files={}) for name in ("train", "validate")}
    other.leave(list(records.values()))
    for stage in ("evaluate", "train", "validate"):
        run.fail(error(stage))
    assert list(run.errors()) == ["validate", "train", "evaluate"], "in the order of the pipeline"
    assert run.error("train") == error("train")
    run.leave(list(records.values()))
    assert list(run.records()) == ["validate", "train"]
    assert list(run.errors()) == ["evaluate"]
    run.succeed(["evaluate"])
    run.succeed(["evaluate"])  # again, as after a lost pod
    assert run.errors() == {}
    summary = summarise(run_id="r1", folders={}, error=error("train"))
    assert run.summary() is None
    run.finish(summary, "<p>page</p>")
    assert run.summary() == summary
    assert store.get_bytes("runs/r1/report.html") == b"<p>page</p>"
    run.begin()
    run.begin()
    assert (run.records(), run.errors(), run.summary()) == ({}, {}, None)
    assert list(other.records()) == ["validate", "train"], "a run whose id begins alike"


def test_what_another_version_left_is_named_and_no_traceback(tmp_path: Path) -> None:
    run = RunStore(open_store(str(tmp_path / "store")), "r1")
    run.store.put_bytes("runs/r1/summary.json", b'{"schema_version": 1}')
    assert run.summary() is None
    for name, ask in (("export.json", run.records), ("export.error.json", run.errors)):
        run.store.put_bytes(f"runs/r1/{name}", b'{"schema_version": 1}')
        with pytest.raises(StageInputError, match=rf"runs/r1/{name} is damaged, or was written by another version"):
            ask()
        run.begin()


def test_summaries_in_the_store_read_back_with_the_names_of_the_document(tmp_path: Path) -> None:
    run = RunStore(open_store(str(tmp_path / "store")), "r1")
    run.finish(summarise(run_id="r1", name="tonight's run", folders={}), "")
    text = json.loads(run.store.get_bytes("runs/r1/summary.json"))
    assert text["name"] == "tonight's run"
    assert "register" in text
    assert SummaryDocument.model_validate(text) == run.summary()
