"""Image generators, recognised by the parameters and names that they write into files: one table, one row a writer.

To add a writer: a row here, and in tests/helpers/writer_forms.py the text that it writes, with its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from .fact import Declared, Evidence, Text, excerpt, raw

MAX_SEARCHED, MAX_NAME = 1 << 16, 1 << 11
"""Characters of one text that are searched for parameters and for names, from its start."""
MAX_TOTAL = 1 << 20
"""Characters of all texts that are searched."""

PROGRAM_FIELDS = frozenset((
    "Make", "Model", "Software", "CreatorTool", "Credit", "Source", "softwareAgent", "ProcessingSoftware",
    "Originating Program", "ImageEditor", "RAWDevelopingSoftware", "ImageEditingSoftware", "MetadataEditingSoftware",
    "AISystemUsed", "LensModel", "Creator Tool", "generator",
))
"""Fields that name a program or a device."""
PERSON_FIELDS = frozenset(("Artist", "creator", "By-line", "Photographer", "XPAuthor", "Author", "Copyright", "rights"))
PROSE_FIELDS = frozenset((
    "ImageDescription", "description", "Description", "title", "Title", "Caption", "Headline", "Object Name", "Comment",
    "UserComment", "Special Instructions", "Instructions", "Keywords", "XPTitle", "XPComment", "XPKeywords",
    "XPSubject", "ImageTitle", "source", "",
))
_NAMED_IN = PROGRAM_FIELDS | PERSON_FIELDS | PROSE_FIELDS
CAMERA_FIELDS = frozenset((
    "Make", "Model", "Artist", "ImageDescription", "creator", "By-line", "description", "Caption", "Photographer",
    "XPAuthor", "Author", "Description",
))
"""A generator that is named in one of these makes the others no camera's."""


@dataclass(frozen=True)
class Writer:
    """A program or service that generates images, or edits them with a generator.

    Attributes:
        name: as facts give it.
        source: where its form is published, or was read.
        names: pattern of its name in any field.
        program: pattern of its name in `PROGRAM_FIELDS` alone, for names that are ordinary words too.
        forms: its parameters: (pattern of the whole key, patterns that the text holds, all of them).
        also: patterns of the whole key and the whole text of another field that must be there.
        declares: what its name or its parameters say of the image.
    """

    name: str
    source: str
    names: str
    program: str = r"(?!)"
    forms: tuple[tuple[str, ...], ...] = ()
    also: tuple[str, str] | None = None
    declares: Declared = "ai"


_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
WRITERS = (
    Writer("SwarmUI", "SwarmUI, T2IParamInput.GenRawMetadata", r"SwarmUI", forms=((".*", '"sui_image_params"'),)),
    Writer("InvokeAI", "InvokeAI 1 to 5, PNG text", r"Invoke ?AI",
           forms=(("invokeai_metadata|invokeai_graph|invokeai_workflow|sd-metadata|Dream",),)),
    Writer("Fooocus", "Fooocus 2.2, modules/meta_parser.py", r"Fooocus", forms=(("fooocus_scheme",),)),
    Writer("Easy Diffusion", "easydiffusion, save_utils.py TASK_TEXT_MAPPING; sdkit 2.0, file_utils.py save_dicts",
           r"Easy ?Diffusion", forms=(
               ("use_stable_diffusion_model|Stable Diffusion model",),
               (".*", r'"(use_stable_diffusion_model|Stable Diffusion model)"\s*:'),
               (".*", r'"(num_inference_steps|Steps)"\s*:', r'"(guidance_scale|Guidance Scale)"\s*:'))),
    Writer("ComfyUI", "ComfyUI, nodes.py SaveImage; comfy_api/latest/_ui.py for WebP, in Make and Model", r"ComfyUI",
           forms=((".*", r'"class_type"\s*:'), ("workflow", '"nodes"'),
                  (".*", r'"nodes"\s*:', r'"(last_node_id|links)"\s*:'))),
    Writer("Draw Things", "Draw Things, XMP exif:UserComment and xmp:CreatorTool", r"Draw Things",
           forms=((".*", r'"c"\s*:\s*"', r'"uc"\s*:\s*"', r'"sampler"\s*:'),)),
    Writer("NovelAI", "NovelAI, PNG Title, Software, Source, Comment", r"NovelAI",
           forms=((".*", r'"uc"\s*:', r'"(request_type|signed_hash|uncond_scale)"\s*:'),)),
    Writer("Stable Diffusion WebUI", "stable-diffusion-webui, modules/images.py and processing.py",
           r"stable-diffusion-webui|AUTOMATIC1111|SD\.Next",
           forms=((".*", r"Steps: \d+\b", r"(Sampler|CFG scale|Seed|Schedule type): "),)),
    Writer("Midjourney", "Midjourney, Description of PNG and XMP", r"Midjourney", forms=((".*", f"Job ID: {_UUID}"),)),
    Writer("Grok", "xAI, EXIF of JPEG downloads: a signature, and the image's UUID as artist", r"Grok Imagine|xAI Grok",
           r"\bGrok\b|^xAI\b", (("ImageDescription|description", r"^Signature:\s*[A-Za-z0-9+/=_-]{64,}\s*$"),),
           also=("Artist|creator", _UUID)),
    Writer("FLUX", "black-forest-labs/flux, src/flux/util.py save_image",
           r"Black Forest Labs|AI generated;(txt|img)2img;flux|\bFLUX\.[12]", r"^FLUX\b|^FLUX\d"),
    Writer("Stable Diffusion", "Stability AI, C2PA signer; names of models", r"Stable ?Diffusion|DreamStudio",
           r"^Stability AI|^SDXL\b"),
    Writer("DALL-E", "OpenAI, C2PA softwareAgent", r"DALL[-·•. ]?E\b"),
    Writer("Sora", "OpenAI, C2PA softwareAgent", r"OpenAI Sora|Sora by OpenAI", r"^Sora([- ]\d.*)?$"),
    Writer("OpenAI", "OpenAI, C2PA claim generator", r"ChatGPT|GPT-4o|gpt-image|OpenAI API", r"^OpenAI\b"),
    Writer("Edited with Google AI", "Google Photos, IPTC Credit", r"Edited (with|by) Google AI", declares="composite"),
    Writer("Made with Google AI", "Google, IPTC Credit", r"(Made|Created|Generated) (with|by) Google AI"),
    Writer("Gemini", "Google, C2PA claim generator; names of models",
           r"Google Gemini|Gemini[ -][\d.]+[ -](Pro|Flash)|gemini-[\d.]+-\w+|Nano Banana", r"^Gemini([- ]\d.*)?$"),
    Writer("Imagen", "Google, Vertex AI; names of models", r"Google Imagen|\bImagen[ -]\d", r"^Imagen([- ]\d.*)?$"),
    Writer("Adobe Firefly", "Adobe, C2PA softwareAgent (c2pa-rs, sdk/tests/fixtures/ocsp.jpg)",
           r"Adobe[ _]Firefly|Generated (with|by) Firefly", r"^Firefly\b"),
    Writer("Bing Image Creator", "Microsoft, C2PA softwareAgent and claim generator",
           r"Bing Image Creator|Image Creator (from|in) |Microsoft Designer|Microsoft[ _]Responsible[ _]AI",
           r"^MAI-Image|^(Microsoft )?(Bing|Copilot)$"),
    Writer("Meta AI", "Meta, Imagine with Meta AI (iptc.org, February 2024)",
           r"\bMeta AI\b|Imagin(e|ed) with (Meta|AI)\b"),
    Writer("Ideogram", "Ideogram, EXIF Make", r"Ideogram[ .]AI|^Ideogram$", r"^Ideogram"),
    Writer("Recraft", "Recraft, name of the service", r"Recraft(\.ai| AI| V\d)|^Recraft$", r"^Recraft"),
    Writer("Leonardo.Ai", "Leonardo.Ai, name of the service", r"Leonardo\. ?Ai\b|Leonardo AI\b"),
    Writer("Reve", "Reve, EXIF Software and XMP CreatorTool", r"\breve\.com\b"),
    Writer("Seedream", "ByteDance, C2PA claim generator and AIGC labels of Seedream, Doubao, Jimeng, Dreamina",
           r"Seedream|SeedEdit|\bDoubao\b|豆包|\bJimeng\b|即梦|\bDreamina\b"),
    Writer("Qwen-Image", "Alibaba, Qwen-Image model card", r"Qwen[- ]Image|Tongyi ?Wanxiang|通义万相", r"^Qwen"),
    Writer("an unnamed generator", "ordinary wording of credit lines",
           r"\bAI[- ]generated\b|\b(Generated|Created|Made) (with|by|using) (generative )?AI\b"),
)
"""The writers; of a text that several recognise, the first one's. Anyone can write these texts."""

_FORMS = [(writer, re.compile(key), [*map(re.compile, parts)]) for writer in WRITERS for key, *parts in writer.forms]
_NAMES = [
    (writer, re.compile(writer.names, re.IGNORECASE), re.compile(writer.program, re.IGNORECASE)) for writer in WRITERS
]


How: TypeAlias = Literal["holds parameters of", "names", "mentions"]


@dataclass(frozen=True)
class Found:
    """A writer of whom a text holds parameters, whom it names, or whom it mentions among other words."""

    writer: Writer
    text: Text
    how: How


def named(name: str) -> Writer | None:
    """The writer that a field of a program names; None for any other program."""
    return next((one for one, names, program in _NAMES if names.search(name) or program.search(name)), None)


def writers_of(texts: Sequence[Text]) -> Iterator[Found]:
    """Yield the writers of a file: at most one for each text."""
    left = MAX_TOTAL
    for text in texts:
        searched = text.text[: min(MAX_SEARCHED, left)]
        left -= len(searched)
        if writer := next(_by_form(text.key, searched, texts), None):
            yield Found(writer, text, "holds parameters of")
        elif text.key in _NAMED_IN:
            name = searched[:MAX_NAME]
            writer = next((one for one, names, _ in _NAMES if names.search(name)), None)
            certain = text.key in PROGRAM_FIELDS or (writer is not None and text.key in PERSON_FIELDS)
            writer = writer or (None if text.key in PROSE_FIELDS else named(name))
            if writer is not None:
                yield Found(writer, text, "names" if certain else "mentions")


def _by_form(key: str, text: str, texts: Sequence[Text]) -> Iterator[Writer]:
    for writer, pattern, parts in _FORMS:
        if pattern.fullmatch(key) and all(part.search(text) for part in parts):
            key_of_other, other = writer.also or ("", "")
            if writer.also is None or any(
                re.fullmatch(key_of_other, one.key) and re.fullmatch(other, one.text.strip()) for one in texts
            ):
                yield writer


def generators(found: Sequence[Found]) -> Iterator[Evidence]:
    """Yield one fact for each writer: of its parameters, else of its name."""
    seen: set[str] = set()
    for one in sorted(found, key=lambda one: get_args(How).index(one.how)):
        writer, text = one.writer, one.text
        if writer.name not in seen:
            seen.add(writer.name)
            yield Evidence(
                "generator", text.source, f'The file {one.how} {writer.name}: "{excerpt(text.text)}"', writer.name,
                raw=raw(text.text), declares=None if one.how == "mentions" else writer.declares,
            )
