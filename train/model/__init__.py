"""The model of the paper in PyTorch.

| equation | function |
|---|---|
| Eq. 2, NLL | `cinemae.train.studies.nll.nll_of` |
| Eq. 3, global feature | `detector.CinemaeDetector.f_global` |
| Eq. 4 and 5, LCAS | `lcas.lcas_from_sums` |
| Eq. 6, statistics | `lcas.statistics` |
| Eq. 7 to 9, head | `head.Head` |
| all of it, uint8 images to logit | `detector.CinemaeDetector` |

The default engine runs none of these but the packed graph, `cinemae.export.graph.packed` with `packed_lcas`.
"""
