"""Untrusted archives: read where they are sound, refused where they reach outside."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sightline.datasets.archives import unpack
from sightline.errors import DataError
from tests.helpers.archives import TARS, packed, tar_with, zip_of, zip_with


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_every_kind_of_archive_gives_the_digest_of_its_folder(sets, validate, tmp_path, kind, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    root = sets.yolo("top/inner")
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, root.parent)
    assert validate(archive).digest == validate(root).digest
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
@pytest.mark.parametrize("make", [zip_with, tar_with])
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
        (tarfile.SYMTYPE, "nothing", "is a link to 'nothing', which is not in the archive. Pack the files"),
        (tarfile.CHRTYPE, "", "device"),
        (tarfile.FIFOTYPE, "", "pipe"),
    ],
)
def test_links_outside_and_devices_are_refused(tmp_path, refuse, kind, link, word):
    assert word in refuse(tar_with(tmp_path / "evil.tgz", "sub/member", kind, link), DataError).message


def test_links_in_zip_files_are_refused(tmp_path, refuse):
    assert "link or a device" in refuse(zip_with(tmp_path / "evil.zip", "member", 0o120777), DataError).message


def test_a_zip_inside_a_tar_is_one_of_its_files(tmp_path):
    inner = zip_of(tmp_path / "inner.zip", "evil.txt").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name, content in {"labels/a.txt": b"0 0.5 0.5 1 1\n", "inner.zip": inner}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    assert zipfile.is_zipfile(tmp_path / "a.tar"), "the trap: its end looks like that of a zip file"
    unpack(tmp_path / "a.tar", tmp_path / "out", "a.tar")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.txt", "inner.zip"]


@pytest.mark.parametrize("kind", ["zip", *TARS])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_an_archive_that_is_damaged_in_the_middle_is_said_to_be(tmp_path, kind, part):
    noise = np.random.default_rng(0).bytes(300_000)
    path = packed(tmp_path / f"a.{kind}", {f"{number}.bin": noise[number::3] for number in range(3)})
    data = bytearray(path.read_bytes())
    place = int(part * len(data))
    data[place : place + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"a.{kind} is damaged"):
        unpack(path, tmp_path / "out", path.name)


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


@pytest.mark.parametrize("name", ["2024-01-01T12:30:00/a.txt", "12:30 notes.txt", "a/b:c/d.txt", "ab:c.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_colon_in_a_name_is_no_drive(tmp_path, name, kind):
    unpack(packed(tmp_path / f"a.{kind}", {name: b"content"}), tmp_path / "out", "a")
    assert (tmp_path / "out" / name).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("target", "explicit"), [("images", True), ("images", False), ("./images/", False), (".", False)]
)
def test_a_link_to_a_folder_of_a_tar_is_called_that(tmp_path, target, explicit):
    for place in ("before", "behind"):
        with tarfile.open(tmp_path / "a.tar", "w") as file:
            link = tarfile.TarInfo("latest")
            link.type, link.linkname = tarfile.SYMTYPE, target
            folder = tarfile.TarInfo("images")
            folder.type = tarfile.DIRTYPE
            content = tarfile.TarInfo("images/a.txt")
            members = [folder, content] if explicit else [content]
            for info in [link, *members] if place == "before" else [*members, link]:
                file.addfile(info)
        with pytest.raises(DataError, match="'latest' is a link to a folder; expected files"):
            unpack(tmp_path / "a.tar", tmp_path / place, "a.tar")


def test_an_encrypted_zip_is_called_that(tmp_path):
    path = zip_of(tmp_path / "a.zip", "images/a.txt")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "out", "a.zip")
    words = "a.zip is encrypted: member 'images/a.txt' needs a password. Pack it again, without one."
    assert caught.value.message == words


def test_an_unknown_method_of_compression_in_a_zip_is_named(tmp_path):
    path = zip_of(tmp_path / "a.zip", "a.txt")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + offset] = 9
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"'a.txt' is compressed by the method deflate64, which is not read"):
        unpack(path, tmp_path / "out", "a.zip")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"", "a.zip is empty: a file of 0 bytes"),
        (
            "a.rar",
            b"Rar!\x1a\x07\x00" + bytes(99),
            "a.rar is a RAR archive, which is not read; expected a folder, or a .zip or a .tar",
        ),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "a.7z is a 7z archive, which is not read"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(99), "a.tar.zst is a Zstandard archive, which is not read"),
    ],
)
def test_archives_that_are_not_read_are_called_what_they_are(tmp_path, refuse, name, data, words):
    (tmp_path / name).write_bytes(data)
    assert refuse(tmp_path / name, DataError).message.startswith(f"{tmp_path}/{words}")


def test_a_tar_whose_first_file_is_named_like_another_kind_is_still_a_tar(tmp_path):
    archive = packed(tmp_path / "a.tar.gz", {"Rar!.txt": b"content"})
    (tmp_path / "a.tar").write_bytes(gzip.decompress(archive.read_bytes()))
    unpack(tmp_path / "a.tar", tmp_path / "out", "a.tar")
    assert (tmp_path / "out/Rar!.txt").read_bytes() == b"content"


def test_archives_inside_an_archive_or_a_folder_are_said_to_be_unpacked_first(tmp_path, refuse):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("README.txt", "two parts")
        for name in ("data/train.zip", "data/val.tar.gz"):
            file.writestr(name, b"content")
    words = "holds archives and no images: data/train.zip, data/val.tar.gz. Unpack them and pass the folder."
    assert refuse(path, DataError).message == f"{path} {words}"
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "folder")
    assert refuse(tmp_path / "folder", DataError).message == f"{tmp_path}/folder {words}"


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


def test_backslashes_in_a_zip_are_folders(tmp_path):
    unpack(zip_of(tmp_path / "a.zip", "images\\", "images\\train\\a.txt"), tmp_path / "out", "a.zip")
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
        unpack(zip_of(tmp_path / "a.zip", *names), tmp_path / "out", "a.zip")
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
