"""Content Credentials (C2PA): verified offline with c2pa-python, or reported as present without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, BinaryIO, Literal, TypeAlias

from ..core.environment import pip_install
from ..core.text import shown
from .c2pa_reports import Reports, items, read_reports
from .c2pa_trust import answers, trust_of
from .fact import Declared, Evidence, Trust
from .metadata import Metadata
from .source_type import source_type
from .writers import named

MAX_STORE = 1 << 24
"""Bytes of all manifests of a file: c2pa takes about a second for one mebibyte."""
MAX_MANIFESTS, MAX_ACTIONS = 32, 256
INCEPTION = ("c2pa.created", "c2pa.opened")
"""Actions that say how the whole image came to be; every other one speaks of a part or a step."""
OPENED = "c2pa.opened"
Role: TypeAlias = Literal["", "parent", "component", "input"]
_ROLES: dict[str, Role] = {"parentOf": "parent", "componentOf": "component", "inputTo": "input"}


def content_credentials(
    file: BinaryIO, metadata: Metadata, trust_lists: Sequence[str | PathLike[str]]
) -> Iterator[Evidence]:
    """Yield the facts of the C2PA manifest in a file, or that XMP names a manifest elsewhere, which is not fetched."""
    if metadata.c2pa is None:
        for text in metadata.texts:
            if text.source == "XMP dcterms:provenance":
                statement = f"The file names Content Credentials at {shown(text.text)}, which were not fetched"
                yield Evidence("content_credentials", text.source, statement, "remote")
        return
    mime, place, size = metadata.c2pa
    source = f"C2PA manifest in {place}"
    try:
        if size > MAX_STORE:
            raise ValueError(f"{size:,} bytes of manifests are more than {MAX_STORE:,}")
        yield from list(facts_of_reports(read_reports(file, mime, trust_lists), source))
    except ImportError:
        statement = f"Content Credentials are present and were not verified: {pip_install('provenance')}"
        yield Evidence("content_credentials", source, statement, "present")
    except Exception as error:  # c2pa raises almost anything on damaged manifests, and its report may lack any part
        reason = shown(str(error).partition("\n")[0] or type(error).__name__)
        statement = f"Content Credentials are present and cannot be verified ({reason})"
        yield Evidence("content_credentials", source, statement, "unreadable")


def facts_of_reports(reports: Reports, source: str) -> Iterator[Evidence]:
    """The four answers on the manifest's signature, then what it and its ingredients declare."""
    manifests = reports.base["manifests"]
    for label, role, place in _reached(reports.base):
        manifest = manifests[label]
        trust, stamp, failures = trust_of(reports, label)
        where = source + place
        if not role:
            yield from answers(trust, stamp, failures, source)
        subject = {"": "The file", "component": "An ingredient, a component,"}.get(role, f"An ingredient, the {role},")
        doubt = "" if trust.signature == "valid" else " in Content Credentials that are NOT valid"
        for uri, action, agent in _declared(manifest):
            part = action not in ("", *INCEPTION)
            verb = f"{subject} declares {f'a step ({shown(action)}) as' if part else 'itself'}"
            fact = source_type(uri, where, verb, trust=trust, agent=agent)
            declares: Declared | None = "composite" if part and fact.declares == "ai" else fact.declares
            declares = None if role in ("component", "input") else declares
            yield replace(fact, statement=fact.statement + doubt, declares=declares, trust=trust)
        if role in ("", "parent"):
            yield from _programs(manifest, where, subject, trust)


def _programs(manifest: dict[str, Any], source: str, subject: str, trust: Trust) -> Iterator[Evidence]:
    """The programs of a manifest: generators by name where no source type is declared, and the one that wrote it."""
    made_by = [_name(item) for item in items(manifest.get("claim_generator_info"))]
    made_by = made_by[:1] or [_name(manifest.get("claim_generator"))]
    agents = [agent for uri, action, agent in _declared(manifest, without_type=True) if not uri and action in INCEPTION]
    is_declared = any(_declared(manifest))  # what the manifest declares is more exact than a name
    for name in dict.fromkeys(filter(None, (*agents, *made_by))):
        writer = named(name)
        if writer is not None:
            yield Evidence("generator", source, f'{subject} names {writer.name} as its maker: "{name}"', writer.name,
                           declares=None if is_declared else writer.declares, trust=trust)
        elif name in made_by:
            yield Evidence("software", source, f'{subject} was signed with "{name}"', name, trust=trust)


def _reached(report: dict[str, Any]) -> Iterator[tuple[str, Role, str]]:
    """Yield (label, role, place) of the active manifest and of those of its ingredients, each once, parents first."""
    queue: list[tuple[str, Role, str]] = [(str(report["active_manifest"]), "", "")]
    seen: set[str] = set()
    while queue and len(seen) < MAX_MANIFESTS:
        label, role, place = queue.pop(0)
        if label in seen or not isinstance(report["manifests"].get(label), dict):
            continue
        seen.add(label)
        yield label, role, place
        manifest = report["manifests"][label]
        opened = _opened(manifest)
        parents: list[tuple[str, Role, str]] = []
        for item in items(manifest.get("ingredients")):
            own = _ROLES.get(str(item.get("relationship")), "component")
            if own == "component" and opened & {str(item.get(key)) for key in ("label", "instance_id")}:
                own = "parent"  # Photoshop up to 2025 calls the file that was opened a component
            next_role = role if role in ("component", "input") else own
            title = shown(item.get("title") or "untitled")
            following = parents if next_role == "parent" else queue
            following.append((str(item.get("active_manifest")), next_role, f"{place}, {own} ingredient {title!r}"))
        queue = parents + queue


def _opened(manifest: dict[str, Any]) -> set[str]:
    """Labels and instances of the ingredients that the action c2pa.opened names."""
    names: set[str] = set()
    for _, action in _actions(manifest):
        parameters = action.get("parameters")
        if action.get("action") != OPENED or not isinstance(parameters, dict):
            continue
        links = [parameters.get("ingredient"), *items(parameters.get("ingredients"))]
        names |= {str(link["url"]).rpartition("/")[2] for link in links if isinstance(link, dict) and "url" in link}
        values = [parameters.get(key) for key in ("instanceId", "ingredientIds", "org.cai.ingredientIds")]
        values += [action.get("instanceId")]
        names |= {str(one) for value in values for one in (value if isinstance(value, list) else [value]) if one}
    return names


def _actions(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield (data of the assertion, action) of a manifest's actions."""
    count = 0
    for assertion in items(manifest.get("assertions")):
        data = assertion.get("data")
        if str(assertion.get("label", "")).startswith("c2pa.actions") and isinstance(data, dict):
            for action in items(data.get("actions")):
                count += 1
                if count > MAX_ACTIONS:
                    return
                yield data, action


def _declared(manifest: dict[str, Any], *, without_type: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield (source type, action, software agent), each once; "" for what is not stated.

    Args:
        manifest: of c2pa's report.
        without_type: also yield actions that state no source type.
    """
    seen: dict[tuple[str, str, str], None] = {}
    for data, action in _actions(manifest):
        kind = str(action.get("action", ""))
        template: dict[str, Any] = next((one for one in items(data.get("templates")) if one.get("action") == kind), {})
        agents, index = items(data.get("softwareAgents"), str), action.get("softwareAgentIndex")
        agent = action.get("softwareAgent") or template.get("softwareAgent")
        if not agent and isinstance(index, int) and 0 <= index < len(agents):
            agent = agents[index]
        uri = next(filter(None, map(_type_of, (action, action.get("parameters"), template))), "")
        if uri or without_type:
            seen[uri, kind, _name(agent)] = None
    for assertion in items(manifest.get("assertions")):
        if uri := _type_of(assertion.get("data")):
            seen[uri, "", ""] = None
    yield from seen


def _type_of(values: object) -> str:
    """The source type among the keys of a mapping: digitalSourceType, with any prefix or vendor's name before it."""
    if not isinstance(values, dict):
        return ""
    found = (value for key, value in values.items() if str(key).lower().endswith("digitalsourcetype"))
    return next((value for value in found if isinstance(value, str) and value), "")


def _name(software: object) -> str:
    """The name of a program, given as text or as {"name": ...}."""
    if isinstance(software, dict):
        software = software.get("name")
    return shown(software) if isinstance(software, str) else ""
