"""A file that the user names in place of a folder: data.yaml, obj.data, a COCO file, an annotation or a list of VOC.

What describes a set stands for it: data.yaml and obj.data for what they name, a COCO file or a list of ImageSets for
the images in it, whatever split it is named after. The annotation of one image stands for the folder that it is in.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePath

from sightline.datasets.formats import unsupported
from sightline.datasets.formats.coco import annotation_files
from sightline.datasets.formats.coco import reader as coco
from sightline.datasets.formats.coco.json_stream import LISTS
from sightline.datasets.formats.voc import reader as voc
from sightline.datasets.formats.yolo import darknet, name_lists
from sightline.datasets.formats.yolo import reader as yolo
from sightline.datasets.types import Folder, Reading, split_of
from sightline.errors import DataError
from sightline.rules import Issue

SUFFIXES = (".yaml", ".yml", ".data", ".names", ".txt", ".json", ".xml")
ANNOTATIONS = "annotations"  # in lower case: the folder of COCO and VOC beside which images lie
SETS = "imagesets"


def describes(name: str) -> bool:
    """Tell whether a file of this name may stand for a data set."""
    return name.lower().endswith(SUFFIXES)


def levels(path: PurePath) -> int:
    """Return how many folders above the file's own the data set starts."""
    above = [part.lower() for part in path.parent.parts[-2:]]
    if SETS in above:
        return above[::-1].index(SETS) + 1
    if above[-1:] == [ANNOTATIONS]:
        return 1
    return int(path.suffix.lower() == ".xml" and bool(above) and split_of(above[-1]) is not None)


def read(folder: Folder, file: Path, format: str, voc_origin: int) -> Reading:
    """Read what a file stands for. Raises DataError: it stands for nothing, or is of another format than the named."""
    found, reading = _recognised(folder, file, voc_origin)
    if format not in ("auto", found):
        raise DataError(f"{folder.name} is a file of the format {found}, and the format {format} was asked for.")
    return reading()


def _recognised(folder: Folder, file: Path, voc_origin: int) -> tuple[str, partial[Reading]]:
    suffix = file.suffix.lower()
    if suffix in (".yaml", ".yml") or (suffix == ".data" and darknet.is_obj_data(file)):
        return "yolo", partial(yolo.read, folder, [file])
    if suffix == ".json":
        _check_coco(folder, file)
        return "coco", partial(coco.read, folder, [file])
    if suffix == ".xml" and voc.is_annotation(str(file)):
        return "voc", partial(_whole_voc, folder, file, voc_origin)
    if suffix == ".txt" and folder.root != file.parent:
        place = next((path for path in voc.find(folder.root) if voc.sets(path) in file.parents), None)
        if place is None:
            raise DataError(f"{folder.name} is a list of ImageSets, and there are no annotations beside ImageSets.")
        return "voc", partial(voc.read, folder, [place], voc_origin, only=file)
    if file.name in name_lists.LISTS:
        return "yolo", partial(yolo.read, folder, [file])
    unsupported.explain(folder, [file])
    raise DataError(
        f"{folder.name} does not describe a data set; expected a folder, an archive, data.yaml, obj.data, a COCO .json "
        f"file, or a list in ImageSets. Name the folder: {file.parent}."
    )


def _check_coco(folder: Folder, file: Path) -> None:
    """Raise DataError for a file that is no COCO annotation file: of another kind, broken, or without a list."""
    absent = annotation_files.absent(file)
    if absent:
        unsupported.explain(folder, [file])
        if wrong := annotation_files.damage(file, folder.name):
            raise DataError(f"{wrong.rstrip('.')}.")
        raise DataError(f"{folder.name} has no {' and no '.join(absent)}; expected the COCO lists {', '.join(LISTS)}.")


def _whole_voc(folder: Folder, file: Path, voc_origin: int) -> Reading:
    reading = voc.read(folder, voc.find(folder.root), voc_origin)
    message = f"is the annotation of one image; took all of the data set in {folder.root}"
    reading.issues.append(Issue("data-path", folder.relative(file), message))
    return reading
