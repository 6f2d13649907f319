"""What an image may do and must say on a restricted cluster."""

from __future__ import annotations

import pytest

from sightline import __version__
from tests.helpers.built_images import BuiltImages

RELEASE = "org.opencontainers.image"


def test_the_user_is_a_number_in_group_0(built_images: BuiltImages, name: str) -> None:
    user, _, group = built_images.configuration(name)["User"].partition(":")
    assert int(user) > 1000
    assert group == "0"


def test_no_entry_point_stands_before_the_command(built_images: BuiltImages, name: str) -> None:
    assert not built_images.configuration(name).get("Entrypoint")


@pytest.mark.parametrize("home", ["", "/", "/nonexistent"])
def test_an_unknown_user_without_a_home_can_run_it(built_images: BuiltImages, name: str, home: str) -> None:
    remove = ("env", *(["-u", "HOME"] if not home else [f"HOME={home}"]))
    done = built_images.run(name, *remove, "sightline", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def test_an_image_sees_no_gpu_that_it_was_not_given(built_images: BuiltImages, name: str) -> None:
    environment = dict(item.split("=", 1) for item in built_images.configuration(name)["Env"])
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_an_image_knows_its_name_its_commit_and_its_cache(built_images: BuiltImages, name: str) -> None:
    environment = dict(item.split("=", 1) for item in built_images.configuration(name)["Env"])
    assert environment["SIGHTLINE_IMAGE"] == built_images.built[name].reference.rpartition("/")[2]
    assert environment["SIGHTLINE_GIT_COMMIT"] == built_images.configuration(name)["Labels"][f"{RELEASE}.revision"]
    assert environment["SIGHTLINE_CACHE"].startswith("/tmp/")


def test_labels_say_source_revision_version_and_licences(built_images: BuiltImages, name: str) -> None:
    labels = built_images.configuration(name)["Labels"]
    assert labels[f"{RELEASE}.source"].startswith("https://")
    assert len(labels[f"{RELEASE}.revision"].removesuffix("-dirty")) == 40
    assert labels[f"{RELEASE}.version"] == __version__
    nvidia = name == "train" or (name == "infer" and not built_images.built[name].variant)
    assert labels[f"{RELEASE}.licenses"] == "AGPL-3.0-or-later" + " AND LicenseRef-NVIDIA" * nvidia


def test_nothing_of_the_machine_that_built_it_is_in_an_image(built_images: BuiltImages, name: str) -> None:
    history = built_images.engine.call("history", "--no-trunc", built_images.built[name].reference).stdout
    assert not [word for word in ("INDEX_URL", "UV_", "PIP_", "PROXY") if word in history]
    assert built_images.run(name, "ls", "/build", "/run/secrets").returncode != 0
