"""What a server says about an error, in a line: of Kubernetes, of Kubeflow Pipelines, of a proxy before them."""

from __future__ import annotations

import json
import re

LONGEST = 400  # characters in a message


def words(body: object) -> str:
    """Return the server's own sentence where there is one, else its text without markup; it ends in a full stop."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        details = answer.get("details")
        inner = details if isinstance(details, list) else []
        found = next((item["message"] for item in inner if isinstance(item, dict) and item.get("message")), None)
        text = str(found or answer.get("message") or answer.get("error_message") or answer.get("error") or "")
    elif "<" in text:  # a proxy's page
        text = re.sub(r"<[^>]*>", " ", re.sub(r"(?is)<(style|script).*?</\1>", " ", text))
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return text if not text or text.endswith((".", "…")) else text + "."
