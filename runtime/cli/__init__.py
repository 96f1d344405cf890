"""The commands of the runtime: parse and call, nothing else."""
