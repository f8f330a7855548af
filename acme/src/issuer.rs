//! The port to whoever issues: an ACME authority, or a model of one in a simulation.

use std::time::Duration;

use async_trait::async_trait;

use crate::challenge::Method;
use crate::check::Facts;
use crate::entry::{Current, Order, RevocationReason, Window};
use crate::failure::Failure;
use crate::store::SealedCertificate;

/// What an order is for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The certificate's names.
    pub names: &'a [String],
    /// How control of them may be proven, the preferred first.
    pub methods: &'a [Method],
}

/// What a step of an order led to.
#[derive(Clone, Debug)]
pub enum Advance {
    /// The next step; it is saved, and then carried out.
    Next(Order),
    /// The authority is not done: the same step is carried out again after this wait.
    Wait(Duration),
    /// The certificate, checked.
    Done {
        /// As it is kept.
        certificate: SealedCertificate,
        /// What matters of it.
        facts: Facts,
    },
}

/// The port.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// Carries out the next step of an order. A step that was carried out before, and whose result was lost in a
    /// crash, is carried out again without harm.
    async fn advance(&self, order: &Order, wanted: Wanted<'_>) -> Result<Advance, Failure>;
    /// Clears up after an order that is given up.
    async fn give_up(&self, order: &Order) -> Result<(), Failure>;
    /// When a certificate should be renewed, and how long that counts; none when the authority does not say.
    async fn window(&self, current: &Current) -> Result<Option<(Window, Duration)>, Failure>;
    /// Revokes a certificate; one that is revoked or over is no error.
    async fn revoke(&self, certificate: &SealedCertificate, reason: RevocationReason) -> Result<(), Failure>;
}
