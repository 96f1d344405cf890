"""What cinemae-export --web writes, and what it refuses to write."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import onnx
import pytest
from cinemae.export.web import onnxruntime_web, operators
from cinemae.export.web.page import joined, site_html
from cinemae.export.web.site import SHELL, site_data, write_site
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import CinemaeError, EngineError, MissingDependencyError, UsageError
from cinemae.runtime.core.files import file_sha256
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.scoring.record import RECORD_FIELDS
from onnx import TensorProto, helper
from web_site import node


@pytest.fixture
def manifest(tiny_engine):
    return read_manifest(tiny_engine)


def test_the_command_writes_a_whole_site(tiny_engine, manifest, tmp_path, command):
    exported = command(tiny_engine, "--web", tmp_path / "site")
    assert exported.code == 0, exported.err
    site = tmp_path / "site"
    written = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert written == {*SHELL[1:], "service-worker.js", tiny_engine.name}
    assert (site / tiny_engine.name).read_bytes() == tiny_engine.read_bytes()
    assert json.loads((site / "manifest.json").read_text()) == json.loads(manifest.to_json())
    page, script = (site / "index.html").read_text(), (site / "site.js").read_text()
    assert onnxruntime_web.ADDRESS in script
    assert all(file.sha256 in script for file in onnxruntime_web.FILES.values())
    assert f"connect-src 'self' {onnxruntime_web.ADDRESS};" in page
    assert "this server" not in page
    assert not [address for address in re.findall(r'(?:src|href)="([^"]*)"', page) if address.startswith(("/", "http"))]
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page)  # the policy would block them
    for name in ("site.js", "service-worker.js"):
        done = subprocess.run([node(), "--check", str(site / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert file_sha256(tiny_engine)[:12] in (site / "service-worker.js").read_text()
    assert str(site) in exported.err


def test_the_script_knows_the_thresholds_as_the_runtime_does(tiny_engine, manifest):
    calibration = Calibration(ai_from=0.75, real_below=-0.5)
    data = site_data(tiny_engine, manifest.model_copy(update={"calibration": calibration}), "ort/")
    assert data["manifest"]["calibration"] == calibration.model_dump(mode="json")
    assert tuple(data["record"]) == RECORD_FIELDS
    assert data["record"]["run"] == data["body"]["run"]
    assert data["record"]["run"]["real_below"] == -0.5
    assert data["body"]["words"]["prior"]


def test_onnxruntime_is_copied_and_pinned(tiny_engine, manifest, modules, tmp_path):
    write_site(tiny_engine, manifest, tmp_path / "site", modules.parent)
    assert {path.name for path in (tmp_path / "site" / "ort").iterdir()} == set(onnxruntime_web.FILES)
    assert "connect-src 'self';" in (tmp_path / "site" / "index.html").read_text()
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(MissingDependencyError, match="npm install onnxruntime-web@"):
        onnxruntime_web.find(other)
    for name in onnxruntime_web.FILES:
        (other / name).write_bytes(b"another version")
    with pytest.raises(MissingDependencyError, match="is not of onnxruntime-web"):
        onnxruntime_web.find(other)


def test_a_new_engine_makes_a_new_version(tiny_engine, manifest, tmp_path):
    from cinemae.export.engine_file import write_graph

    versions = []
    for index, name in enumerate(("tiny-test", "other")):
        engine = tmp_path / f"{index}.onnx"
        stored = write_graph(onnx.load(str(tiny_engine)), manifest.model_copy(update={"name": name}), engine)
        write_site(engine, stored, tmp_path / "site", None)
        versions.append((tmp_path / "site" / "service-worker.js").read_text().splitlines()[0])
    assert versions[0] != versions[1]
    write_site(engine, stored, tmp_path / "site", None)
    assert (tmp_path / "site" / "service-worker.js").read_text().splitlines()[0] == versions[1]


def test_somebody_elses_page_is_left_alone(tiny_engine, manifest, tmp_path):
    (tmp_path / "index.html").write_text("my home page")
    with pytest.raises(UsageError, match="not a page of cinemae export"):
        write_site(tiny_engine, manifest, tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.parametrize("option", ["--web", "--triton", "--out"])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_place_of_a_folder(tiny_engine, option, place, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    more = ["--web", str(tmp_path / "site")] if option == "--out" else []
    done = command(tiny_engine, option, tmp_path / place, *more)
    assert done.code == 3
    assert f"{tmp_path / place}: cannot be written ({tmp_path / 'file'} is not a folder)" in done.err


def test_a_site_needs_no_torch(tiny_engine, tmp_path):
    absent = "sys.modules['torch'] = sys.modules['fastapi'] = None"
    code = f"import sys\n{absent}\nfrom cinemae.export.cli import main\nmain()"
    arguments = [str(tiny_engine), "--web", str(tmp_path / "site")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def with_node(engine, path, operator, domain, opset=1):
    """A copy of an engine with one more operator, inside a subgraph."""
    model = onnx.load(str(engine))
    inner = helper.make_graph(
        [helper.make_node(operator, [], ["inner"], domain=domain)], "branch", [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])],
    )
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=inner, else_branch=inner))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, opset))
    onnx.save(model, str(path))


@pytest.mark.parametrize(("operator", "domain", "named"), [
    ("Magic", "com.example", "Magic (com.example, opset 1)"),
    ("DeformConv", "", "DeformConv (ai.onnx, opset 17)"),
    ("MatMulBnb5", "com.microsoft", "MatMulBnb5 (com.microsoft, opset 1)"),
])
def test_operators_that_onnxruntime_lacks_are_named(tiny_engine, tmp_path, operator, domain, named):
    with_node(tiny_engine, tmp_path / "odd.onnx", operator, domain)
    with pytest.raises(EngineError, match=re.escape(named)):
        operators.check_operators(tmp_path / "odd.onnx")


def test_operators_it_has_pass(tiny_engine, tmp_path):
    with_node(tiny_engine, tmp_path / "more.onnx", "MatMulNBits", "com.microsoft")
    operators.check_operators(tmp_path / "more.onnx")


def test_a_kernel_takes_only_the_definitions_it_was_made_for():
    assert operators.has_kernel("", "MatMul", 13)
    assert operators.has_kernel("", "MatMul", 1)
    assert operators.has_kernel("", "Conv", 22) == ((22, None) in operators.kernels()["ai.onnx", "Conv"])
    assert not operators.has_kernel("", "RoiAlign", 22)
    assert not operators.has_kernel("", "Nothing", 1)


EXPANDED = {
    "CastLike", "CenterCropPad", "GroupNormalization", "HardSwish", "Mish", "NegativeLogLikelihoodLoss", "SequenceMap",
    "SoftmaxCrossEntropyLoss", "Swish",
}
"""Operators that onnxruntime makes of others: without a kernel they are refused, although they would load. No export of
this project has one."""

LOAD = """
import * as ort from ORT;
import { readFileSync } from "node:fs";
ort.env.logLevel = "fatal";
ort.env.wasm.numThreads = 1;
const loads = [];
for (const path of JSON.parse(readFileSync(0))) {
  const bytes = new Uint8Array(readFileSync(path));
  loads.push(await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }).then(() => true, () => false));
}
console.log(JSON.stringify(loads));
process.exit(0);
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_list_is_what_the_pinned_onnxruntime_loads(modules, tmp_path):
    """One model of ONNX's operator tests for each operator and version, in float: loaded exactly where listed."""
    cases = pytest.importorskip("onnx.backend.test.case.node").collect_testcases(None)
    chosen, expected = {}, []
    for case in cases:
        opset = next((entry.version for entry in case.model.opset_import if not entry.domain), 0)
        types = {value.type.tensor_type.elem_type for value in (*case.model.graph.input, *case.model.graph.output)}
        plain = types <= {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}
        if len(case.model.graph.node) == 1 and 0 < opset <= operators.LATEST_OPSET and plain:
            chosen.setdefault((case.model.graph.node[0].op_type, opset), case.model)
    paths = []
    for (name, opset), model in chosen.items():
        if name not in EXPANDED:
            model.ir_version = min(model.ir_version, 10)
            paths.append(str(tmp_path / f"{name}-{opset}.onnx"))
            onnx.save(model, paths[-1])
            expected.append(not operators.unsupported(model.graph, {e.domain: e.version for e in model.opset_import}))
    ort = (modules / "onnxruntime-web" / "dist" / "ort.node.min.mjs").as_uri()
    script = LOAD.replace("ORT", json.dumps(ort), 1)
    done = subprocess.run(
        [node(), "--input-type=module", "-e", script], input=json.dumps(paths), capture_output=True, text=True,
        timeout=300, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(paths) > 100
    wrong = [path for path, want, found in zip(paths, expected, json.loads(done.stdout), strict=True) if want != found]
    assert not wrong


def test_a_server_page_that_changed_is_an_error_here_not_in_a_browser():
    with pytest.raises(CinemaeError, match="once is needed"):
        site_html("<html></html>", "default-src 'none'")


def test_modules_are_joined_in_the_order_of_their_imports(tmp_path):
    imports = 'import { b } from "./b.js";\nimport {\n  c,\n} from "./c.js";\n'
    (tmp_path / "a.js").write_text(f"{imports}\nexport const a = b + c;\n")
    (tmp_path / "b.js").write_text('import { c } from "./c.js";\nexport const b = c;\n')
    (tmp_path / "c.js").write_text('"use strict";\nexport const c = 1;\nexport async function later() {}\n')
    script = joined(tmp_path / "a.js")
    assert re.findall("^const (.)", script, re.MULTILINE) == ["c", "b", "a"]
    assert "import" not in script
    assert "export" not in script
