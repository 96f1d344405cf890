"""Engines: files on disk that become objects with an `infer` method, one module or folder for each backend.

`load` picks the backend, `base` defines what a backend does, `file` checks ONNX files. The backends are `onnx` (the
default: the fused graph in onnxruntime), `parts` (three graphs, LCAS in numpy), `openvino`, `tensorrt` (with `cuda`).

To add a backend:

1. Write `engines/NAME.py` with a subclass of `base.Engine`. Its `infer` calls `base.checked_images` first and returns a
   `base.EngineOutput`; where the backend computes beside the CPU, it overrides `begin` as well.
2. Give the module `open_engine(path, device, threads)`. For an `.onnx` file it starts with
   `onnx.engine.checked_manifest`, which checks the file. Failures of the backend become `EngineError`; a missing
   package, `MissingDependencyError` with the pip command. Import the package inside a function, never at the top.
3. Add the device to `core.environment.Device`, and the module or the file's suffix to `load.load_engine`.
4. Add a test beside `tests/runtime/engines/test_openvino.py` that compares its numbers with the onnxruntime backend,
   and an extra with the package to `pyproject.toml`.
"""
