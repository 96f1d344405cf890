"""The readable reference: encoder, decoder and head as three graphs, LCAS in numpy."""
