"""IPTC's digital source type: a declaration of how a picture came to be."""

from __future__ import annotations

from ..core.text import shown
from .fact import Evidence

MEANINGS = {
    "trainedAlgorithmicMedia": "made by a generative model",
    "compositeWithTrainedAlgorithmicMedia": "edited with or composed from output of a generative model",
    "algorithmicMedia": "made by an algorithm without training data",
    "compositeSynthetic": "a composite with synthetic parts",
    "algorithmicallyEnhanced": "enhanced by an algorithm",
    "digitalCapture": "captured by a digital camera",
    "computationalCapture": "captured by a digital camera with computation over several frames",
    "digitalCreation": "made by a person with digital tools",
    "digitalArt": "made by a person with digital tools",
    "humanEdits": "edited by a person",
    "minorHumanEdits": "a capture with minor edits by a person",
    "compositeCapture": "a composite of captures",
    "composite": "a composite",
    "virtualRecording": "a recording of a virtual scene",
    "screenCapture": "a capture of a screen",
    "dataDrivenMedia": "drawn from data",
    "negativeFilm": "scanned from a negative",
    "positiveFilm": "scanned from a positive",
    "print": "scanned from a print",
}
"""Terms of http://cv.iptc.org/newscodes/digitalsourcetype/, and what each declares."""


def source_type(uri: str, source: str) -> Evidence:
    """The fact of one declared type, given as a URI, a QCode or a bare term."""
    term = uri.strip().rstrip("/").rpartition("/")[2].rpartition(":")[2]
    meaning = MEANINGS.get(term)
    statement = f"declares itself {meaning} ({term})" if meaning else f"declares the source type {shown(uri)}"
    return Evidence("source_type", source, statement, term if meaning else shown(uri))
