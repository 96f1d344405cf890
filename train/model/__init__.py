"""The model of the paper in PyTorch.

| equation | function |
|---|---|
| Eq. 2, NLL | `cinemae.train.studies.nll.image_nll` |
| Eq. 3, global feature | `mae.MaskedAutoencoder.encode` |
| Eq. 4 and 5, LCAS | `lcas.lcas_from_sums` |
| Eq. 6, statistics | `lcas.statistics` |
| Eq. 7 to 9, head | `head.Head` |
| all of it, uint8 images to logit | `detector.CinemaeDetector` |

The default engine runs neither of these but the packed graph, `cinemae.export.graph.packed` with `packed_lcas`.
"""
