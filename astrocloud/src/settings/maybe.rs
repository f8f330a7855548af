//! Settings that may be nothing, which an empty text says: so each has a line in the file and a variable.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A setting, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maybe<T>(pub Option<T>);

impl<T: Display> Serialize for Maybe<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|value| Self(Some(value))).map_err(|e| serde::de::Error::custom(format!("`{text}`: {e}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn an_empty_text_is_nothing() {
        let read = |text: &str| serde_json::from_str::<Maybe<SocketAddr>>(text);
        assert_eq!(read("\"\"").unwrap(), Maybe(None));
        let address = read("\"127.0.0.1:1\"").unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), "\"127.0.0.1:1\"");
        assert!(read("\"9000\"").unwrap_err().to_string().contains("`9000`"));
    }
}
