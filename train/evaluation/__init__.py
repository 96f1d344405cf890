"""Figures of a fitted head on labelled images: `evaluate` scores, `metrics` computes, `eval_files` writes."""
