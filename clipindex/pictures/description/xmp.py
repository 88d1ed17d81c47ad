"""Pure: what an XMP packet says of a picture: keywords, caption, title, rating, label, creator.

ISO 16684-1 (XMP: RDF in XML). Anybody may have written it. It is read as a stream, so that a large
packet takes no memory, and no further than its end. A document type is refused: entities that
expand can be declared nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

from clipindex.pictures.description import values
from clipindex.pictures.description.values import (
    CAPTION,
    CREATOR,
    KEYWORDS,
    LABEL,
    LONGEST_CAPTION,
    RATING,
    TITLE,
    Description,
)

MOST_BYTES = 16 << 20  # of a packet; Lightroom's with painted masks are some megabytes

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "  # names as expat joins them
_DC = "http://purl.org/dc/elements/1.1/ "
_XMP = "http://ns.adobe.com/xap/1.0/ "
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/ "
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"

_SUBJECT, _DESCRIPTION = _DC + "subject", _DC + "description"
_TITLE, _CREATOR, _HEADLINE = _DC + "title", _DC + "creator", _PHOTOSHOP + "Headline"
_STARS, _LABEL = _XMP + "Rating", _XMP + "Label"
_PERCENT = "http://ns.microsoft.com/photo/1.0/ Rating"
_EXTENSION = _PHOTOSHOP + "SidecarForExtension"
_WANTED = {_SUBJECT, _DESCRIPTION, _TITLE, _CREATOR, _HEADLINE, _STARS, _LABEL, _PERCENT} | {
    _EXTENSION
}

_REFERENCE = re.compile("&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,8}));")
_NO_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class _Refused(Exception):
    """It has a document type, which no XMP has."""


class _Ended(Exception):
    """The packet was read to the end of its RDF."""


def read_xmp(packet: bytes, extension: str = "") -> Description | None:
    """What a packet says; None where it is no XMP.

    A sidecar that says for which extension it was made says nothing of files with another
    `extension`, given without a dot.
    """
    if len(packet) > MOST_BYTES:
        return None
    properties = _parsed(packet)
    if properties is None:
        properties = _parsed(_repaired(packet).encode(), "utf-8")
    if properties is None:
        return None
    owner = _first(properties, _EXTENSION)
    if owner and extension and owner.lower() != extension.lower():
        return {}
    return _described(properties)


Property = list[tuple[str, str]]  # language and text of each value


def _described(properties: Mapping[str, Property]) -> Description:
    described: dict[str, str | float | list[str]] = {}
    for key, names in ((KEYWORDS, (_SUBJECT,)), (CREATOR, (_CREATOR,))):
        for name in names:
            if name in properties:
                described[key] = values.texts(text for _, text in properties[name])
    for key, name, longest in (
        (CAPTION, _DESCRIPTION, LONGEST_CAPTION),
        (TITLE, _HEADLINE, values.LONGEST_TEXT),
        (TITLE, _TITLE, values.LONGEST_TEXT),
        (LABEL, _LABEL, values.LONGEST_TEXT),
    ):
        if name in properties and (text := values.text(_first(properties, name), longest)):
            described[key] = text
        elif name in properties:
            described.setdefault(key, "")
    for name in (_PERCENT, _STARS):
        stars = values.rating(_first(properties, name), percent=name == _PERCENT)
        if stars is not None:
            described[RATING] = stars
    return described


def _first(properties: Mapping[str, Property], name: str) -> str:
    """The value in the default language, or the first one."""
    several = properties.get(name, [])
    default = (text for language, text in several if language == "x-default")
    return next(default, several[0][1] if several else "")


def _parsed(packet: bytes, encoding: str | None = None) -> dict[str, Property] | None:
    """The wanted properties; None where the packet is not XML as far as the end of its RDF."""
    reader = _Reader()
    parser = expat.ParserCreate(encoding, namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(packet, True)
    except _Ended:
        return reader.properties
    except (_Refused, expat.ExpatError, ValueError, LookupError):  # of an unknown encoding
        return None
    return None


def _repaired(packet: bytes) -> str:
    """What some programs write: Latin-1 that calls itself UTF-8, and control characters, also as
    references."""
    try:
        text = packet.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = packet.decode("cp1252", "replace")
    return _NO_XML.sub(" ", _REFERENCE.sub(_without_control, text))


def _without_control(reference: re.Match[str]) -> str:
    code = int(reference[1], 16) if reference[1] else int(reference[2])
    return reference[0] if code >= ord(" ") else " "


class _Reader:
    """Collects the properties of the resource that the packet describes, not those of the
    resources inside it: its history, its ingredients."""

    def __init__(self) -> None:
        self.properties: dict[str, Property] = {}
        self._open: list[str] = []
        self._property: Property | None = None  # the one that is open, if it is wanted
        self._depth = 0  # at which it was opened
        self._language = ""
        self._text: list[str] = []

    def refuse(self, *_: object) -> None:
        raise _Refused

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._property is not None:
            if name == _RDF + "li":
                self._language, self._text = attributes.get(_LANGUAGE, "").lower(), []
        elif self._open[-1:] == [_RDF + "RDF"] and name == _RDF + "Description":
            for wanted in _WANTED & attributes.keys():
                self.properties.setdefault(wanted, [("", attributes[wanted])])
        elif self._open[-2:] == [_RDF + "RDF", _RDF + "Description"] and name in _WANTED:
            self._property, self._text = self.properties.setdefault(name, []), []
            self._depth = len(self._open)
        self._open.append(name)

    def characters(self, text: str) -> None:
        if self._property is not None:
            self._text.append(text)

    def end(self, name: str) -> None:
        self._open.pop()
        if self._property is not None:
            is_over = len(self._open) == self._depth
            if name == _RDF + "li" or (is_over and not self._property):
                text = "".join(self._text)
                if text.strip():
                    self._property.append((self._language, text))
                self._language, self._text = "", []
            if is_over:
                self._property = None
        if name == _RDF + "RDF":
            raise _Ended
