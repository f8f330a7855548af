//! Which instance of an app is asked: load, health, ejection, retries.
