"""Facts of ordinary metadata, in the forms that the programs publish."""

from __future__ import annotations

import io
import json

import pytest
from cinemae.runtime.evidence.jpeg_quality import estimate_quality
from facts_of import facts_of
from PIL import Image, PngImagePlugin, features

IMAGE = Image.effect_noise((64, 48), 60).convert("RGB")

# A1111, modules/images.py and modules/processing.py: prompt, negative prompt, settings
WEBUI = "a red fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
# ComfyUI, nodes.py, SaveImage: the graph in the forms of the API and of the editor
COMFY_PROMPT = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20}}})
COMFY_WORKFLOW = json.dumps({"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}]})

TEXTS = [
    # (chunks, generator)
    ({"parameters": WEBUI}, "Stable Diffusion WebUI"),
    ({"prompt": COMFY_PROMPT, "workflow": COMFY_WORKFLOW}, "ComfyUI"),
    ({"workflow": COMFY_WORKFLOW}, "ComfyUI"),
    # InvokeAI: invokeai_metadata since 3.0, sd-metadata in 2.x, Dream in 1.x
    ({"invokeai_metadata": json.dumps({"positive_prompt": "a red fox", "steps": 20})}, "InvokeAI"),
    ({"sd-metadata": json.dumps({"model": "stable diffusion", "image": {"prompt": "a fox"}})}, "InvokeAI"),
    ({"Dream": '"a red fox" -s 50 -S 1 -W 512 -H 512 -C 7.5 -A k_lms'}, "InvokeAI"),
    # NovelAI: Title, Description, Software, Source, Comment
    ({"Software": "NovelAI", "Source": "Stable Diffusion F1022D28", "Comment": '{"steps": 28}'}, "NovelAI"),
    # Midjourney: prompt and job in Description
    ({"Description": "a red fox --v 5 Job ID: 01234567-89ab-cdef-0123-456789abcdef"}, "Midjourney"),
    # SwarmUI, T2IParamInput.GenRawMetadata; Fooocus, modules/meta_parser.py
    ({"parameters": json.dumps({"sui_image_params": {"prompt": "a fox"}})}, "SwarmUI"),
    ({"parameters": "{}", "fooocus_scheme": "fooocus"}, "Fooocus"),
]


def encoded(kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    IMAGE.save(buffer, kind, **options)
    return buffer.getvalue()


def facts(data: bytes, kind: str) -> list:
    return [fact for fact in facts_of(data) if fact.kind == kind]


@pytest.mark.parametrize("form", ["tEXt", "zTXt", "iTXt", "iTXt, compressed"])
@pytest.mark.parametrize(("chunks", "generator"), TEXTS)
def test_generator_in_png_text(chunks, generator, form):
    info = PngImagePlugin.PngInfo()
    for key, text in chunks.items():
        if form.startswith("iTXt"):
            info.add_itxt(key, text, zip="," in form)
        else:
            info.add_text(key, text, zip=form == "zTXt")
    found = facts(encoded(pnginfo=info), "generator")
    assert found[0].value == generator
    assert found[0].source.startswith("PNG text '")


def test_text_after_the_pixels_is_found():
    data, info = encoded(), PngImagePlugin.PngInfo()
    info.add_text("parameters", WEBUI)
    chunk = encoded(pnginfo=info)
    start = chunk.index(b"tEXt") - 4
    length = int.from_bytes(chunk[start : start + 4], "big") + 12
    assert facts(data[:-12] + chunk[start : start + length] + data[-12:], "generator")


@pytest.mark.parametrize("words", ["Title", "Author", "Comment", "Description"])
def test_ordinary_text_is_no_generator(words):
    info = PngImagePlugin.PngInfo()
    info.add_text(words, "Steps in the snow; my job took long")
    assert not facts(encoded(pnginfo=info), "generator")


def with_exif(kind: str, comment: bytes = b"", **tags) -> bytes:
    exif = Image.Exif()
    exif.update({int(tag[1:], 16): value for tag, value in tags.items()})
    if comment:
        exif.get_ifd(0x8769)[0x9286] = comment
    return encoded(kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("comment", [
    b"UNICODE\0" + WEBUI.encode("utf-16-be"), b"UNICODE\0" + WEBUI.encode("utf-16-le"), b"ASCII\0\0\0" + WEBUI.encode(),
])
def test_generator_in_user_comment(kind, comment):
    (fact,) = facts(with_exif(kind, comment), "generator")
    assert (fact.value, fact.source) == ("Stable Diffusion WebUI", "EXIF UserComment")
    assert '"a red fox Negative prompt: blurry Steps: 20' in fact.statement


def test_comfyui_writes_webp_graphs_into_the_camera_fields():
    data = with_exif("WEBP", x10F="workflow:" + COMFY_WORKFLOW, x110="prompt:" + COMFY_PROMPT)
    assert [fact.value for fact in facts(data, "generator")] == ["ComfyUI"]
    assert not facts(data, "camera")


def test_comfyui_in_a_jpeg_comment():
    assert facts(encoded("JPEG", comment=COMFY_PROMPT), "generator")[0].source == "JPEG comment"


def test_programs_are_generators_only_by_name():
    assert facts(with_exif("JPEG", x131="Adobe Photoshop 25.0"), "software")[0].value == "Adobe Photoshop 25.0"
    assert facts(with_exif("JPEG", x131="Adobe Firefly 2"), "generator")[0].value == "Adobe Firefly"


def xmp(body: str, attributes: str = "") -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" {attributes}>{body}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FORMS = {
    "element": lambda term: xmp(f"<Iptc4xmpExt:DigitalSourceType>{TYPE}{term}</Iptc4xmpExt:DigitalSourceType>"),
    "attribute": lambda term: xmp("", f'Iptc4xmpExt:DigitalSourceType="{TYPE}{term}"'),
    "resource": lambda term: xmp(f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{TYPE}{term}"/>'),
    "QCode": lambda term: xmp("", f'Iptc4xmpExt:DigitalSourceType="digsrctype:{term}"'),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("form", FORMS)
def test_source_type_in_xmp(kind, form):
    packet = FORMS[form]("trainedAlgorithmicMedia")
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        data = encoded("PNG", pnginfo=info)
    else:
        data = encoded(kind, **({"tiffinfo": {700: packet}} if kind == "TIFF" else {"xmp": packet}))
    (fact,) = facts(data, "source_type")
    assert fact.value == "trainedAlgorithmicMedia"
    assert fact.statement == "declares itself made by a generative model (trainedAlgorithmicMedia)"


def test_xmp_names_of_generators():
    found = facts(encoded("JPEG", xmp=xmp("<Iptc4xmpExt:AISystemUsed>Model X</Iptc4xmpExt:AISystemUsed>"
                  "<photoshop:Credit>Made with Google AI</photoshop:Credit>")), "generator")
    assert [fact.value for fact in found] == ["Model X", "Made with Google AI"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_camera(kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Apple", "iPhone 14"
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0xA434: "iPhone 14 back camera"})
    (fact,) = facts(encoded(kind, exif=exif), "camera")
    assert fact.value == "Apple iPhone 14"
    assert fact.statement == "names the camera Apple iPhone 14, lens iPhone 14 back camera, exposure settings present"


def test_tiff_is_an_exif_structure():
    data = encoded("TIFF", tiffinfo={271: "NIKON CORPORATION", 272: "NIKON D70"})
    (fact,) = facts(data, "camera")
    assert fact.statement == "names the camera NIKON CORPORATION NIKON D70, no lens, no exposure settings"


@pytest.mark.parametrize("quality", [1, 35, 75, 92, 100])
def test_jpeg_quality(quality):
    (fact,) = facts(encoded("JPEG", quality=quality), "jpeg_quality")
    assert fact.value == str(quality)
    assert "a table of libjpeg" in fact.statement


def test_quantisation_table_is_read_in_pillows_order():
    with Image.open(io.BytesIO(encoded("JPEG", qtables=[list(range(1, 65))] * 2))) as image:
        table = image.quantization[0]
    (fact,) = facts(encoded("JPEG", qtables=[list(range(1, 65))] * 2), "jpeg_quality")
    assert fact.value == str(estimate_quality(table))
    assert "another encoder" in fact.statement


def test_plain_images_say_nothing():
    assert facts_of(encoded("PNG")) == ()
    assert facts_of(encoded("BMP")) == ()
