"""Archives of strangers: read where they are honest, refused where they reach outside or explode."""

from __future__ import annotations

import gzip
import io
import os
import resource
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sightline.datasets.archives import unpack
from sightline.errors import DataError, StorageError


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
        (tarfile.SYMTYPE, "nothing", "is a link to 'nothing', which is not in the archive. Pack the files"),
        (tarfile.CHRTYPE, "", "device"),
        (tarfile.FIFOTYPE, "", "pipe"),
    ],
)
def test_links_outside_and_devices_are_refused(tmp_path, refuse, kind, link, word):
    assert word in refuse(_tar(tmp_path / "evil.tgz", "sub/member", kind, link), DataError).message


def test_links_in_zip_files_are_refused(tmp_path, refuse):
    assert "link or a device" in refuse(_zip(tmp_path / "evil.zip", "member", 0o120777), DataError).message


def test_an_archive_that_explodes_is_refused_before_it_is_unpacked(tmp_path, refuse):
    message = refuse(_zip(tmp_path / "bomb.zip", "member", size=21 * 2**30), DataError).message
    assert "bomb.zip, of 136 bytes, unpacks to 21 GiB or more" in message
    assert "Beyond 64 MiB at most 100 times the packed size is allowed" in message


class Zeros(io.RawIOBase):
    """As many zeros as are read."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


MEBIBYTE = 2**20
TARS = {"tar.gz": {"compresslevel": 1}, "tar.bz2": {"compresslevel": 1}, "tar.xz": {"preset": 0}}


def _packed(path: Path, files: dict[str, bytes | int]) -> Path:
    """Pack files, given as bytes or as a number of zeros."""
    kind = path.name.partition(".")[2]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name, content in files.items():
                with file.open(name, "w") as member:
                    chunks = [content] if isinstance(content, bytes) else [bytes(MEBIBYTE)] * (content // MEBIBYTE)
                    for chunk in chunks:
                        member.write(chunk)
        return path
    with tarfile.open(path, f"w:{kind.removeprefix('tar.')}", **TARS[kind]) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = content if isinstance(content, int) else len(content)
            file.addfile(info, Zeros() if isinstance(content, int) else io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_zeros_out_of_a_small_archive_are_refused_and_never_fill_the_disk(tmp_path, kind):
    bomb = _packed(tmp_path / f"bomb.{kind}", {"images/a.jpg": 80 * MEBIBYTE})
    assert bomb.stat().st_size < 400_000
    with pytest.raises(DataError, match=r"unpacks to 80 MiB or more.* unpack it and pass the folder"):
        unpack(bomb, tmp_path / "out", bomb.name)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < MEBIBYTE


FAKES = ("two letters.bin", "two letters.bmp", "small.bmp", "small.tif", "behind.tif", "header.bin")


def _fake(name: str) -> bytes:
    """What begins as a BMP or TIFF does, and is 80 MiB of zeros."""
    small = io.BytesIO()
    Image.new("RGB", (99, 99)).save(small, "BMP")
    tiny = io.BytesIO()
    Image.new("RGB", (99, 99)).save(tiny, "TIFF")
    rest = bytes(80 * MEBIBYTE)
    late = b"II*\x00" + len(rest).to_bytes(4, "little") + rest
    large = io.BytesIO()
    Image.new("RGB", (9000, 4000)).save(large, "BMP")
    files = {
        "two letters.bin": b"BM" + rest,
        "two letters.bmp": b"BM" + rest,
        "small.bmp": small.getvalue() + rest,
        "small.tif": tiny.getvalue() + rest,
        "behind.tif": late,
        "header.bin": large.getvalue(),
    }
    return files[name]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", FAKES)
def test_only_the_pixels_of_a_bmp_or_tiff_may_shrink_well(tmp_path, kind, name):
    bomb = _packed(tmp_path / f"bomb.{kind}", {f"images/{name}": _fake(name)})
    with pytest.raises(DataError, match="as archives do that are made to fill a disk"):
        unpack(bomb, tmp_path / "out", bomb.name)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_plain_tiffs_shrink_as_well_wherever_their_header_lies_and_however_many_pages_they_have(tmp_path, kind):
    page = Image.new("RGB", (3000, 2000), "white")
    first, several = io.BytesIO(), io.BytesIO()
    page.save(first, "TIFF")
    page.save(several, "TIFF", save_all=True, append_images=[page, page])
    last = bytearray(first.getvalue())  # its directory moved behind the pixels
    start, count = 8, int.from_bytes(last[8:10], "little")
    last += last[start : start + 6 + 12 * count]
    last[4:8] = (len(last) - 6 - 12 * count).to_bytes(4, "little")
    files = {"a.tif": first.getvalue(), "b.tif": several.getvalue(), "c.tif": bytes(last)}
    archive = _packed(tmp_path / f"drawn.{kind}", files)
    assert sum(map(len, files.values())) > 110 * archive.stat().st_size
    unpack(archive, tmp_path / "out", archive.name)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_many_small_members_explode_no_more_than_a_large_one(tmp_path, kind):
    bomb = _packed(tmp_path / f"bomb.{kind}", {f"{number}.txt": MEBIBYTE for number in range(80)})
    with pytest.raises(DataError, match=r"unpacks to 64.\d+ MiB or more"):
        unpack(bomb, tmp_path / "out", bomb.name)


def _drawn() -> dict[str, bytes]:
    """Sixteen plain BMPs of 1920 x 1080, of 100 MB together, a PNG, and labels."""
    files: dict[str, bytes] = {}
    for number in range(16):
        image = Image.new("RGB", (1920, 1080), "white")
        draw = ImageDraw.Draw(image)
        for step in range(5):
            left, top = (97 * (number + 3 * step)) % 1600, (61 * (number + 5 * step)) % 900
            draw.ellipse((left, top, left + 40 + 9 * number, top + 90), fill=(40 * step, 15 * number, 99))
        for kind in ("BMP", "PNG"):
            buffer = io.BytesIO()
            image.save(buffer, kind)
            files[f"images/{number}.{kind.lower()}"] = buffer.getvalue()
        files[f"labels/{number}.txt"] = b"0 0.5 0.5 0.25 0.25\n" * 500
    return files


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_drawn_pictures_are_no_bomb_however_well_they_are_packed(tmp_path, kind):
    files = _drawn()
    archive = _packed(tmp_path / f"drawn.{kind}", files)
    unpacked = sum(map(len, files.values()))
    assert unpacked > 95_000_000
    assert unpacked / archive.stat().st_size > 110  # more than is allowed of other files
    unpack(archive, tmp_path / "out", archive.name)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


def test_a_hole_in_a_tar_counts_as_what_it_unpacks_to(tmp_path):
    with tarfile.open(tmp_path / "bomb.tar", "w", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("images/a.jpg")
        info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**40), "GNU.sparse.numblocks": "1"}
        file.addfile(info)
    with pytest.raises(DataError, match="unpacks to 1 TiB or more"):
        unpack(tmp_path / "bomb.tar", tmp_path / "out", "bomb.tar")


def test_links_to_one_large_file_count_each(tmp_path):
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as file:
        for name in ("a.bin", *(f"{number}.bin" for number in range(20))):
            info = tarfile.TarInfo(name)
            if name == "a.bin":
                info.size = 10 * MEBIBYTE
                file.addfile(info, Zeros())
            else:
                info.type, info.linkname = tarfile.LNKTYPE, "a.bin"
                file.addfile(info)
    with pytest.raises(DataError, match=r"unpacks to 6\d(\.\d+)? MiB or more"):
        unpack(tmp_path / "bomb.tar.gz", tmp_path / "out", "bomb.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_fills_the_memory_is_not_read(tmp_path, kind):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 4 * 2**30
    path = tmp_path / "bomb.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 4 * 2**30 + 2048)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError):
        unpack(path, tmp_path / "out", "bomb.tar")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_what_the_disk_has_no_room_for_is_refused_before_it_is_written(tmp_path):
    size = 12 * 2**40  # of a file that is all hole
    assert shutil.disk_usage(tmp_path).free < size
    info = tarfile.TarInfo("images/a.jpg")
    info.size = size
    path = tmp_path / "large.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, size + 2048)
    with pytest.raises(StorageError, match=r"large.tar needs 12 TiB or more .* are free. .* point TMPDIR"):
        unpack(path, tmp_path / "out", "large.tar")
    assert list((tmp_path / "out").rglob("*.jpg")) == []


def test_a_zip_inside_a_tar_is_one_of_its_files(tmp_path):
    inner = _pack(tmp_path / "inner.zip", "evil.txt").read_bytes()
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
    path = _packed(tmp_path / f"a.{kind}", {f"{number}.bin": noise[number::3] for number in range(3)})
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
    unpack(_packed(tmp_path / f"a.{kind}", {name: b"content"}), tmp_path / "out", "a")
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
    path = _pack(tmp_path / "a.zip", "images/a.txt")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "out", "a.zip")
    words = "a.zip is encrypted: member 'images/a.txt' needs a password. Pack it again, without one."
    assert caught.value.message == words


def test_an_unknown_method_of_compression_in_a_zip_is_named(tmp_path):
    path = _pack(tmp_path / "a.zip", "a.txt")
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
    archive = _packed(tmp_path / "a.tar.gz", {"Rar!.txt": b"content"})
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
