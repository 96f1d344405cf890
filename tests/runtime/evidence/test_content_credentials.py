"""Content Credentials: verified with c2pa-python, only reported without it, and never from the network."""

from __future__ import annotations

import http.server
import io
import sys
import threading

import pytest
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.evidence.c2pa_reports import OFFLINE
from cinemae.runtime.evidence.collect import collect
from cinemae.runtime.evidence.fact import Trust
from cinemae.runtime.images.decode import decoded
from cinemae.runtime.scoring.options import ScoringOptions
from facts_of import facts_of
from metadata_files import IMAGE, encoded
from signed_images import CREATED, DAYS, TRAINED, TYPES, certificates, signed

KINDS = {
    "JPEG": "JPEG APP11", "PNG": "PNG caBX", "TIFF": "TIFF tag 52545", "WEBP": "WebP C2PA",
    "GIF": "GIF application extension", "AVIF": "HEIF uuid box", "HEIF": "HEIF uuid box",
}
EDIT = {"action": "c2pa.color_adjustments"}


def edited(made: bytes, kind: str = "JPEG", title: str = "gen") -> bytes:
    """A signed image that an editor opened, changed and signed again."""
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [title]}}
    parent = {"title": title, "label": title, "relationship": "parentOf"}
    return signed(made, kind, generator="Demo Editor", actions=[opened, EDIT], ingredients=[(parent, made)])


def by_kind(data: bytes, kind: str) -> list:
    return [fact for fact in facts_of(data) if fact.kind == kind]


def values(data: bytes, trust_lists=()) -> list[str]:
    """The answers on the signature."""
    with decoded(data) as image:
        found = collect(io.BytesIO(data), image.opened, trust_lists)
    return [fact.value for fact in found if fact.kind == "content_credentials"]


@pytest.mark.parametrize("kind", KINDS)
def test_signed_image_gives_four_answers_and_its_declaration(kind):
    data = signed(encoded(kind), kind)
    found = by_kind(data, "content_credentials")
    assert [fact.value for fact in found] == ["valid", "signer_unchecked", "unstamped", "revocation_unchecked"]
    assert {fact.source for fact in found} == {f"C2PA manifest in {KINDS[kind]}"}
    assert found[0].statement == (
        "The signature of Test Signer, Example Newsroom is valid, and the content is what was signed"
    )
    assert [fact.kind for fact in facts_of(data)][:2] == ["source_type", "content_credentials"]
    (fact,) = by_kind(data, "source_type")
    assert fact.statement == (
        "The file declares itself made by a generative model (trainedAlgorithmicMedia), with DALL-E"
    )
    assert (fact.declares, fact.source) == ("ai", found[0].source)
    assert fact.trust == Trust("Test Signer, Example Newsroom", "valid", "unchecked", "unstamped", "unchecked")
    assert by_kind(data, "software")[0].value == "Test Generator"


@pytest.mark.parametrize(("action", "value", "declares"), [
    (CREATED, "trainedAlgorithmicMedia", "ai"),
    ({"action": "c2pa.created", "digitalSourceType": TYPES + "digitalCapture"}, "digitalCapture", "camera"),
    ({"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData"},
     "trainedAlgorithmicData", "ai"),
    ({"action": "c2pa.opened", "parameters": {"com.adobe.digitalSourceType": TRAINED}}, "trainedAlgorithmicMedia",
     "ai"),
])
def test_source_type_of_an_action_that_made_the_image(action, value, declares):
    (fact,) = by_kind(signed(IMAGE, actions=[action]), "source_type")
    assert (fact.value, fact.declares) == (value, declares)


@pytest.mark.parametrize("edit", [
    {"action": "c2pa.edited", "digitalSourceType": TRAINED, "softwareAgent": {"name": "Adobe Firefly"}},
    {"action": "c2pa.edited", "parameters": {"com.adobe.digitalSourceType": TRAINED}, "softwareAgent": "Adobe Firefly"},
])
def test_edit_with_a_generator_makes_a_composite(edit):
    data = signed(IMAGE, actions=[{"action": "c2pa.created", "digitalSourceType": TYPES + "digitalCapture"}, edit])
    capture, edited = by_kind(data, "source_type")
    assert (capture.declares, edited.declares) == ("camera", "composite")
    assert "declares a step (c2pa.edited)" in edited.statement
    assert edited.statement.endswith("with Adobe Firefly")
    assert by_kind(data, "generator") == []


def test_software_agent_by_index():
    action = {"action": "c2pa.created", "digitalSourceType": TRAINED, "softwareAgentIndex": 1}
    data = signed(IMAGE, actions=[action], fields={"softwareAgents": [{"name": "Editor"}, {"name": "Demo Diffusion"}]})
    assert by_kind(data, "source_type")[0].statement.endswith("with Demo Diffusion")


def test_generator_that_declares_no_type_is_named():
    data = signed(IMAGE, actions=[{"action": "c2pa.opened", "softwareAgent": "Bing Image Creator"}], generator="X")
    (fact,) = by_kind(data, "generator")
    assert (fact.value, fact.declares) == ("Bing Image Creator", "ai")
    (fact,) = by_kind(signed(IMAGE, generator="ChatGPT"), "generator")
    assert (fact.value, fact.declares) == ("OpenAI", None)  # its declaration is a fact of its own


def test_metadata_assertion_declares():
    assertion = {"label": "cawg.metadata", "data": {
        "@context": {"Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"},
        "Iptc4xmpExt:DigitalSourceType": TRAINED,
    }}
    data = signed(IMAGE, actions=[{"action": "c2pa.opened"}], assertions=[assertion])
    assert [fact.declares for fact in by_kind(data, "source_type")] == ["ai"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_parent_that_a_generator_made_is_declared_behind_an_editors_signature(kind):
    made = signed(encoded(kind), kind)
    data = edited(made, kind)
    (fact,) = by_kind(data, "source_type")
    assert fact.statement == (
        "An ingredient, the parent, declares itself made by a generative model (trainedAlgorithmicMedia), with DALL-E"
    )
    assert fact.source == f"C2PA manifest in {KINDS[kind]}, parent ingredient 'gen'"
    assert (fact.declares, fact.trust.signature) == ("ai", "valid")
    assert values(data)[0] == "valid"


@pytest.mark.parametrize(("relationship", "role"), [("componentOf", "component"), ("inputTo", "input")])
def test_component_does_not_make_the_image_ai(relationship, role):
    made = signed(IMAGE)
    data = signed(IMAGE, ingredients=[({"title": "sky", "relationship": relationship}, made)],
                  actions=[{"action": "c2pa.created", "digitalSourceType": TYPES + "digitalCapture"}])
    own, other = by_kind(data, "source_type")
    assert (own.declares, other.declares) == ("camera", None)
    assert f"{role} ingredient 'sky'" in other.source
    assert role in other.statement
    assert by_kind(data, "generator") == []


def test_parents_of_parents_are_followed_and_their_components_are_not_the_image():
    once = edited(signed(IMAGE))
    (fact,) = by_kind(edited(once, title="b"), "source_type")
    assert (fact.declares, fact.source.count("parent ingredient")) == ("ai", 2)
    placed = signed(IMAGE, ingredients=[({"title": "b", "relationship": "componentOf"}, once)],
                    actions=[{"action": "c2pa.created", "digitalSourceType": TYPES + "digitalCapture"}])
    assert [fact.declares for fact in by_kind(placed, "source_type")] == ["camera", None]


def test_manifest_that_is_parent_and_component_counts_as_the_parent():
    made = signed(IMAGE)
    once = edited(made)
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["b"]}}
    ingredients = [({"title": "a", "relationship": "componentOf"}, made),
                   ({"title": "b", "label": "b", "relationship": "parentOf"}, once)]
    (fact,) = by_kind(signed(once, actions=[opened, EDIT], ingredients=ingredients), "source_type")
    assert fact.declares == "ai"


def test_ingredient_that_was_opened_is_the_parent_whatever_it_is_called():
    made = signed(IMAGE)
    opened = [{"action": "c2pa.opened", "parameters": {"instanceId": "xmp:iid:1"}}, EDIT]
    ingredient = {"title": "a", "relationship": "componentOf", "instance_id": "xmp:iid:1"}
    (fact,) = by_kind(signed(made, ingredients=[(ingredient, made)], actions=opened), "source_type")
    assert (fact.declares, "the parent" in fact.statement) == ("ai", True)


def test_ingredient_that_was_changed_before_is_said_to_be_invalid():
    made = bytearray(signed(IMAGE))
    made[-30] ^= 1
    data = edited(bytes(made))
    (fact,) = by_kind(data, "source_type")
    assert (fact.trust.signature, values(data)[0]) == ("invalid", "valid")
    assert fact.statement.endswith("in Content Credentials that are NOT valid")


def test_many_ingredients_are_bounded():
    made = signed(IMAGE)
    ingredients = [({"title": str(index), "relationship": "componentOf"}, made) for index in range(40)]
    assert len(by_kind(signed(IMAGE, ingredients=ingredients), "source_type")) <= 16


def test_changed_pixels_make_the_credentials_invalid():
    data = bytearray(signed(IMAGE, "JPEG"))
    data[-30] ^= 1
    (fact,) = by_kind(bytes(data), "content_credentials")
    assert fact.value == "invalid"
    assert "NOT valid (assertion.dataHash.mismatch)" in fact.statement
    assert by_kind(bytes(data), "source_type")[0].trust.signature == "invalid"


def test_damaged_manifest_is_reported_as_unreadable():
    data = signed(IMAGE, "WEBP")
    start = data.index(b"C2PA") + 60
    assert values(data[:start] + bytes(200) + data[start + 200 :])[0] in ("unreadable", "invalid")


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_library_presence_is_reported(kind, monkeypatch):
    data = signed(encoded(kind), kind)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    (fact,) = by_kind(data, "content_credentials")
    assert fact.value == "present"
    assert fact.statement == f"Content Credentials are present and were not verified: {pip_install('provenance')}"
    assert by_kind(data, "source_type") == []


@pytest.fixture
def lists(tmp_path):
    """Trust lists: the signer's, a stranger's, and the signer's with the head of the interim list."""
    root = certificates(*DAYS)[2]
    texts = {"mine": root, "other": certificates(*DAYS, "Another Root")[2],
             "interim": b"## This interim trust list is now frozen.\n" + root}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    return {name: str(tmp_path / name) for name in texts}


@pytest.mark.parametrize(("given", "answer"), [
    (["mine"], "signer_listed"), (["other"], "signer_unlisted"), (["interim"], "signer_interim"),
    (["interim", "other", "mine"], "signer_listed"), (["other", "interim"], "signer_interim"), ([], "signer_unchecked"),
])
def test_trust_lists(lists, given, answer):
    found = values(signed(IMAGE), [lists[name] for name in given])
    assert found == ["valid", answer, "unstamped", "revocation_unchecked"]


def test_parent_is_checked_against_the_list_as_well(lists):
    data = edited(signed(IMAGE))
    with decoded(data) as image:
        facts = collect(io.BytesIO(data), image.opened, [lists["mine"]])
    assert [fact.trust.listing for fact in facts if fact.kind == "source_type"] == ["listed"]


@pytest.mark.parametrize("text", [None, b"no certificate"])
def test_trust_list_that_cannot_be_used_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "list.pem").write_bytes(text)
    with pytest.raises(UsageError):
        ScoringOptions(trust_list=(str(tmp_path / "list.pem"),))


def test_remote_manifest_is_named_and_not_fetched():
    requests = []

    class Recorder(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        data = signed(IMAGE, "JPEG", remote=address)
        (fact,) = by_kind(data, "content_credentials")
        import c2pa

        with pytest.raises(c2pa.C2paError), c2pa.Context.from_dict(OFFLINE) as context:
            c2pa.Reader("image/jpeg", io.BytesIO(data), context=context)
        server.shutdown()
    assert fact.value == "remote"
    assert address in fact.statement
    assert requests == []


def test_list_that_is_gone_is_said_and_hides_nothing(tmp_path):
    assert values(signed(IMAGE), [tmp_path / "gone.pem"]) == ["unreadable"]
