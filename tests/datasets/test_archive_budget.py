"""What an archive may unpack to: no disk or memory is filled, and well-packed images are no bomb."""

from __future__ import annotations

import io
import os
import resource
import shutil
import tarfile

import pytest
from PIL import Image, ImageDraw

from sightline.datasets.archives import unpack
from sightline.errors import DataError, StorageError
from tests.helpers.archives import TARS, Zeros, packed, zip_with
from tests.helpers.content import MIB


def test_an_archive_that_explodes_is_refused_before_it_is_unpacked(tmp_path, refuse):
    message = refuse(zip_with(tmp_path / "bomb.zip", "member", size=21 * 2**30), DataError).message
    assert "bomb.zip, of 136 bytes, unpacks to 21 GiB or more" in message
    assert "Beyond 64 MiB at most 100 times the packed size is allowed" in message


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_zeros_out_of_a_small_archive_are_refused_and_never_fill_the_disk(tmp_path, kind):
    bomb = packed(tmp_path / f"bomb.{kind}", {"images/a.jpg": 80 * MIB})
    assert bomb.stat().st_size < 400_000
    with pytest.raises(DataError, match=r"unpacks to 80 MiB or more.* unpack it and pass the folder"):
        unpack(bomb, tmp_path / "out", bomb.name)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < MIB


FAKES = ("two letters.bin", "two letters.bmp", "small.bmp", "small.tif", "behind.tif", "header.bin")


def _fake(name: str) -> bytes:
    """What begins as a BMP or TIFF does, and is 80 MiB of zeros."""
    small = io.BytesIO()
    Image.new("RGB", (99, 99)).save(small, "BMP")
    tiny = io.BytesIO()
    Image.new("RGB", (99, 99)).save(tiny, "TIFF")
    rest = bytes(80 * MIB)
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
    bomb = packed(tmp_path / f"bomb.{kind}", {f"images/{name}": _fake(name)})
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
    archive = packed(tmp_path / f"drawn.{kind}", files)
    assert sum(map(len, files.values())) > 110 * archive.stat().st_size
    unpack(archive, tmp_path / "out", archive.name)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_many_small_members_explode_no_more_than_a_large_one(tmp_path, kind):
    bomb = packed(tmp_path / f"bomb.{kind}", {f"{number}.txt": MIB for number in range(80)})
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
    archive = packed(tmp_path / f"drawn.{kind}", files)
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
                info.size = 10 * MIB
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
