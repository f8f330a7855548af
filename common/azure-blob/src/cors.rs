//! Rules for browsers (CORS): pages of the dashboards may PUT to signed URLs
//! (<https://learn.microsoft.com/rest/api/storageservices/cross-origin-resource-sharing--cors--support-for-the-azure-storage-services>).

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{AzureBlob, AzureBlobError, Made};

/// The service's settings; a part that is left out of a PUT stays as it is.
const SETTINGS: &str = "/?restype=service&comp=properties";
/// Rules of an account at most.
const RULES_MAX: usize = 5;
/// What the dashboards' requests look like. The rule with just this is theirs; all others are somebody else's.
const METHODS: &str = "PUT";
const HEADERS: &str = "content-type,x-ms-blob-type";
const EXPOSED: &str = "x-ms-error-code,x-ms-request-id";
/// Browsers ask again after this, seconds.
const MAX_AGE: u32 = 3600;

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename = "StorageServiceProperties")]
struct Settings {
    #[serde(rename = "Cors", default)]
    cors: Rules,
}

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct Rules {
    #[serde(rename = "CorsRule", default)]
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    allowed_origins: String,
    allowed_methods: String,
    #[serde(default)]
    allowed_headers: String,
    #[serde(default)]
    exposed_headers: String,
    max_age_in_seconds: u32,
}

impl Rule {
    fn is_ours(&self) -> bool {
        self.allowed_methods == METHODS && self.allowed_headers == HEADERS
    }
}

/// The rules with one in which these origins are; nothing when they are so already.
fn with_origins(mut rules: Vec<Rule>, origins: &[String]) -> Result<Option<Vec<Rule>>, AzureBlobError> {
    let ours = rules.iter().position(Rule::is_ours);
    let before = ours.map(|at| rules[at].allowed_origins.clone()).unwrap_or_default();
    let mut all: Vec<&str> = before.split(',').filter(|origin| !origin.is_empty()).collect();
    for origin in origins {
        if !all.contains(&origin.as_str()) {
            all.push(origin);
        }
    }
    let all = all.join(",");
    if all == before {
        return Ok(None);
    }
    let rule = Rule {
        allowed_origins: all,
        allowed_methods: METHODS.to_owned(),
        allowed_headers: HEADERS.to_owned(),
        exposed_headers: EXPOSED.to_owned(),
        max_age_in_seconds: MAX_AGE,
    };
    match ours {
        Some(at) => rules[at] = rule,
        None if rules.len() >= RULES_MAX => return Err(AzureBlobError::TooManyRules(rules.len())),
        None => rules.push(rule),
    }
    Ok(Some(rules))
}

impl AzureBlob {
    /// Lets pages of these origins PUT to signed URLs. Rules of others, and origins from before, stay.
    ///
    /// # Errors
    /// When the account's rules can't be read or changed, or there are too many of them.
    pub async fn allow_origins(&self, origins: &[String]) -> Result<Made, AzureBlobError> {
        let refused = |answer: &crate::service::Answer, what| match answer.status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => AzureBlobError::Forbidden {
                what,
                said: answer.said(),
                remedy: "run setup once with a key of the account (objects.identity = \"key\"), or with an identity \
                         that has the role Storage Account Contributor",
            },
            _ => answer.refused("the rules for browsers (CORS)"),
        };
        let found = self.service.ask(Method::GET, SETTINGS, String::new()).await?;
        if found.status != StatusCode::OK {
            return Err(refused(&found, "read the account's rules for browsers (CORS)"));
        }
        let settings: Settings = quick_xml::de::from_str(found.body.trim_start_matches('\u{feff}'))
            .map_err(|e| AzureBlobError::Refused { what: "the rules for browsers (CORS)", said: e.to_string() })?;
        let Some(rules) = with_origins(settings.cors.rules, origins)? else { return Ok(Made::Already) };
        let text = quick_xml::se::to_string(&Settings { cors: Rules { rules } })
            .map_err(|e| AzureBlobError::Config(e.to_string()))?;
        let set = self.service.ask(Method::PUT, SETTINGS, text).await?;
        if set.status != StatusCode::ACCEPTED {
            return Err(refused(&set, "change the account's rules for browsers (CORS)"));
        }
        Ok(Made::Now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn other(origin: &str) -> Rule {
        Rule {
            allowed_origins: origin.to_owned(),
            allowed_methods: "GET".to_owned(),
            allowed_headers: String::new(),
            exposed_headers: String::new(),
            max_age_in_seconds: 1,
        }
    }

    #[test]
    fn origins_are_added_to_the_own_rule_and_others_rules_stay() {
        let origins = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let first = with_origins(vec![other("a")], &origins("https://x")).unwrap().unwrap();
        assert_eq!(first[0], other("a"));
        assert_eq!(with_origins(first.clone(), &origins("https://x")).unwrap(), None);
        let second = with_origins(first, &origins("https://y")).unwrap().unwrap();
        assert_eq!((second.len(), second[1].allowed_origins.as_str()), (2, "https://x,https://y"));
        let full = vec![other("a"); RULES_MAX];
        assert!(with_origins(full, &origins("https://x")).unwrap_err().to_string().contains("remove one"));
    }

    #[test]
    fn settings_are_read_and_written_as_azure_has_them() {
        let text = "<StorageServiceProperties><Logging><Version>1.0</Version></Logging><Cors><CorsRule>\
            <AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods><AllowedHeaders/>\
            <ExposedHeaders/><MaxAgeInSeconds>1</MaxAgeInSeconds></CorsRule></Cors></StorageServiceProperties>";
        let read: Settings = quick_xml::de::from_str(text).unwrap();
        assert_eq!(read.cors.rules, [other("*")]);
        let again: Settings = quick_xml::de::from_str(&quick_xml::se::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        let none: Settings =
            quick_xml::de::from_str("<StorageServiceProperties><Cors/></StorageServiceProperties>").unwrap();
        assert_eq!(none, Settings::default());
    }
}
