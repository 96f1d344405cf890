"""`cinemae-run`: one record for each input, in input order.

One image on its way from the command to its record:

1. `cli.run` parses the options; `scan.scan` checks them and starts everything below.
2. `scan.inputs` and `scan.walk` name the image.
3. `pipeline.decode_and_score` decodes ahead in threads and forms batches; it calls the two steps of the `detector`:
4. `Detector.prepare`: `decode`, `preprocess`, `evidence.collect` (facts from the file), `reasons`.
5. `Detector.score`: the engine's `infer` (`engines.onnx` for the default engine), `verdict`, `records`.
6. `scan.writers` writes the record; `scan.tally` counts it; `report` draws it.
"""
