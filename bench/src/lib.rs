//! Load benchmarks of the platform
