//! One record: its owner, time to live and data; read from and written as master-file text.

use hickory_proto::{
    rr::{
        Name, RData, RecordType,
        rdata::{A, AAAA, ANAME, CAA, CNAME, MX, NULL, SRV, TXT},
    },
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use thiserror::Error;

pub use hickory_proto::rr::rdata::{NS, SOA};

use crate::name::{self, NameError, escaped};

/// The type of a DS record (RFC 4034 5).
pub const DS: RecordType = RecordType::Unknown(43);

/// Bytes of one character string of a TXT record at most (RFC 1035 3.3).
const STRING_MAX: usize = 255;

/// A record of a zone, class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name that it stands at.
    pub owner: Name,
    /// Seconds that others may keep it.
    pub ttl: u32,
    /// What it says.
    pub data: RData,
}

/// Why a text is no data of its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DataError {
    /// A name in the data.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A type that this server does not hold.
    #[error(
        "records of type {0} cannot be held: use A, AAAA, ALIAS, CAA, CNAME, DS, HTTPS, MX, NS, SOA, SRV, SVCB or TXT"
    )]
    Type(String),
    /// Too few or too many fields, or a field that is none.
    #[error("\"{text}\" is no {kind} record: write {form}")]
    Form {
        /// What was given.
        text: String,
        /// Its type.
        kind: String,
        /// How such a record is written.
        form: &'static str,
    },
}

/// The type that a mnemonic stands for; `ALIAS` is another word for `ANAME`.
///
/// # Errors
/// When records of that type cannot be held.
pub fn kind(text: &str) -> Result<RecordType, DataError> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "A" => RecordType::A,
        "AAAA" => RecordType::AAAA,
        "ALIAS" | "ANAME" => RecordType::ANAME,
        "CAA" => RecordType::CAA,
        "CNAME" => RecordType::CNAME,
        "DS" => DS,
        "HTTPS" => RecordType::HTTPS,
        "MX" => RecordType::MX,
        "NS" => RecordType::NS,
        "SOA" => RecordType::SOA,
        "SRV" => RecordType::SRV,
        "SVCB" => RecordType::SVCB,
        "TXT" => RecordType::TXT,
        _ => return Err(DataError::Type(text.to_owned())),
    })
}

/// The mnemonic of a type, as zones are written.
pub fn mnemonic(kind: RecordType) -> String {
    match kind {
        DS => "DS".to_owned(),
        other => other.to_string(),
    }
}

fn form(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "one IPv4 address, such as 192.0.2.1",
        RecordType::AAAA => "one IPv6 address, such as 2001:db8::1",
        RecordType::CAA => "flags, tag and value, such as 0 issue \"letsencrypt.org\"",
        RecordType::MX => "preference and host, such as 10 mail.example.com.",
        RecordType::SOA => "primary, mailbox, serial, refresh, retry, expire and minimum",
        RecordType::SRV => "priority, weight, port and host, such as 10 5 5060 sip.example.com.",
        RecordType::TXT => "one or more strings in quotes",
        RecordType::HTTPS | RecordType::SVCB => "priority, host and parameters, such as 1 . alpn=\"h2\"",
        DS => "key tag, algorithm, digest type and digest in hexadecimal",
        _ => "one host name",
    }
}

/// Reads data out of the fields of a master file, whose escapes are still in them.
///
/// # Errors
/// When the fields are no data of that type.
pub fn parse(kind: RecordType, fields: &[&str], origin: &Name) -> Result<RData, DataError> {
    let wrong = || DataError::Form { text: fields.join(" "), kind: mnemonic(kind), form: form(kind) };
    let host = |text: &str| name::parse(text, origin);
    Ok(match (kind, fields) {
        (RecordType::A, [address]) => RData::A(A(address.parse().map_err(|_| wrong())?)),
        (RecordType::AAAA, [address]) => RData::AAAA(AAAA(address.parse().map_err(|_| wrong())?)),
        (RecordType::ANAME, [target]) => RData::ANAME(ANAME(host(target)?)),
        (RecordType::CNAME, [target]) => RData::CNAME(CNAME(host(target)?)),
        (RecordType::NS, [target]) => RData::NS(NS(host(target)?)),
        (RecordType::MX, [preference, target]) => {
            RData::MX(MX::new(preference.parse().map_err(|_| wrong())?, host(target)?))
        }
        (RecordType::SRV, [priority, weight, port, target]) => RData::SRV(SRV::new(
            priority.parse().map_err(|_| wrong())?,
            weight.parse().map_err(|_| wrong())?,
            port.parse().map_err(|_| wrong())?,
            host(target)?,
        )),
        (RecordType::SOA, [primary, mailbox, serial, times @ ..]) if times.len() == 4 => {
            let mut seconds = [0; 4];
            for (second, text) in seconds.iter_mut().zip(times) {
                *second = ttl(text).filter(|ttl| i32::try_from(*ttl).is_ok()).ok_or_else(wrong)?;
            }
            RData::SOA(SOA::new(
                host(primary)?,
                host(mailbox)?,
                serial.parse().map_err(|_| wrong())?,
                seconds[0] as i32,
                seconds[1] as i32,
                seconds[2] as i32,
                seconds[3],
            ))
        }
        (RecordType::TXT, [_, ..]) => txt(&unescaped(fields).ok_or_else(wrong)?),
        (RecordType::CAA, [flags, tag, value]) => {
            let flags: u8 = flags.parse().map_err(|_| wrong())?;
            if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(wrong());
            }
            let mut caa = CAA::new_issue(flags & 0x80 != 0, None, Vec::new());
            caa.reserved_flags = flags & 0x7f;
            caa.tag = tag.to_ascii_lowercase();
            caa.value = unescaped(&[value]).and_then(|mut strings| strings.pop()).ok_or_else(wrong)?;
            RData::CAA(caa)
        }
        (DS, [tag, algorithm, digest_type, digest @ ..]) if !digest.is_empty() => {
            let mut bytes = Vec::new();
            bytes.extend(tag.parse::<u16>().map_err(|_| wrong())?.to_be_bytes());
            bytes.push(algorithm.parse().map_err(|_| wrong())?);
            bytes.push(digest_type.parse().map_err(|_| wrong())?);
            bytes.extend(hex(&digest.concat()).ok_or_else(wrong)?);
            RData::Unknown { code: DS, rdata: NULL::with(bytes) }
        }
        (RecordType::HTTPS | RecordType::SVCB, [priority, target, parameters @ ..]) => {
            let mut line = format!("{priority} {}", name::text(&host(target)?));
            for parameter in parameters {
                line.push(' ');
                line.push_str(parameter);
            }
            RData::try_from_str(kind, &line).map_err(|_| wrong())?
        }
        _ => return Err(wrong()),
    })
}

/// TXT data out of strings; one longer than 255 bytes is cut into several, as mail's keys need it.
pub fn txt(strings: &[Vec<u8>]) -> RData {
    let mut parts: Vec<&[u8]> = Vec::new();
    for string in strings {
        match string.as_slice() {
            [] => parts.push(&[]),
            long => parts.extend(long.chunks(STRING_MAX)),
        }
    }
    RData::TXT(TXT::from_bytes(parts))
}

/// Seconds, or units as in `1h30m` (the form that BIND writes).
pub fn ttl(text: &str) -> Option<u32> {
    let mut total: u32 = 0;
    let mut number: Option<u32> = None;
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u32::from(byte - b'0'))?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(seconds) => total.checked_add(seconds),
        None => (!text.is_empty()).then_some(total),
    }
}

fn unescaped(fields: &[&str]) -> Option<Vec<Vec<u8>>> {
    fields
        .iter()
        .map(|field| {
            let mut bytes = Vec::with_capacity(field.len());
            let mut rest = field.bytes();
            while let Some(byte) = rest.next() {
                bytes.push(if byte == b'\\' { escaped(&mut rest)? } else { byte });
            }
            Some(bytes)
        })
        .collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A string in quotes, with what is special or unprintable escaped.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0x20..=0x7e => text.push(char::from(byte)),
            other => text.push_str(&format!("\\{other:03}")),
        }
    }
    text.push('"');
    text
}

/// The data as a master file has it.
pub fn text(data: &RData) -> String {
    match data {
        RData::ANAME(target) => name::text(&target.0),
        RData::CNAME(target) => name::text(&target.0),
        RData::NS(target) => name::text(&target.0),
        RData::MX(mx) => format!("{} {}", mx.preference, name::text(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name::text(&srv.target)),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name::text(&soa.mname),
            name::text(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::TXT(txt) => txt.txt_data.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" "),
        RData::CAA(caa) => format!("{} {} {}", caa.flags(), caa.tag, quoted(&caa.value)),
        RData::Unknown { code: DS, rdata } => match rdata.anything.as_slice() {
            [high, low, algorithm, digest_type, digest @ ..] => {
                let digest: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
                format!("{} {algorithm} {digest_type} {digest}", u16::from_be_bytes([*high, *low]))
            }
            _ => String::new(),
        },
        RData::HTTPS(https) => service(&https.0),
        RData::SVCB(svcb) => service(svcb),
        other => other.to_string(),
    }
}

fn service(svcb: &hickory_proto::rr::rdata::SVCB) -> String {
    let mut text = format!("{} {}", svcb.svc_priority, name::text(&svcb.target_name));
    for (key, value) in &svcb.svc_params {
        let value = value.to_string();
        // The library ends lists with a comma, which no reader takes.
        let value = value.trim_end_matches(',').trim_matches('"');
        text.push_str(&if value.is_empty() { format!(" {key}") } else { format!(" {key}=\"{value}\"") });
    }
    text
}

/// The data in the form that is signed (RFC 4034 6.2): no compression, names in lower case.
///
/// # Errors
/// When it does not fit the wire, which validation rules out.
pub fn wire(data: &RData) -> Result<Box<[u8]>, hickory_proto::ProtoError> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)?;
    Ok(bytes.into_boxed_slice())
}
