"""Raw outputs of the checkpoint and of the exported file are compared by what differs most."""

from __future__ import annotations

import numpy as np

from sightline.export import parity


def test_raw_outputs_are_compared_by_their_largest_difference() -> None:
    a, b = np.zeros((6, 4), np.float32), np.zeros((6, 4), np.float32)
    b[3, 2] = 0.25
    assert parity._difference(a, b) == 0.25
    rows = np.array([[0, 0, 9, 9, 0.9, 1], [5, 5, 8, 8, 0.9, 0]], np.float32)
    assert parity._difference_of_rows(rows, rows[::-1]) == 0.0
    assert parity._difference_of_rows(rows, rows + np.float32(0.5)) == 0.5
    many = np.stack([[x, 0, x + 9, 9, 0.9999, 0] for x in range(0, 90, 10)]).astype(np.float32)
    assert parity._difference_of_rows(many[:8], many[1:]) == 0.0  # the first lost its place to its equal
    assert parity._difference_of_rows(many[:8], many[6:]) >= 10
    higher = many[:8] * np.array([1, 1, 1, 1, 0.8, 1], np.float32)
    higher[:7, 4] = 0.95
    assert parity._difference_of_rows(many[:1], higher) > 0.04  # better than the last one, and not there
