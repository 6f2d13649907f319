"""The digest of what lies below a prefix."""

from __future__ import annotations

from minio import Minio

from sightline.trigger.listing import listed
from tests.helpers.trigger_service import put


def test_the_digest_changes_with_keys_and_contents_and_with_nothing_else(s3: str, client: Minio) -> None:
    prefix = f"s3://{s3}/cells"
    assert listed(prefix).objects == 0
    put(client, s3, "cells/a b+ü.jpg", b"one")
    put(client, s3, "cells/train/1.txt", b"two")
    put(client, s3, "cells2/other.jpg")
    seen = listed(prefix)
    assert (seen.objects, seen.size) == (2, 6)

    put(client, s3, "cells/a b+ü.jpg", b"one")  # the same again
    put(client, s3, "cells/empty/", b"")  # a folder, as some programs show one
    again = listed(prefix)
    assert (again.digest, again.objects) == (seen.digest, 2)
    assert again.newest >= seen.newest

    put(client, s3, "cells/a b+ü.jpg", b"eno")
    changed = listed(prefix)
    assert changed.digest != seen.digest
    put(client, s3, "cells/a b+ü.jpg", b"one")
    assert listed(prefix).digest == seen.digest

    client.remove_object(s3, "cells/train/1.txt")
    put(client, s3, "cells/train/2.txt", b"two")
    assert listed(prefix).digest not in (seen.digest, changed.digest)


def test_the_same_objects_elsewhere_are_other_data(s3: str, client: Minio) -> None:
    put(client, s3, "cells/a.jpg")
    put(client, s3, "more/a.jpg")
    assert listed(f"s3://{s3}/cells").digest != listed(f"s3://{s3}/more").digest
