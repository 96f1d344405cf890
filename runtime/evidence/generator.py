"""Image generators recognised by the parameters and names that they write into their files.

Forms as published: `parameters` and EXIF UserComment (Stable Diffusion WebUI, modules/images.py), `prompt` and
`workflow` (ComfyUI, nodes.py), `invokeai_metadata`, `sd-metadata` and `Dream` (InvokeAI), `Software` and `Comment`
(NovelAI), `Description` with a Job ID (Midjourney), `fooocus_scheme` (Fooocus), `sui_image_params` (SwarmUI).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core.text import printable
from .fact import Evidence
from .metadata import Metadata

MAX_EXCERPT = 160
_JOB_ID = re.compile(r"Job ID: [0-9a-f]{8}-[0-9a-f-]{27}")
_INVOKE_KEYS = ("invokeai_metadata", "invokeai_graph", "sd-metadata", "Dream")
_NAMES = re.compile(
    r"NovelAI|Midjourney|DALL[-·•. ]?E|Stable ?Diffusion|ComfyUI|InvokeAI|Fooocus|SwarmUI|Adobe Firefly|"
    r"Made with Google AI|\bImagen\b|ChatGPT|GPT-4o|gpt-image|Leonardo\.Ai|Ideogram|Black Forest Labs|"
    r"Bing Image Creator|Microsoft Designer|Draw Things|Easy Diffusion|\bGrok\b",
    re.IGNORECASE,
)
"""Names of generators in a field that names a program."""


def generator_of_text(keyword: str, text: str) -> str | None:
    """The generator that writes such a text chunk or comment; None for any other text."""
    if "sui_image_params" in text:
        return "SwarmUI"
    if keyword in _INVOKE_KEYS:
        return "InvokeAI"
    if keyword == "fooocus_scheme":
        return "Fooocus"
    if keyword in ("prompt", "workflow", "") and '"class_type"' in text:
        return "ComfyUI"
    if keyword == "workflow" and '"nodes"' in text:
        return "ComfyUI"
    if "Steps: " in text and ("Sampler: " in text or "CFG scale: " in text):
        return "Stable Diffusion WebUI"
    if _JOB_ID.search(text):
        return "Midjourney"
    return None


def named_generator(text: str) -> str | None:
    """The generator that a program's name names; None for any other program."""
    match = _NAMES.search(text)
    return match[0] if match else None


def generators(metadata: Metadata) -> Iterator[Evidence]:
    """Yield a fact for each text that a generator wrote, one for each generator and place."""
    texts = [(place, keyword, text, f"{place} {keyword!r}" if keyword else place)
             for place, keyword, text in metadata.texts]
    texts.append(("EXIF", "", metadata.exif.get("comment", ""), "EXIF UserComment"))
    # ComfyUI's WebP writer puts "prompt:{...}" and "workflow:{...}" into the camera's fields
    fields = ("make", "model", "description")
    texts += [("EXIF", "", metadata.exif.get(name, ""), f"EXIF {name.title()}") for name in fields]
    seen: set[str] = set()
    for _, keyword, text, source in texts:
        name = generator_of_text(keyword, text)
        if name is not None and name not in seen:
            seen.add(name)
            yield Evidence("generator", source, f'holds parameters of {name}: "{excerpt(text)}"', name)
        elif keyword in ("Software", "Source"):
            name = named_generator(text)
            if name is not None and name not in seen:
                seen.add(name)
                yield Evidence("generator", source, f'names {name}: "{excerpt(text)}"', name)


def excerpt(text: str) -> str:
    """The start of a text on one printable line."""
    line = printable(" ".join(text[: 4 * MAX_EXCERPT].split()))
    return line if len(line) <= MAX_EXCERPT else f"{line[:MAX_EXCERPT]}..."
