"""Facts of ordinary metadata, in the forms that the programs publish and in every place that formats have for them."""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path

import pytest
from cinemae.runtime.evidence.collect import collect
from cinemae.runtime.evidence.exif import user_comment
from cinemae.runtime.evidence.writers import WRITERS
from facts_of import facts_of
from metadata_files import (
    KINDS,
    PLACES,
    encoded,
    exif_of,
    gif_with_xmp,
    png_texts,
    segments,
    with_chunks,
    xmp_of,
)
from PIL import Image, features
from writer_forms import DECLARATIONS, EASY, FORMS, GROK, LABEL, TYPE, UUID, WEBUI

DOCS = Path(__file__).parents[3] / "docs" / "evidence.md"


def facts(data: bytes, kind: str) -> list:
    return [fact for fact in facts_of(data) if fact.kind == kind]


@cache
def read_by(kind: str, place: str, form: str, row: int, declaration: bool) -> bool | None:
    """Whether the fact of one row is read from one format; None where the format has no such place."""
    name, _, pairs = (DECLARATIONS if declaration else FORMS)[row]
    try:
        data = PLACES[place][form](kind, pairs)
    except pytest.skip.Exception:
        return None
    if data is None:
        return None
    found = facts(data, "source_type" if declaration else "generator")
    return bool(found) and found[0].value == name and found[0].declares in ("ai", "composite") and bool(found[0].raw)


@pytest.mark.parametrize("row", range(len(FORMS) + len(DECLARATIONS)))
def test_writers_are_read_in_every_form_of_their_place(row):
    declaration = row >= len(FORMS)
    row -= len(FORMS) if declaration else 0
    _, place, _ = (DECLARATIONS if declaration else FORMS)[row]
    results = {(kind, form): read_by(kind, place, form, row, declaration) for form in PLACES[place] for kind in KINDS}
    assert any(results.values())
    assert [key for key, read in results.items() if read is False] == []


def test_every_writer_has_a_form():
    assert {writer.name for writer in WRITERS} == {name for name, _, _ in FORMS}


def matrix() -> str:
    """The tables of docs/evidence.md: forms of places by formats, and writers by places."""
    lines = ["| place | " + " | ".join(KINDS) + " |", "|---|" + "---|" * len(KINDS)]
    for place, forms in PLACES.items():
        rows = [index for index, (_, at, _) in enumerate(FORMS) if at == place]
        for form in forms:
            cells = [[read for row in rows if (read := read_by(kind, place, form, row, False)) is not None]
                     for kind in KINDS]
            lines.append(f"| {form} | " + " | ".join("yes" if all(one) and one else "-" for one in cells) + " |")
    lines += ["", "| writer | " + " | ".join(PLACES) + " | source |", "|---|" + "---|" * (len(PLACES) + 1)]
    for writer in WRITERS:
        cells = []
        for place in PLACES:
            keys = [next(iter(pairs)) or "yes" for name, at, pairs in FORMS if (name, at) == (writer.name, place)]
            cells.append(", ".join(f"`{key}`" if key != "yes" else key for key in dict.fromkeys(keys)) or "-")
        lines.append(f"| {writer.name} | " + " | ".join(cells) + f" | {writer.source} |")
    return "\n".join(lines)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_documents_hold_the_matrix():
    """`CINEMAE_MATRIX=1` writes it."""
    pytest.importorskip("pillow_heif")
    text, made = DOCS.read_text(), matrix()
    start, end = (text.index(f"<!-- matrix {word} -->") for word in ("begins", "ends"))
    if os.environ.get("CINEMAE_MATRIX"):
        DOCS.write_text(f"{text[:start]}<!-- matrix begins -->\n{made}\n{text[end:]}")
    assert made in DOCS.read_text()


@pytest.mark.parametrize("text", [WEBUI, "狐狸 红色\nSteps: 20, Sampler: Euler a", "红色的狐狸在雪地里奔跑"])
@pytest.mark.parametrize("code", [
    ("UNICODE\0", "utf-16-be"), ("UNICODE\0", "utf-16-le"), ("UNICODE\0", "utf-16"), ("UNICODE\0", "utf-8"),
    ("UNICODE\0", "utf-8-sig"), ("ASCII\0\0\0", "utf-8"), ("\0" * 8, "utf-8"), ("", "utf-8"),
])
@pytest.mark.parametrize("padding", [b"", bytes(6)])
def test_user_comment_in_the_encodings_that_exist(text, code, padding):
    assert user_comment(code[0].encode() + text.encode(code[1]) + padding) == text


def test_user_comment_in_jis():
    assert user_comment(b"JIS\0\0\0\0\0" + "狐".encode("iso2022_jp")) == "狐"


def test_text_after_the_pixels_is_found():
    data, changed = encoded(), png_texts({"parameters": WEBUI})
    start = changed.index(b"tEXt") - 4
    length = int.from_bytes(changed[start : start + 4], "big") + 12
    assert facts(data[:-12] + changed[start : start + length] + data[-12:], "generator")


@pytest.mark.parametrize("pairs", [
    {"Title": "Steps in the snow; my job took long"}, {"Comment": "the firefly, by Sora, an imagen of grok and flux"},
    {"Author": "Sora Tanaka, Bing Crosby"}, {"Description": "Gemini and Bing met; ideograms"},
    {"Software": "GIMP 2.10"},
    {"prompt": "in the style of Midjourney"}, {"AIGC": "a word"}, {"Label": "1"},
])
def test_ordinary_text_is_no_generator(pairs):
    found = facts_of(png_texts(pairs))
    assert [fact for fact in found if fact.kind in ("generator", "source_type")] == []


@pytest.mark.parametrize(("description", "artist"), [(GROK, "Jane Doe"), ("Signature: J. Doe", UUID)])
def test_signature_without_the_uuid_is_nobodys(description, artist):
    data = encoded("JPEG", exif=exif_of({"ImageDescription": description, "Artist": artist}))
    assert facts(data, "generator") == []


def test_parameters_are_one_fact_with_an_excerpt():
    (fact,) = facts(encoded("JPEG", exif=exif_of({"UserComment": WEBUI})), "generator")
    assert (fact.source, fact.value) == ("EXIF UserComment", "Stable Diffusion WebUI")
    assert fact.statement.startswith(
        'The file holds parameters of Stable Diffusion WebUI: "a red fox Negative prompt: blurry Steps: 20'
    )
    assert fact.raw == WEBUI
    (fact,) = facts(png_texts(EASY), "generator")
    assert fact.source == "PNG text 'use_stable_diffusion_model'"


def test_description_that_mentions_a_generator_declares_nothing():
    (fact,) = facts(encoded("JPEG", exif=exif_of({"ImageDescription": "Midjourney's office"})), "generator")
    assert (fact.declares, fact.statement) == (None, "The file mentions Midjourney: \"Midjourney's office\"")


@pytest.mark.parametrize("term", ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "digitalCapture"])
@pytest.mark.parametrize("form", ["<X>{0}{1}</X>", "attribute", '<X rdf:resource="{0}{1}"/>', "QCode"])
def test_source_type_in_the_forms_of_xmp(term, form):
    space = TYPE.rpartition("/")[0] + "/"
    packet = xmp_of({}).decode()
    name = "Iptc4xmpExt:DigitalSourceType"
    if form.startswith("<"):
        end = "</rdf:Description>"
        packet = packet.replace(end, form.replace("X", name).format(space, term) + end)
    else:
        value = f"digsrctype:{term}" if form == "QCode" else space + term
        packet = packet.replace('rdf:about=""', f'rdf:about="" {name}="{value}"')
    (fact,) = facts(encoded("JPEG", xmp=packet.encode()), "source_type")
    declares = {"trainedAlgorithmicMedia": "ai", "digitalCapture": "camera"}.get(term, "composite")
    assert (fact.value, fact.declares, fact.trust) == (term, declares, None)
    assert fact.statement.startswith("The file declares itself ")
    assert fact.statement.endswith(f"({term})")


def test_packets_of_placed_files_are_not_the_files_own():
    packet = xmp_of({}).decode().replace("</rdf:Description>", (
        '<xmpMM:Pantry xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"><rdf:Bag><rdf:li><rdf:Description '
        f'Iptc4xmpExt:DigitalSourceType="{TYPE}"/></rdf:li></rdf:Bag></xmpMM:Pantry></rdf:Description>'
    ))
    assert facts(encoded("JPEG", xmp=packet.encode()), "source_type") == []


@pytest.mark.parametrize(("label", "declares"), [("1", "ai"), ("2", None), ("3", None)])
@pytest.mark.parametrize("form", ["attribute", "escaped twice", "segment", "chunk"])
def test_label_of_china(label, declares, form):
    text = LABEL.replace('"Label": "1"', f'"Label": "{label}"')
    quoted = text.replace('"', "&quot;")
    data = {
        "attribute": lambda: encoded("JPEG", xmp=xmp_of({}).decode().replace(
            'rdf:about=""', f'rdf:about="" TC260:AIGC="{quoted}"').encode()),
        "escaped twice": lambda: encoded("JPEG", xmp=xmp_of({"TC260:AIGC": quoted})),
        "segment": lambda: segments((0xE9, b"AIGC" + text.encode())),
        "chunk": lambda: with_chunks((b"AIGC", text.encode())),
    }[form]()
    (fact,) = facts(data, "source_type")
    assert (fact.value, fact.declares) == ("AIGC label", declares)
    assert f"(China's AIGC label {label})" in fact.statement
    assert fact.statement.endswith('by "demo"')


def test_ai_system_is_named():
    (fact,) = facts(encoded("JPEG", xmp=xmp_of({"Iptc4xmpExt:AISystemUsed": "Model X"})), "generator")
    assert (fact.value, fact.declares) == ("Model X", "ai")


def test_programs_are_generators_only_by_name():
    data = encoded("JPEG", exif=exif_of({"Software": "Adobe Photoshop 25.0"}))
    assert facts(data, "software")[0].value == "Adobe Photoshop 25.0"
    assert facts(data, "generator") == []


CAMERA = {
    "Make": "Apple", "Model": "iPhone 14", "LensModel": "iPhone 14 back camera",
    "DateTimeOriginal": "2024:05:01 10:00:00",
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "GIF"])
def test_camera(kind):
    (fact,) = facts(PLACES["EXIF"]["EXIF"](kind, CAMERA), "camera")
    assert (fact.value, fact.source) == ("Apple iPhone 14", "EXIF")
    assert fact.statement == (
        "The file names the camera Apple iPhone 14, taken 2024-05-01 10:00:00, lens iPhone 14 back camera"
    )
    assert fact.raw.splitlines() == [f"{key}: {value}" for key, value in CAMERA.items()]


def test_camera_in_xmp_and_what_is_absent_is_no_fact():
    packet = xmp_of({"tiff:Make": "NIKON CORPORATION", "tiff:Model": "NIKON D70"})
    (fact,) = facts(encoded("JPEG", xmp=packet), "camera")
    assert (fact.statement, fact.source) == ("The file names the camera NIKON CORPORATION NIKON D70", "XMP")
    assert [fact.kind for fact in facts_of(encoded("JPEG"))] == ["jpeg_quality"]


@pytest.mark.parametrize(("tags", "shown"), [
    ({1: "N", 2: (48.0, 51.0, 29.6), 3: "W", 4: (2.0, 17.0, 40.2)}, "48.85822, -2.29450"),
    ({1: "N", 2: (48.0, 51.0, 29.6)}, ""),
])
def test_position_is_only_said_to_be_there_until_asked_for(tags, shown):
    exif = Image.Exif()
    exif.load(exif_of(CAMERA))
    exif.get_ifd(0x8825).update(tags)
    data = encoded("JPEG", exif=exif.tobytes())
    (fact,) = facts(data, "camera")
    assert fact.statement.endswith(", with a position")
    assert "48" not in str(fact)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        asked = [fact for fact in collect(io.BytesIO(data), image, positions=True) if fact.kind == "camera"]
    assert asked[0].raw.splitlines()[-1] == f"GPS: {shown}"
    assert asked[0].statement == fact.statement


@pytest.mark.parametrize("field", ["Make", "Model", "Artist", "ImageDescription"])
@pytest.mark.parametrize("name", ["Ideogram AI", "Midjourney", "DALL-E 3", "Made with Google AI"])
def test_generator_is_never_a_camera(field, name):
    of_exif = encoded("JPEG", exif=exif_of({**CAMERA, field: name}))
    kin = {"Artist": "dc:creator", "ImageDescription": "dc:description"}.get(field, f"tiff:{field}")
    of_xmp = encoded("JPEG", exif=exif_of(CAMERA), xmp=xmp_of({kin: name}))
    for data in (of_exif, of_xmp):
        assert facts(data, "camera") == []
        assert len(facts(data, "generator")) == 1


def test_photographer_of_a_generators_name_keeps_the_camera():
    assert facts(encoded("JPEG", exif=exif_of({**CAMERA, "Artist": "Sora Gemini"})), "camera")


def test_name_of_a_person_is_a_mention_where_it_is_an_ordinary_word():
    (fact,) = facts(encoded("JPEG", exif=exif_of({**CAMERA, "Artist": "Sora"})), "generator")
    assert (fact.declares, fact.value) == (None, "Sora")


def test_comfyui_in_the_camera_fields_is_no_camera():
    name, _, pairs = next(row for row in FORMS if row[0] == "ComfyUI" and "Make" in row[2])
    data = encoded("WEBP", exif=exif_of(pairs))
    assert [fact.value for fact in facts(data, "generator")] == [name]
    assert facts(data, "camera") == []


def test_xmp_of_a_gif_is_found_among_other_extensions():
    data = gif_with_xmp(xmp_of({"Iptc4xmpExt:DigitalSourceType": TYPE}))
    assert [fact.declares for fact in facts(data, "source_type")] == ["ai"]


@pytest.mark.parametrize("quality", [1, 35, 75, 92, 100])
def test_jpeg_quality(quality):
    (fact,) = facts(encoded("JPEG", quality=quality), "jpeg_quality")
    assert fact.value == str(quality)
    assert "a table of libjpeg" in fact.statement


def test_quantisation_of_another_encoder():
    (fact,) = facts(encoded("JPEG", qtables=[list(range(1, 65))] * 2), "jpeg_quality")
    assert "another encoder" in fact.statement


def test_plain_images_say_nothing():
    assert facts_of(encoded("PNG")) == facts_of(encoded("BMP")) == ()
