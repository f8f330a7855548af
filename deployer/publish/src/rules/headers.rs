//! `_headers`: an address on a line of its own, and below it, indented, `Name: value`, or `! Name` to take a field away.

use std::collections::HashMap;

use common::password;
use common::policy::Credential;
use common::site_rules::{HeaderRule, Login, Source, is_edges_own};

use super::report::Report;
use super::{MAX_LINE, source};

/// Addresses. Each with `*` or placeholders is compared with every path, and takes well below a microsecond.
const MAX_BLOCKS: usize = 500;
/// Names and passwords. Each is hashed once, which takes tens of milliseconds.
const MAX_USERS: usize = 50;
/// Field in whose place visitors must log in, as Netlify has it.
const BASIC_AUTH: &str = "basic-auth";

/// Reads the file.
pub fn parse(text: &str, report: &mut Report) -> (Vec<HeaderRule>, Vec<Login>) {
    let mut file = File::default();
    for (index, line) in text.lines().enumerate() {
        let (number, text) = (index + 1, line.trim());
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let is_secret = is_named(text, BASIC_AUTH);
        let result = if line.len() > MAX_LINE {
            Err(format!("it is longer than {MAX_LINE} bytes"))
        } else if text.starts_with('/') || is_url(text) {
            file.end_block(report);
            file.begin_block(number, text)
        } else {
            file.field(text)
        };
        match result {
            Ok(()) => {}
            Err(why) if is_secret => report.ignored_secret(number, &why),
            Err(why) => report.ignored(number, text, &why),
        }
    }
    file.end_block(report);
    (file.rules, file.logins)
}

#[derive(Default)]
struct File {
    rules: Vec<HeaderRule>,
    logins: Vec<Login>,
    blocks: usize,
    block: Block,
    /// Hashes by password: one that stands at several addresses is hashed once.
    hashes: HashMap<String, String>,
    users: usize,
}

#[derive(Default)]
enum Block {
    /// No address came yet.
    #[default]
    None,
    /// The address was no good.
    Refused,
    Open(Open),
}

struct Open {
    line: usize,
    /// Whether a line below the address was told of.
    is_told: bool,
    rule: HeaderRule,
    users: Vec<Credential>,
}

impl File {
    fn begin_block(&mut self, line: usize, text: &str) -> Result<(), String> {
        self.block = Block::Refused;
        if self.blocks == MAX_BLOCKS {
            return Err(format!(
                "a site may have rules for {MAX_BLOCKS} addresses; the lines below it don't count either"
            ));
        }
        let (source, _) = source::parse(text)?;
        self.blocks += 1;
        // The scheme says nothing here: what is true of a page is so however it came.
        let on = Source { https: None, ..source };
        let rule = HeaderRule { on, remove: Vec::new(), add: Vec::new() };
        self.block = Block::Open(Open { line, is_told: false, rule, users: Vec::new() });
        Ok(())
    }

    fn end_block(&mut self, report: &mut Report) {
        let Block::Open(open) = std::mem::take(&mut self.block) else { return };
        if !open.users.is_empty() {
            self.logins.push(Login { on: open.rule.on.clone(), users: open.users });
        } else if open.rule.add.is_empty() && open.rule.remove.is_empty() && !open.is_told {
            report.ignored(open.line, &open.rule.on.path, "no field stands below the address");
        }
        if !open.rule.add.is_empty() || !open.rule.remove.is_empty() {
            self.rules.push(open.rule);
        }
    }

    fn field(&mut self, text: &str) -> Result<(), String> {
        let open = match &mut self.block {
            Block::None => return Err("no address stands above it".to_owned()),
            Block::Refused => return Err("the address above it is not honoured".to_owned()),
            Block::Open(open) => open,
        };
        open.is_told = true;
        if let Some(name) = text.strip_prefix('!') {
            let name = field_name(name)?;
            if name == "vary" {
                return Err("Vary can't be taken away: without it caches would mix up what they keep".to_owned());
            }
            open.rule.remove.push(name);
        } else {
            let (name, value) = text.split_once(':').ok_or("it is neither an address nor `Name: value`")?;
            let (name, value) = (name.trim(), value.trim());
            if value.is_empty() {
                return Err("it has no value".to_owned());
            }
            if name.eq_ignore_ascii_case(BASIC_AUTH) {
                let room = MAX_USERS.saturating_sub(self.users);
                let users = users(value, room, &mut self.hashes)?;
                self.users += users.len();
                open.users.extend(users);
            } else {
                let name = field_name(name)?;
                if value.contains(char::is_control) {
                    return Err("its value has a control character".to_owned());
                }
                match open.rule.add.iter_mut().find(|(n, _)| *n == name && name != "set-cookie") {
                    Some((_, known)) => *known = format!("{known}, {value}"),
                    None => open.rule.add.push((name, value.to_owned())),
                }
            }
        }
        open.is_told = false;
        Ok(())
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

fn is_named(text: &str, name: &str) -> bool {
    text.split_once(':').is_some_and(|(n, _)| n.trim().eq_ignore_ascii_case(name))
}

/// A field's name in lower case, when rules may write it (RFC 9110 section 5.1).
fn field_name(text: &str) -> Result<String, String> {
    let name = text.trim().to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("it does not begin with a field's name".to_owned());
    }
    match name.as_str() {
        "location" => Err("redirects stand in _redirects".to_owned()),
        BASIC_AUTH => Err("a login can't be taken away from a part of what it covers".to_owned()),
        own if is_edges_own(own) => Err(format!("the platform writes {own} itself")),
        _ => Ok(name),
    }
}

/// `name:password` pairs with spaces between them.
fn users(value: &str, room: usize, hashes: &mut HashMap<String, String>) -> Result<Vec<Credential>, String> {
    let mut users = Vec::new();
    for pair in value.split_whitespace() {
        let (user, password) = pair.split_once(':').ok_or("a login is `name:password`")?;
        if users.len() == room {
            return Err(format!("a site may have {MAX_USERS} logins"));
        }
        let hash = match hashes.get(password) {
            Some(hash) => hash.clone(),
            None => {
                let hash = password::hash(password).map_err(|e| e.to_string())?;
                hashes.insert(password.to_owned(), hash.clone());
                hash
            }
        };
        users.push(Credential { user: user.to_owned(), hash });
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parsed(text: &str) -> (Vec<HeaderRule>, Vec<Login>, Vec<String>) {
        let mut report = Report::new("_headers");
        let (rules, logins) = parse(text, &mut report);
        (rules, logins, report.sentences())
    }

    #[test]
    fn lines_of_both_dialects_are_read() {
        let (rules, logins, told) = parsed(
            "# all pages\n/*\n  X-Frame-Options: DENY\n  Cache-Control: max-age=0\n\tcache-control: no-cache\n\
             \n/static/:name\r\n  ! X-Frame-Options\r\n  Link: </a>; rel=preload\n  Set-Cookie: a=1\n  Set-Cookie: b=2\n\
             https://My.example/x\n  X-Robots-Tag: noindex\n",
        );
        assert_eq!((told, logins), (Vec::<String>::new(), Vec::new()));
        let pairs = |rule: &HeaderRule| rule.add.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>();
        assert_eq!(rules[0].on.path, "/*");
        assert_eq!(pairs(&rules[0]), ["x-frame-options: DENY", "cache-control: max-age=0, no-cache"]);
        assert_eq!(
            (rules[1].on.path.as_str(), &*rules[1].remove),
            ("/static/:name", &["x-frame-options".to_owned()][..])
        );
        assert_eq!(pairs(&rules[1]), ["link: </a>; rel=preload", "set-cookie: a=1", "set-cookie: b=2"]);
        assert_eq!((rules[2].on.https, rules[2].on.host.as_deref()), (None, Some("my.example")));
    }

    #[test]
    fn every_line_that_is_not_honoured_is_told_with_its_number_and_reason() {
        for (line, reason) in [
            ("Content-Length: 5", "the platform writes content-length itself"),
            ("Transfer-Encoding: chunked", "the platform writes transfer-encoding itself"),
            ("! Server", "the platform writes server itself"),
            ("Location: /x", "redirects stand in _redirects"),
            ("! Vary", "Vary can't be taken away"),
            ("! Basic-Auth", "a login can't be taken away"),
            ("X-Empty:", "it has no value"),
            ("no colon", "neither an address nor"),
            ("bad name: x", "does not begin with a field's name"),
            (": x", "does not begin with a field's name"),
            ("X-A: a\u{7}b", "control character"),
        ] {
            let (rules, _, told) = parsed(&format!("/*\n  {line}"));
            assert!(rules.is_empty(), "{line}");
            assert_eq!(told.len(), 1, "{line}: {told:?}");
            assert!(told[0].starts_with("_headers line 2 is not honoured: ") && told[0].contains(reason), "{told:?}");
        }
        let (_, _, told) = parsed("X-A: b\n/**\n X-A: b\n/a\n/b\n X-A: b");
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].contains("line 1") && told[0].contains("no address stands above it"));
        assert!(told[1].contains("line 2") && told[1].contains("one `*` only"));
        assert!(told[2].contains("line 3") && told[2].contains("the address above it is not honoured"));
        assert!(told[3].contains("line 4") && told[3].contains("no field stands below"));
    }

    #[test]
    fn logins_are_kept_as_hashes_and_never_told() {
        let (rules, logins, told) =
            parsed("/admin/*\n  Basic-Auth: ann:s3cret bob:pa:ss\n  X-A: b\n/b\n basic-auth: nocolon-s3cret\n");
        assert_eq!((rules.len(), logins.len()), (1, 1));
        assert_eq!(logins[0].on.path, "/admin/*");
        let [ann, bob] = &*logins[0].users else { panic!("{logins:?}") };
        assert_eq!((ann.user.as_str(), bob.user.as_str()), ("ann", "bob"));
        assert_eq!(password::verify(&ann.hash, b"s3cret"), Ok(true));
        assert_eq!(password::verify(&bob.hash, b"pa:ss"), Ok(true));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("line 5") && told[0].contains("`name:password`") && !told[0].contains("s3cret"),
            "{told:?}"
        );
        assert!(!serde_json::to_string(&logins).unwrap().contains("s3cret"));
    }

    #[test]
    fn addresses_are_bounded_and_those_beyond_are_told() {
        let many: String = (0..=MAX_BLOCKS).map(|i| format!("/{i}\n X-A: b\n")).collect();
        let (rules, _, told) = parsed(&many);
        assert_eq!(rules.len(), MAX_BLOCKS);
        assert_eq!(told.len(), 2, "the address and the field below it: {told:?}");
    }
}
