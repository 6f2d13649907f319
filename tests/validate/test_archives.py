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


def test_half_a_zip_is_cut_short(sets, refuse, tmp_path):
    whole = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", sets.yolo())).read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    assert "half.zip is cut short" in refuse(tmp_path / "half.zip", DataError).message


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}])
def test_a_link_that_leads_back_to_itself_is_named(tmp_path, links):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            file.addfile(info)
    with pytest.raises(DataError, match="member 'a' is a link that leads back to itself"):
        unpack(tmp_path / "a.tar", tmp_path / "out", "a.tar")


def _pack(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for number, name in enumerate(names):
            file.writestr(name, str(number))
    return path


def test_backslashes_in_a_zip_are_folders(tmp_path):
    unpack(_pack(tmp_path / "a.zip", "images\\", "images\\train\\a.txt"), tmp_path / "out", "a.zip")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["images"]
    assert (tmp_path / "out/images/train/a.txt").read_text() == "1"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a.txt", "./a.txt"), "'./a.txt' is in it twice"),
        (("a", "a/b"), "'a/b' is both a file and a folder"),
        (("a/b", "a"), "'a' is both a file and a folder"),
        (("x/" + "n" * 300,), "of 302 bytes, is too long a name"),
    ],
)
def test_members_that_cannot_be_written_are_named_without_a_path_of_ours(tmp_path, names, words):
    with pytest.raises(DataError) as caught:
        unpack(_pack(tmp_path / "a.zip", *names), tmp_path / "out", "a.zip")
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


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
