//! What every answer of an edge carries, by which the platform knows its own.

/// The value of `Server`.
pub const SERVER: &str = "AstroCloud";
/// The field that names the deployment that answered. It passes through CDNs.
pub const DEPLOYMENT: &str = "x-astrocloud-deployment";
