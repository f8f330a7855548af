//! What was served: access log, metrics, usage, traces.
