"""The checks of `cinemae doctor` (does scoring work here?) and the timings of `cinemae bench` (how fast is it?)."""
