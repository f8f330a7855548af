//! Master files (RFC 1035 5) in and out. `$INCLUDE` is refused: a customer's text must not name files of ours.

use hickory_proto::rr::{Name, RecordType};
use thiserror::Error;

use crate::{
    name::{self, NameError},
    record::{self, DataError, Record},
    zone::Zone,
};

/// Bytes of a master file at most: ten thousand records of a long line each.
pub const FILE_MAX: usize = 4 << 20;

/// What is wrong in a master file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {fault}")]
pub struct MasterError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong in a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The record's data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A quote or parenthesis that is never closed.
    #[error("a quote or parenthesis is opened and never closed: close it")]
    Open,
    /// The first record has no owner.
    #[error("the line begins with a blank, but there is no name above it to go on with: begin it with a name")]
    NoOwner,
    /// Neither the line nor `$TTL` says for how long.
    #[error("the record has no time to live: write one, or $TTL 3600 at the beginning of the file")]
    NoTtl,
    /// A line without a type.
    #[error("the line has no record type behind its name: write, for example, www 3600 IN A 192.0.2.1")]
    NoType,
    /// `$INCLUDE`, `$GENERATE` or another.
    #[error("{0} is not understood: write its records out")]
    Directive(String),
    /// A class other than IN.
    #[error("class {0} is not served: use IN")]
    Class(String),
    /// Above [`FILE_MAX`].
    #[error("the file is larger than 4 MiB: split the zone")]
    TooLarge,
}

struct Line {
    number: usize,
    indented: bool,
    fields: Vec<String>,
}

/// Reads a master file into records; names are relative to `origin` until `$ORIGIN` says otherwise.
///
/// # Errors
/// The first line that is wrong, and why.
pub fn read(text: &str, origin: &Name) -> Result<Vec<Record>, MasterError> {
    if text.len() > FILE_MAX {
        return Err(MasterError { line: 1, fault: Fault::TooLarge });
    }
    let mut origin = origin.clone();
    let mut default_ttl = None;
    let mut last_ttl = None;
    let mut owner: Option<Name> = None;
    let mut records = Vec::new();
    for line in lines(text)? {
        let at = |fault: Fault| MasterError { line: line.number, fault };
        let mut fields: &[String] = &line.fields;
        let Some(first) = fields.first() else { continue };
        if !line.indented && first.starts_with('$') {
            match (first.to_ascii_uppercase().as_str(), &fields[1..]) {
                ("$ORIGIN", [name]) => origin = name::parse(name, &origin).map_err(|fault| at(fault.into()))?,
                ("$TTL", [ttl]) if record::ttl(ttl).is_some() => default_ttl = record::ttl(ttl),
                _ => return Err(at(Fault::Directive(first.clone()))),
            }
            continue;
        }
        if !line.indented {
            owner = Some(name::parse(first, &origin).map_err(|fault| at(fault.into()))?);
            fields = &fields[1..];
        }
        let Some(owner) = &owner else { return Err(at(Fault::NoOwner)) };
        let mut ttl = None;
        let kind = loop {
            let Some((field, rest)) = fields.split_first() else { return Err(at(Fault::NoType)) };
            fields = rest;
            match field.to_ascii_uppercase().as_str() {
                "IN" => {}
                class @ ("CH" | "HS" | "CS" | "ANY") => return Err(at(Fault::Class(class.to_owned()))),
                text if ttl.is_none()
                    && text.starts_with(|first: char| first.is_ascii_digit())
                    && record::ttl(text).is_some() =>
                {
                    ttl = record::ttl(text);
                }
                _ => break record::kind(field).map_err(|fault| at(fault.into()))?,
            }
        };
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let data = record::parse(kind, &fields, &origin).map_err(|fault| at(fault.into()))?;
        let ttl = ttl.or(default_ttl).or(last_ttl).ok_or_else(|| at(Fault::NoTtl))?;
        last_ttl = Some(ttl);
        records.push(Record { owner: owner.clone(), ttl, data });
    }
    Ok(records)
}

/// Cuts a file into lines of fields: comments taken away, parentheses joined, quotes removed, escapes kept.
fn lines(text: &str) -> Result<Vec<Line>, MasterError> {
    let mut lines = Vec::new();
    let mut line = Line { number: 1, indented: false, fields: Vec::new() };
    let (mut number, mut depth) = (1, 0usize);
    let mut characters = text.chars().peekable();
    let mut fresh = true;
    while let Some(character) = characters.next() {
        match character {
            '\n' => {
                number += 1;
                if depth == 0 {
                    let next = Line { number, indented: false, fields: Vec::new() };
                    lines.push(std::mem::replace(&mut line, next));
                    fresh = true;
                }
                continue;
            }
            ' ' | '\t' | '\r' => line.indented |= fresh,
            ';' => while characters.next_if(|next| *next != '\n').is_some() {},
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '"' => line.fields.push(string(&mut characters, number, String::new())?),
            first => {
                let mut field = String::from(first);
                if first == '\\' {
                    field.extend(characters.next());
                }
                while let Some(next) = characters.next_if(|next| !" \t\r\n;()\"".contains(*next)) {
                    field.push(next);
                    if next == '\\' {
                        field.extend(characters.next());
                    }
                }
                // A parameter of HTTPS may have its value in quotes: alpn="h2,h3".
                if field.ends_with('=') && characters.next_if_eq(&'"').is_some() {
                    field = string(&mut characters, number, field)?;
                }
                line.fields.push(field);
            }
        }
        fresh = false;
    }
    if depth > 0 {
        return Err(MasterError { line: line.number, fault: Fault::Open });
    }
    lines.push(line);
    Ok(lines)
}

fn string(characters: &mut impl Iterator<Item = char>, line: usize, mut field: String) -> Result<String, MasterError> {
    loop {
        match characters.next() {
            Some('"') => return Ok(field),
            Some('\\') => {
                field.push('\\');
                field.extend(characters.next());
            }
            Some('\n') | None => return Err(MasterError { line, fault: Fault::Open }),
            Some(other) => field.push(other),
        }
    }
}

/// Writes a zone as a master file with absolute names, SOA first. ALIAS, which only we know, becomes a comment
/// unless `ours`: other servers refuse a file with types that they do not know.
pub fn write(zone: &Zone, ours: bool) -> String {
    let mut text = format!("$ORIGIN {}\n", name::text(zone.origin()));
    for record in zone.records() {
        if record.data.record_type() == RecordType::ANAME && !ours {
            text.push_str("; ");
        }
        text.push_str(&line(record));
        text.push('\n');
    }
    text
}

/// One record as a line of a master file, with absolute names.
pub fn line(record: &Record) -> String {
    format!(
        "{} {} IN {} {}",
        name::text(&record.owner),
        record.ttl,
        record::mnemonic(record.data.record_type()),
        record::text(&record.data)
    )
}
