"""`cinemae run`: one record for each input, in input order.

One image on its way from the command to its record:

1. `cli.run` parses the options into `options.ScanOptions`; `scan.scan` starts everything below, in a `session.Session`.
2. `scan.inputs` names the image, a `NamedSource`; `images.walk` finds those of folders.
3. `scoring.pipeline.decode_and_score` decodes ahead in threads and forms batches; it calls two steps of the `Detector`:
4. `Detector.prepare` (`scoring.prepare`): `images.frames` decodes and crops, `evidence.collect` reads the file's facts,
   `scoring.reasons` says what is unusual.
5. `Detector.begin`: the engine's `begin` (`engines.onnx` for the default engine); the function that `begin` returns
   makes the record by `scoring.verdict.record_of`.
6. `scan.tally` counts the record; `scan.writers`, or `scan.table` on a terminal, writes it; `report` draws it.
"""
