"""Object stores as sources, progress, and what validate must never load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sightline.errors import DataError
from sightline.runtime import progress, progress_bars
from sightline.storage import Transfer, open_store


def test_an_s3_folder_and_an_s3_archive_give_the_digest_of_the_folder(sets, validate, s3, tmp_path):
    root = sets.yolo()
    store = open_store(f"s3://{s3}/raw/set")
    files = [path for path in root.rglob("*") if path.is_file()]
    store.upload([Transfer(str(path.relative_to(root)), path) for path in files])
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", root))
    open_store(f"s3://{s3}/raw").upload([Transfer("packed.tar.gz", archive)])
    expected = validate(root).digest
    document = validate(f"s3://{s3}/raw/set/", store=f"s3://{s3}/store")
    assert (document.digest, document.snapshot) == (expected, f"s3://{s3}/store/snapshots/{expected}")
    assert validate(f"s3://{s3}/raw/packed.tar.gz").digest == expected


def test_an_s3_prefix_without_objects_is_said(s3, refuse):
    assert "holds no objects" in refuse(f"s3://{s3}/nothing/here", DataError).message


def test_progress_counts_every_image_checked_and_stored(sets, validate, tmp_path):
    with progress_bars.display(quiet=True, path=tmp_path / "events") as path:
        validate(sets.yolo())
    events = [e for e in progress.events(path, 0)[0] if e["event"] == "progress"]
    last = {event["note"]: (event["done"], event["total"]) for event in events}
    compared = last.pop("comparing images")
    assert compared[0] == compared[1] > 0
    assert last == {"checking images": (10, 10), "storing images": (10, 10)}


def test_validate_loads_no_engine(sets, tmp_path):
    code = (
        "import sys; from pathlib import Path; from sightline.validate import run;"
        "from sightline.config import RunConfig, WeightsConfig;"
        "config = RunConfig(weights=WeightsConfig(source='yolo11n.yaml'));"
        "run(source=sys.argv[1], config=config, out=Path(sys.argv[2]));"
        "print([m for m in ('torch', 'onnxruntime', 'cv2', 'mlflow', 'kfp', 'ultralytics') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(sets.yolo()), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"


def test_a_failed_run_takes_the_document_of_an_earlier_one_away(sets, validate, refuse, tmp_path):
    root = sets.yolo()
    validate(root)
    assert json.loads((tmp_path / "out/validate.json").read_text())["format"] == "yolo"
    shutil.rmtree(tmp_path / "store")
    (root / "data.yaml").unlink()
    refuse(root, DataError)


def test_file_names_that_are_no_utf8_are_read(sets, validate):
    root = sets.yolo()
    for kind, suffix in (("images", b".png"), ("labels", b".txt")):
        folder = os.fsencode(root / kind / "train")
        os.rename(folder + b"/3" + suffix, folder + b"/caf\xe9" + suffix)  # noqa: PTH104 bytes
    assert validate(root).splits["train"].boxes == 6
