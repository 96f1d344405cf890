"""The checks of `cinemae-doctor` (does it work here?) and the timings of `cinemae-bench` (how fast is it?)."""
