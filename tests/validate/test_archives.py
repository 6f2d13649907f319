"""Archives of strangers: read where they are honest, refused where they reach outside or explode."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from sightline.errors import DataError
from sightline.validate.archive import unpack


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_every_kind_of_archive_gives_the_digest_of_its_folder(sets, validate, tmp_path, kind, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    root = sets.yolo("top/inner")
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, root.parent)
    assert validate(archive).digest == validate(root).digest
    assert list(work.iterdir()) == []


def _zip(path: Path, name: str, mode: int = 0o100644, size: int | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, b"target")
        if size:
            file.infolist()[0].file_size = size
    return path


def _tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = 6 if kind == tarfile.REGTYPE else 0
        file.addfile(info, io.BytesIO(b"target"))
    return path


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
@pytest.mark.parametrize("make", [_zip, _tar])
def test_members_outside_the_folder_are_refused(tmp_path, refuse, make, name):
    message = refuse(make(tmp_path / "evil", name), DataError).message
    assert "points outside the archive" in message
    assert not list(tmp_path.rglob("*evil.txt"))


@pytest.mark.parametrize(
    ("kind", "link", "word"),
    [
        (tarfile.SYMTYPE, "/etc/passwd", "link that points outside"),
        (tarfile.SYMTYPE, "../../etc/passwd", "link that points outside"),
        (tarfile.LNKTYPE, "../secret", "link that points outside"),
        (tarfile.SYMTYPE, "nothing", "damaged"),
        (tarfile.CHRTYPE, "", "device"),
        (tarfile.FIFOTYPE, "", "pipe"),
    ],
)
def test_links_outside_and_devices_are_refused(tmp_path, refuse, kind, link, word):
    assert word in refuse(_tar(tmp_path / "evil.tgz", "sub/member", kind, link), DataError).message


def test_links_in_zip_files_are_refused(tmp_path, refuse):
    assert "link or a device" in refuse(_zip(tmp_path / "evil.zip", "member", 0o120777), DataError).message


def test_an_archive_that_explodes_is_refused_before_it_is_unpacked(tmp_path, refuse):
    bomb = _zip(tmp_path / "bomb.zip", "member", size=21 * 2**30)
    assert "unpacks to more than 20 GiB" in refuse(bomb, DataError).message


def test_links_inside_a_tar_become_copies(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("images/a.txt")
        info.size = 6
        file.addfile(info, io.BytesIO(b"target"))
        link = tarfile.TarInfo("more/b.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "../images/a.txt"
        file.addfile(link)
    unpack(tmp_path / "a.tar", tmp_path / "out", "a.tar")
    assert (tmp_path / "out/more/b.txt").read_bytes() == b"target"
    assert not (tmp_path / "out/more/b.txt").is_symlink()


def test_a_truncated_archive_is_damaged(sets, refuse, tmp_path):
    whole = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", sets.yolo())).read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refuse(tmp_path / "half.tar.gz", DataError).message


def test_a_stranger_cannot_point_data_yaml_or_annotations_outside(sets, refuse, tmp_path):
    private = sets.yolo("private")
    root = sets.yolo("shared", path=str(private), train="images/train")
    shutil.rmtree(root / "images")
    archive = shutil.make_archive(str(tmp_path / "evil"), "zip", root)
    assert "missing or empty" in str(refuse(archive, DataError))
    coco = sets.coco()
    path = coco / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace('"0.png"', f'"{private}/images/train/1.png"'))
    archive = shutil.make_archive(str(tmp_path / "evil2"), "zip", coco)
    from sightline.errors import DataRejected

    assert "1.png" in str(refuse(archive, DataRejected))
