//! The worker: fetches source, builds it in a sandbox, publishes it and runs apps
