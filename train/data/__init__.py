"""Labelled images on disk: layouts of the published benchmarks, audits, balancing and corruptions."""
