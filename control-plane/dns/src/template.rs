//! Records that mail providers ask for.

use hickory_proto::rr::Name;

use crate::{
    edit::Change,
    master::{self, MasterError},
};

/// A set of records that is added in one edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Mail with Google Workspace, by <https://support.google.com/a/answer/174125> (one MX since 2023) and
    /// <https://support.google.com/a/answer/33786> (SPF).
    GoogleWorkspace,
    /// Mail with Microsoft 365, by
    /// <https://learn.microsoft.com/microsoft-365/enterprise/external-domain-name-system-records>.
    Microsoft365,
}

impl Template {
    /// The changes that add it to the zone `origin`. What stands there already, such as another MX, is the caller's to
    /// remove in the same edit.
    ///
    /// # Errors
    /// When the zone's name is so long that the records' names do not fit.
    pub fn changes(self, origin: &Name) -> Result<Vec<Change>, MasterError> {
        let text = match self {
            Self::GoogleWorkspace => {
                "@ 3600 IN MX 1 smtp.google.com.\n@ 3600 IN TXT \"v=spf1 include:_spf.google.com ~all\"\n".to_owned()
            }
            Self::Microsoft365 => {
                // Microsoft names its mail host after the domain, with dashes for dots.
                let labels: Vec<String> =
                    origin.to_lowercase().iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect();
                format!(
                    "@ 3600 IN MX 0 {}.mail.protection.outlook.com.\n\
                     @ 3600 IN TXT \"v=spf1 include:spf.protection.outlook.com -all\"\n\
                     autodiscover 3600 IN CNAME autodiscover.outlook.com.\n",
                    labels.join("-")
                )
            }
        };
        Ok(master::read(&text, origin)?.into_iter().map(Change::Add).collect())
    }
}
