"""The rules of the data gate: what each looks for, why it matters, and how to fix it.

This is the list; `pictures` and `labels` hold the rules about one image, `across`, `conventions`, `class_names` and
`pairing` those about a whole set. A policy says how severe a rule is (see `policy`). `drops` is what quarantine removes
where a few errors are tolerated, `of` is what a budget (`max_fraction`) is a share of; rules about the whole set count
neither images nor boxes, and have none.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "off"]


class Rule(NamedTuple):
    """One rule; `handling` is what happens to what it finds where it is only a warning."""

    id: str
    severity: Severity  # of the policy `default`
    finds: str
    why: str
    fix: str
    handling: str = "kept"
    drops: Literal["image", "box", "nothing"] = "image"
    of: Literal["images", "boxes", "set"] = "images"

    @property
    def removes(self) -> bool:
        """Tell whether what it finds is left out of training in any case, whatever the policy says."""
        return any(words in self.handling for words in ("left out", "kept once", "the first is kept"))


class Issue(NamedTuple):
    """One thing that a rule found. `box` are the edges of the box it is about, fractions of the upright image."""

    rule: str
    where: str
    message: str
    box: tuple[float, float, float, float] | None = None  # x0, y0, x1, y1
    badness: float = 0.0  # orders the examples of a rule: the worst come first


_LIST = (
    # --- images
    Rule("unreadable-image", "error", "a file that is not an image, or whose pixels cannot be decoded",
         "Trainers skip it with a line in a log, and the set is smaller than you think.",
         "Replace the file, or remove it with its label.", handling="left out"),
    Rule("truncated-image", "error", "an image that ends too early, as after a broken download",
         "It decodes to a picture that is grey from some row on, with boxes on nothing.",
         "Copy the file again from its origin.", handling="left out"),
    Rule("damaged-image", "error", "a JPEG that breaks in the middle: wrong codes, a missing part, data left over",
         "After the break its pixels are wrong, with boxes on nothing.",
         "Copy the file again. If all pictures of a camera look like this, check some, and make it a warning."),
    Rule("huge-image", "error", "an image with more pixels than the policy allows, judged before it is decoded",
         "One such file can take all memory: a decompression bomb.",
         "Cut it into tiles, or raise thresholds.max_megapixels.", handling="left out"),
    Rule("unsupported-suffix", "error", "an image file of a kind that the engine does not read (.gif, .heic, .dng, …)",
         "The engine would skip it silently.", "Convert it to JPEG or PNG.", handling="left out"),
    Rule("wrong-suffix", "warning", "an image whose content is of another kind than its name says",
         "Some readers go by the name, and fail or decode it differently.", "Rename it to what it is.", drops="image"),
    Rule("trailing-bytes", "warning", "a JPEG with bytes after its end, or zeros before its end marker",
         "The engine takes it for damaged and saves it again, with other pixels.", "Save it again."),
    Rule("exif-orientation", "warning", "an image that is stored turned and relies on an EXIF tag to be shown upright",
         "Boxes drawn on the stored picture lie elsewhere on the upright one that training sees.",
         "Save it upright, and look at its boxes.", handling="taken upright"),
    Rule("turned-boxes", "error", "boxes that belong to the picture as stored, while training sees it turned",
         "Every box of the image is wrong.", "Save the image upright, and turn its boxes with it.",
         handling="left out"),
    Rule("greyscale-image", "warning", "an image with one channel among images with colours, or the other way round",
         "It becomes three equal channels; at prediction time colour images look different.",
         "Use one kind of image, or accept it."),
    Rule("alpha-channel", "warning", "an image with transparency",
         "Transparency is thrown away, and what was invisible becomes visible.", "Flatten it on its background."),
    Rule("deep-pixels", "warning", "an image with more than 8 bits a channel",
         "It is cut to 8 bits, which can turn it all black or all white.", "Scale it to 8 bits yourself."),
    Rule("file-name", "warning", "a file name that is not UTF-8",
         "Tools and object stores refuse it or change it.", "Rename it.", handling="renamed in the snapshot"),
    Rule("name-collision", "warning", "two file names in a folder that differ only in case",
         "On Windows and macOS one replaces the other.", "Rename one.", handling="renamed in the snapshot"),
    Rule("shared-label", "error", "two images that share a label file (a.jpg and a.png)",
         "The boxes belong to one of them at most.", "Rename or remove one of the images.", handling="both kept"),
    # --- labels
    Rule("missing-label", "warning", "an image without a label file",
         "It is trained on as background, which is wrong if labelling it was forgotten.",
         "Label it, or add an empty label file to say that it is background.", handling="taken as background"),
    Rule("orphan-label", "warning", "a label file without an image",
         "An image that was labelled is lost.", "Restore the image, or remove the label.", handling="left out",
         drops="nothing"),
    Rule("label-name", "error", "an image whose label has its name except for case, white space or an extra suffix",
         "Trainers do not find the label, and learn its objects as background.",
         "Give both the same name.", handling="the label is taken"),
    Rule("unpaired-label", "error", "images without a label and labels without an image that seem to belong together",
         "Labelled objects would be trained on as background.",
         "Give each label the name of its image and put it into the same split; add an empty label file for each "
         "image that is background.", handling="taken as background", drops="nothing", of="set"),
    Rule("other-image", "warning", "a VOC annotation whose <filename> is another image of the set",
         "Its boxes may be of that image.", "Look at both, and correct the name of the file or its <filename>.",
         handling="the image that is named like the file is used"),
    Rule("misaligned-labels", "error", "a VOC set in which nearly every annotation has the <filename> of another image",
         "Every box is likely to be of another image.",
         "See which image each annotation belongs to. If the names inside are out of date, make it a warning.",
         handling="the image that is named like the file is used", drops="nothing", of="set"),
    Rule("missing-image", "error", "an image that an annotation or a list names, and that is missing",
         "The set is smaller than its author thinks.", "Restore the image, or remove the entry.",
         handling="left out", drops="nothing"),
    Rule("label-syntax", "error", "a label that cannot be read",
         "The object it describes would be trained on as background.", "Correct the line.",
         handling="the object is left out", of="boxes"),
    Rule("wrong-task", "error", "labels of another task: polygons, keypoints, oriented boxes, predictions with a score",
         "Read as boxes they mean something else, or lose information.",
         "Export the set as a detection set, or convert the labels to boxes.", handling="the object is left out",
         of="boxes"),
    Rule("class-range", "error", "a class that is not in the list of names",
         "What the object is remains unknown.", "Correct the class, or the list of names.",
         handling="the object is left out", of="boxes"),
    Rule("class-gap", "error", "numbers missing in the list of class names",
         "Classes would have other numbers here than where the model is used.", "Number names from 0 without gaps.",
         handling="renumbered", drops="nothing", of="set"),
    Rule("duplicate-name", "error", "two classes of the same name",
         "The model has to tell apart what is the same.", "Merge or rename them.", handling="merged",
         drops="nothing", of="set"),
    Rule("similar-names", "error", "classes whose names differ only in case, white space, separators or Unicode form",
         "The model has to tell apart what is the same.", "Merge or rename them.", drops="nothing", of="set"),
    Rule("class-order", "error", "a list of class names (classes.txt, notes.json) with other numbers than data.yaml",
         "If the labels follow that list, every class is wrong.",
         "Find out which of the two the labels follow, and remove or correct the other.",
         handling="the order of data.yaml is taken", drops="nothing", of="set"),
    Rule("class-numbers", "warning", "Label Studio's classes.txt in another order than the numbers in its notes.json",
         "Other tools go by classes.txt, and take one class for another.",
         "Write the names in the order of their numbers.", handling="the numbers of notes.json are taken",
         drops="nothing"),
    Rule("duplicate-id", "error", "two images of a COCO file with the same id",
         "It is not known which of them a box belongs to.", "Give each its own id.", handling="left out"),
    Rule("repeated-number", "warning", "annotations of a COCO file that share an id",
         "Tools that look annotations up by id lose all but one of them.", "Give each its own id.",
         handling="each box is used", drops="nothing", of="set"),
    Rule("size-mismatch", "error", "an annotation that states a size other than its image's",
         "Boxes in pixels belong to the picture before it was resized.", "Export the annotations again.",
         handling="the image's own size is used"),
    # --- boxes
    Rule("box-convention", "error", "boxes in a convention other than their format's: fractions, corners, centres, …",
         "Every box is wrong, though each may look plausible.",
         "Export the labels again, or convert the numbers. If they are right as they stand, make it a warning.",
         handling="used as it stands", drops="nothing", of="set"),
    Rule("box-outside", "error", "a box most of which lies outside its image",
         "Its coordinates belong to another image, or are pixels where fractions belong.", "Correct or remove it.",
         handling="the object is left out", drops="image", of="boxes"),
    Rule("clipped-box", "warning", "a box that sticks out of its image",
         "Trainers clip it, or refuse the whole image.", "Clip it.", handling="clipped", drops="box", of="boxes"),
    Rule("zero-area-box", "error", "a box without width or height",
         "It cannot be learnt, and makes some losses infinite.", "Remove it, or draw it again.",
         handling="left out", drops="box", of="boxes"),
    Rule("tiny-box", "warning", "a box of a pixel or two at the training size",
         "The network cannot see it at that size, and each one counts as a miss.",
         "Train at a larger size, cut images into tiles, or remove it.", drops="box", of="boxes"),
    Rule("whole-image-box", "warning", "a box that covers the whole image",
         "Often a default that was never adjusted.", "Look at it.", drops="box", of="boxes"),
    Rule("duplicate-box", "warning", "the same box twice in one image",
         "The object counts twice, in training and in scores.", "Remove one.", handling="one is left out",
         drops="box", of="boxes"),
    Rule("conflicting-boxes", "warning", "nearly the same box with two classes",
         "One of them is wrong, or they are attributes rather than classes.", "Keep one of them.", drops="image",
         of="boxes"),
    # --- across images
    Rule("leaked-image", "error", "the same image, byte for byte, in two splits",
         "The score is measured on images that were memorised.", "Remove it from the held-out split.",
         handling="kept in both"),
    Rule("leaked-copy", "error", "an image that looks the same as one of another split: re-encoded or resized",
         "The score is measured on images that were memorised.", "Remove it from the held-out split.",
         handling="kept in both"),
    Rule("leaked-augmentation", "error", "augmented copies of one source image (`.rf.` names) in two splits",
         "The score is measured on images that were memorised.", "Split first, then augment the train split only.",
         handling="kept in both"),
    Rule("duplicate-image", "warning", "the same image, byte for byte, twice in one split",
         "It counts twice.", "Remove one.", handling="kept once"),
    Rule("conflicting-labels", "error", "the same image twice with different labels",
         "One of them is wrong.", "Correct or remove one.", handling="the first is kept"),
    Rule("near-duplicate", "warning", "an image that looks the same as another one of its split",
         "Many copies of one scene count as many scenes.", "Keep fewer frames of each film."),
    # --- the set
    Rule("class-absent", "warning", "a class without a box in a split",
         "It cannot be learnt from that split, chosen on it, or scored on it.", "Add examples.", drops="nothing",
         of="set"),
    Rule("few-boxes", "warning", "a class with very few boxes to learn from", "Its score depends on luck.",
         "Label more.", drops="nothing", of="set"),
    Rule("class-imbalance", "warning", "a class that is many times rarer than the most common one",
         "The model learns to favour the common ones.", "Label more of the rare class.", drops="nothing",
         of="set"),
    Rule("many-backgrounds", "warning", "a large share of train images without a box",
         "Often a sign of missing labels.", "Check that the labels are complete.", drops="nothing", of="set"),
    # --- reading
    Rule("data-path", "warning", "a path in data.yaml, a list, COCO or VOC that does not exist as written",
         "Other tools will not find the images.", "Correct the path.", handling="the only place it can mean is used",
         drops="nothing"),
    Rule("unused-file", "warning", "an image, folder or annotation file that no annotation refers to",
         "What is in it is not used.", "Annotate it, name it after a split, or remove it.", handling="left out",
         drops="nothing"),
    Rule("no-split", "warning", "an image that no split lists", "It is not used.", "Add it to a list.",
         handling="left out", drops="nothing"),
    Rule("crowd-region", "warning", "COCO annotations of crowds (iscrowd)",
         "A crowd is a region, not an object.", "Nothing, unless the model should find its members: then label them.",
         handling="left out", drops="nothing"),
    Rule("mask-ignored", "warning", "COCO segmentation masks (polygons, RLE) and keypoints beside boxes",
         "Only boxes are learnt.", "Nothing, if a detector of boxes is what you want.", handling="the box is used",
         drops="nothing"),
    Rule("grouping-class", "warning", "a COCO category without boxes that only groups others",
         "It would be a class that is never found.", "Remove it from categories.", handling="left out",
         drops="nothing"),
    Rule("pixel-origin", "warning", "VOC boxes that look as if pixels were counted from 1",
         "Each box is half a pixel off.", "If they are, set data.voc_origin=1.", handling="used as it stands",
         drops="nothing"),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.id: rule for rule in _LIST}

OF_BOXES = frozenset(rule.id for rule in _LIST if rule.of == "boxes")  # `max_fraction` is a share of boxes


def dropped(rule: Rule) -> str:
    """Say what quarantine does with what the rule finds."""
    return f"dropped the {rule.drops}" if rule.drops != "nothing" else rule.handling
