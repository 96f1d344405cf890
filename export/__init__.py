"""Torch to ONNX to TensorRT: export graphs, parity checks, deployment files.

One checkpoint on its way through `cinemae-export`:

1. `cli` parses the options; `request` checks that they fit together; `export` runs the steps below.
2. `checkpoint_export` loads the checkpoint and writes what was asked for: `fused` builds the packed graph
   (`graph.packed`, traced by `graph.tracing`), `parts` the three readable ones, `int8` a quantised one.
3. `engine_file` puts the manifest in and writes the file.
4. `parity` compares every file with eager PyTorch; `quality` measures what a precision costs on real images.
5. `export` then deploys: `tensorrt` (checked by `plan_check`), `triton`, `web`.
"""
