"""The CUDA driver and the memory that GPU engines share."""
