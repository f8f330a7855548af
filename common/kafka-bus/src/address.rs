//! Where Kafka is: `kafka://host:9092,host:9092/prefix`, or `kafkas://` over TLS.

use std::fmt;
use std::str::FromStr;

/// Port of a broker that names none.
const PORT: u16 = 9092;
/// Longest prefix: Kafka takes names of 249 characters, and a kind follows.
const MAX_PREFIX: usize = 200;

/// Brokers to begin with, and what our topics' names begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether connections are over TLS.
    pub tls: bool,
    /// Brokers as `host:port`; they name the others.
    pub brokers: Vec<String>,
    /// Keeps installations on one cluster apart: topics are `<prefix>.build` and `<prefix>.runtime`.
    pub prefix: String,
}

/// Why an address is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme.
    #[error("`{0}` is no address of Kafka: it looks like kafka://host:9092,host:9092/prefix, or kafkas:// over TLS")]
    Scheme(String),
    /// A password, which settings must not hold.
    #[error("an address of Kafka has no user and password: set logs.kafka.user and logs.kafka.password_file")]
    Login,
    /// A broker that is none.
    #[error("`{0}` is no broker: it is a host, or host:port")]
    Broker(String),
    /// A prefix that can't begin topics' names.
    #[error(
        "`{0}` can't begin topics' names: after the brokers follow / and 1 to 200 letters, digits, `.`, `_` and `-`"
    )]
    Prefix(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let tls = match scheme {
            "kafka" => false,
            "kafkas" => true,
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        let (brokers, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if brokers.contains('@') {
            return Err(AddressError::Login);
        }
        let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(is_good) {
            return Err(AddressError::Prefix(prefix.to_owned()));
        }
        let brokers = brokers.split(',').map(broker).collect::<Result<_, _>>()?;
        Ok(Self { tls, brokers, prefix: prefix.to_owned() })
    }
}

fn broker(text: &str) -> Result<String, AddressError> {
    let wrong = || AddressError::Broker(text.to_owned());
    let is_host = |host: &str| !host.is_empty() && !host.contains([' ', '?', '#']);
    match text.rsplit_once(':') {
        // Colons of a bare IPv6 address separate no port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            let port: u16 = port.parse().map_err(|_| wrong())?;
            if is_host(host) && port > 0 { Ok(format!("{host}:{port}")) } else { Err(wrong()) }
        }
        None if is_host(text) => Ok(format!("{text}:{PORT}")),
        _ => Err(wrong()),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka{}://{}/{}", if self.tls { "s" } else { "" }, self.brokers.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn brokers_and_a_prefix_are_read_and_written() {
        let address: Address = "kafka://a.example,b.example:9093,[::1]:9094/prod.logs".parse().unwrap();
        assert_eq!(address.brokers, ["a.example:9092", "b.example:9093", "[::1]:9094"]);
        assert_eq!((address.tls, address.prefix.as_str()), (false, "prod.logs"));
        let secure = "kafkas://ns.servicebus.windows.net:9093/logs";
        assert_eq!(secure.parse::<Address>().unwrap().to_string(), secure);
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("redis://a/b", "kafka://"),
            ("kafka", "kafka://"),
            ("kafka://a:9092", "letters"),
            ("kafka://a:9092/a/b", "letters"),
            ("kafka://me:secret@a:9092/p", "password_file"),
            ("kafka://a:x/p", "host:port"),
            ("kafka://a,,b/p", "host:port"),
            ("kafka://fe80::1/p", "host:port"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(hint) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
