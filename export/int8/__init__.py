"""INT8: activation ranges, a quantisation recipe within a drift limit, and the rewritten graph."""
