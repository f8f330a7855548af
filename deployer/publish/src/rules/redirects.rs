//! `_redirects`: `FROM [QUERY…] TO [STATUS[!]] [CONDITION…]`, one a line.

use std::collections::HashMap;

use common::site_rules::pattern::Pattern;
use common::site_rules::template::Template;
use common::site_rules::{Expected, Parameter, Redirect, Source, Visitors};
use percent_encoding::percent_decode_str;

use super::report::Report;
use super::{MAX_LINE, source};

/// What a line without a status answers: as on Netlify. Nothing is kept for ever by it, for redirects are revalidated.
const DEFAULT_STATUS: u16 = 301;
/// Rules for single paths. They are looked up, so they only cost memory: a large site that moved has some thousands.
const MAX_SINGLE: usize = 10_000;
/// Rules with `*` or placeholders. Each is compared with every path that has no file, and takes well below a
/// microsecond.
const MAX_PATTERNS: usize = 500;
/// Statuses with which the file at the target is the answer.
const SHOWN: [u16; 7] = [200, 403, 404, 410, 418, 451, 503];
/// Values of one condition, and parameters of one line.
const MAX_VALUES: usize = 50;

/// Reads the file. `exists`: whether the site has a file at a decoded path.
pub fn parse(text: &str, exists: impl Fn(&str) -> bool, report: &mut Report) -> Vec<Redirect> {
    let mut all = All::default();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let mut tokens: Vec<&str> = line.split_whitespace().collect();
        if let Some(comment) = tokens.iter().position(|token| token.starts_with('#')) {
            tokens.truncate(comment);
        }
        if tokens.is_empty() {
            continue;
        }
        let result = if line.len() > MAX_LINE {
            Err(format!("it is longer than {MAX_LINE} bytes"))
        } else {
            rule(&tokens).and_then(|(rule, pattern)| all.add(number, rule, &pattern))
        };
        match result {
            Ok(rule) => note(number, rule, &exists, report),
            Err(why) => report.ignored(number, line, &why),
        }
    }
    more_parameters_first(all.rules)
}

#[derive(Default)]
struct All {
    rules: Vec<Redirect>,
    single: usize,
    patterns: usize,
    /// Lines of rules that fit whenever their path does, by source, with whether they are forced.
    whole: HashMap<Spelling, (usize, bool)>,
}

/// Scheme, host and path of a rule.
type Spelling = (Option<bool>, Option<String>, String);

impl All {
    fn add(&mut self, line: usize, rule: Redirect, pattern: &Pattern) -> Result<&Redirect, String> {
        let key = |path: &str| (rule.from.https, rule.from.host.clone(), path.to_owned());
        let spelt = rule.from.path.strip_suffix('/').unwrap_or(&rule.from.path).to_owned();
        for (path, is_same) in [(&*spelt, true), ("/*", false)] {
            if let Some((earlier, forced)) = self.whole.get(&key(path))
                && (*forced || !rule.force)
            {
                let what = if is_same { "is for the same address" } else { "is for every address" };
                return Err(format!("line {earlier} {what}, and the first line that fits counts"));
            }
        }
        let (count, most) = match pattern.exact() {
            Some(_) => (&mut self.single, MAX_SINGLE),
            None => (&mut self.patterns, MAX_PATTERNS),
        };
        if *count == most {
            let kind = if most == MAX_SINGLE { "for single paths" } else { "with `*` or placeholders" };
            return Err(format!("a site may have {most} rules {kind}"));
        }
        *count += 1;
        if rule.query.is_empty() && rule.visitors.is_everyone() && !leads_back(&rule) {
            self.whole.entry(key(&spelt)).or_insert((line, rule.force));
        }
        self.rules.push(rule);
        self.rules.last().ok_or_else(String::new)
    }
}

/// Whether the target is the source but for a slash: such a rule is passed over at its target.
fn leads_back(rule: &Redirect) -> bool {
    let trimmed = |path: &str| path.strip_suffix('/').unwrap_or(path).to_owned();
    rule.to.as_deref().is_some_and(|to| trimmed(to) == trimmed(&rule.from.path))
}

/// Reads a line's words.
fn rule(tokens: &[&str]) -> Result<(Redirect, Pattern), String> {
    let (from, rest) = tokens.split_first().ok_or("it is empty")?;
    let (from, pattern) = source::parse(from)?;
    let is_target = |token: &&str| ["/", "http://", "https://"].iter().any(|start| token.starts_with(start));
    let target = rest.iter().position(is_target);
    let only_status = rest.first().is_some_and(|token| status(token).is_some());
    let (query, to, rest) = match target {
        Some(at) if !only_status => (&rest[..at], Some(rest[at]), &rest[at + 1..]),
        _ if only_status => (&rest[..0], None, rest),
        _ if rest.is_empty() => return Err("it has no target".into()),
        _ => return Err("it has no target that begins with `/`, `http://` or `https://`".into()),
    };
    let query = query.iter().map(|token| parameter(token)).collect::<Result<Vec<_>, _>>()?;
    let (code, force, conditions) = match rest.split_first() {
        Some((first, conditions)) if let Some((code, force)) = status(first) => (code, force, conditions),
        _ => (DEFAULT_STATUS, false, rest),
    };
    let visitors = visitors(conditions)?;
    if query.len() > MAX_VALUES {
        return Err(format!("it names more than {MAX_VALUES} parameters"));
    }
    let rule = Redirect { from, query, to: to.map(str::to_owned), status: code, force, visitors };
    judged(&rule)?;
    Ok((rule, pattern))
}

/// `301`, or `301!` for a rule that counts before files.
fn status(token: &str) -> Option<(u16, bool)> {
    let (digits, force) = token.strip_suffix('!').map_or((token, false), |digits| (digits, true));
    let is_status = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    if is_status { digits.parse().ok().map(|code| (code, force)) } else { None }
}

/// `NAME=VALUE`, `NAME=:placeholder` or `NAME`.
fn parameter(token: &str) -> Result<Parameter, String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|t| t.into_owned());
    let not_text = |_| format!("`{token}` is no UTF-8 text when it is decoded");
    let (name, value) = token.split_once('=').map_or((token, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        return Err(format!("`{token}` stands where the target or a parameter of the query belongs"));
    }
    let value = match value {
        None => Expected::Present,
        Some(value) => match value.strip_prefix(':').filter(|name| is_name(name)) {
            Some(name) => Expected::Named(name.to_owned()),
            None => Expected::Is(decoded(value).map_err(not_text)?),
        },
    };
    Ok(Parameter { name: decoded(name).map_err(not_text)?, value })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `Language=`, `Country=` and `Cookie=`, with values between commas.
fn visitors(tokens: &[&str]) -> Result<Visitors, String> {
    let mut visitors = Visitors::default();
    for token in tokens {
        let Some((name, values)) = token.split_once('=') else {
            return Err(match status(token) {
                Some(_) => "it has two statuses".to_owned(),
                None => format!("`{token}` is no condition that is known: there are Language=, Country= and Cookie="),
            });
        };
        let values: Vec<&str> = values.split(',').filter(|value| !value.is_empty()).collect();
        if values.is_empty() || values.len() > MAX_VALUES {
            return Err(format!("`{name}=` needs 1 to {MAX_VALUES} values, with commas between them"));
        }
        match name.to_ascii_lowercase().as_str() {
            "language" => visitors.languages.extend(values.iter().map(|v| v.to_ascii_lowercase())),
            "country" => {
                if let Some(wrong) = values.iter().find(|v| v.len() != 2 || !v.bytes().all(|b| b.is_ascii_alphabetic()))
                {
                    return Err(format!("`{wrong}` is no country's two letters"));
                }
                visitors.countries.extend(values.iter().map(|v| v.to_ascii_uppercase()));
            }
            "cookie" => visitors.cookies.extend(values.iter().map(|&v| v.to_owned())),
            "role" => {
                return Err("roles of visitors are not known here; protect the path with Basic-Auth in _headers".into());
            }
            "sign" | "signed" => return Err("requests to other servers are not made, and so not signed".into()),
            _ => {
                return Err(format!("the condition `{name}=` is not known: there are Language=, Country= and Cookie="));
            }
        }
    }
    Ok(visitors)
}

/// Whether the edge can carry a rule out.
fn judged(rule: &Redirect) -> Result<(), String> {
    let status = rule.status;
    if !rule.moves() && !SHOWN.contains(&status) {
        return Err(format!(
            "the status {status} is not one of 200, 301, 302, 303, 307, 308, 403, 404, 410, 418, 451, 503"
        ));
    }
    let Some(to) = &rule.to else {
        return if rule.moves() || status == 200 {
            Err(format!("with the status {status} it needs a target"))
        } else {
            Ok(())
        };
    };
    let template = Template::parse(to, |name| rule.catches(name)).map_err(|e| e.to_string())?;
    if !rule.moves() && template.origin().is_some() {
        return Err(format!("with the status {status} the target is a path of this site: other servers are not asked"));
    }
    Ok(())
}

/// What a rule's author may not know of it.
fn note(line: usize, rule: &Redirect, exists: impl Fn(&str) -> bool, report: &mut Report) {
    let is_of_any_host = rule.from.host.is_none();
    let source = Pattern::parse(&rule.from.path).ok().and_then(|pattern| pattern.exact());
    if let Some(path) = source.filter(|path| !rule.force && is_of_any_host && exists(path)) {
        let with = format!("{}!", rule.status);
        report.noted(
            line,
            &format!(
                "the site has a file at {path}, which is shown instead; write {with} to have the rule count first"
            ),
        );
    }
    if !rule.visitors.countries.is_empty() {
        report.noted(
            line,
            "it counts only where the operator gave the edge a GeoIP file; elsewhere no visitor's country is known",
        );
    }
    let template = rule.to.as_ref().and_then(|to| Template::parse(to, |name| rule.catches(name)).ok());
    if let Some(template) = template.filter(|_| !rule.moves())
        && template.fixed_path().is_some()
    {
        let path = template.fill_path(|_| "");
        if !exists(&path) {
            report.noted(
                line,
                &format!("the site has no file at {path}; visitors are told that the page does not exist"),
            );
        }
    }
}

/// Of rules with the same source, those that name more parameters of the query come first, whatever their order in the
/// file: else the plain one would fit all requests.
fn more_parameters_first(mut rules: Vec<Redirect>) -> Vec<Redirect> {
    let mut groups: HashMap<Source, Vec<usize>> = HashMap::new();
    for (at, rule) in rules.iter().enumerate() {
        groups.entry(rule.from.clone()).or_default().push(at);
    }
    for places in groups.into_values().filter(|places| places.len() > 1) {
        let mut group: Vec<Redirect> = places.iter().filter_map(|at| rules.get(*at).cloned()).collect();
        group.sort_by_key(|rule| std::cmp::Reverse(rule.query.len()));
        for (place, rule) in places.into_iter().zip(group) {
            rules[place] = rule;
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 4] = ["/index.html", "/about", "/404.html", "/app/index.html"];

    fn parsed(text: &str) -> (Vec<Redirect>, Vec<String>) {
        let mut report = Report::new("_redirects");
        let rules = parse(text, |path| FILES.contains(&path) || path == "/", &mut report);
        (rules, report.sentences())
    }

    /// A rule in few words.
    fn told(rule: &Redirect) -> String {
        let query: Vec<String> = rule.query.iter().map(|p| format!("{}={:?}", p.name, p.value)).collect();
        let scheme = rule.from.https.map_or("", |https| if https { "https://" } else { "http://" });
        let host = rule.from.host.as_deref().unwrap_or_default();
        let force = if rule.force { "!" } else { "" };
        let visitors = if rule.visitors.is_everyone() { String::new() } else { format!(" {:?}", rule.visitors) };
        let to = rule.to.as_deref().unwrap_or("-");
        format!("{scheme}{host}{} [{}] {to} {}{force}{visitors}", rule.from.path, query.join(" "), rule.status)
    }

    #[test]
    fn lines_of_both_dialects_are_read() {
        for (line, expected) in [
            ("/a /b", "/a [] /b 301"),
            ("  /a\t/b  302 # moved", "/a [] /b 302"),
            ("/a /b#part 308!", "/a [] /b#part 308!"),
            (
                "/store id=:id tag=x new /blog/:id 301",
                "/store [id=Named(\"id\") tag=Is(\"x\") new=Present] /blog/:id 301",
            ),
            ("/* /index.html 200", "/* [] /index.html 200"),
            ("/gone 410", "/gone [] - 410"),
            ("/secret/* 404!", "/secret/* [] - 404!"),
            (
                "https://Old.example/* https://new.example/:splat 301!",
                "https://old.example/* [] https://new.example/:splat 301!",
            ),
            ("http://a.example /b", "http://a.example/ [] /b 301"),
            ("/x https://example.com", "/x [] https://example.com 301"),
        ] {
            let (rules, told_lines) = parsed(line);
            assert_eq!(rules.iter().map(told).collect::<Vec<_>>(), [expected], "{line}: {told_lines:?}");
            assert!(told_lines.is_empty(), "{told_lines:?}");
        }
        let (rules, _) = parsed("/ /de 302! Language=de,de-CH Country=de,at Cookie=beta");
        let visitors = Visitors {
            languages: vec!["de".into(), "de-ch".into()],
            countries: vec!["DE".into(), "AT".into()],
            cookies: vec!["beta".into()],
        };
        assert_eq!(rules[0].visitors, visitors);
        assert_eq!(parsed("# nothing\n\n   # here\r\n").0, []);
    }

    #[test]
    fn every_line_that_is_not_honoured_is_told_with_its_number_and_reason() {
        for (line, reason) in [
            ("/a", "it has no target"),
            ("/a b", "no target that begins with"),
            ("a /b", "does not begin with a slash"),
            ("/a?x=1 /b", "parameters stand before the target"),
            ("/*/x/* /b", "one `*` only"),
            ("/a /b 305", "the status 305 is not one of"),
            ("/a /b 301 302", "two statuses"),
            ("/a /b 301 Role=admin", "roles of visitors are not known"),
            ("/a https://api.example/ 200", "other servers are not asked"),
            ("/a /b 200 Sign=KEY", "not signed"),
            ("/a /b 301 Moon=full", "`Moon=` is not known"),
            ("/a /b 301 Country=germany", "`germany` is no country's two letters"),
            ("/a //evil.example", "host is not a plain host name"),
            ("/a/* https://:splat/", "host is not a plain host name"),
            ("https://a:8080/ /b", "host is not a plain host name"),
            ("/a 301", "needs a target"),
            ("/a 200", "needs a target"),
        ] {
            let (rules, told) = parsed(&format!("\n{line}"));
            assert!(rules.is_empty(), "{line}");
            assert_eq!(told.len(), 1, "{line}: {told:?}");
            assert!(told[0].starts_with("_redirects line 2 is not honoured: ") && told[0].contains(reason), "{told:?}");
            assert!(told[0].ends_with(&format!("It says: {line}")), "{told:?}");
        }
    }

    #[test]
    fn a_rule_that_is_never_reached_is_told() {
        for (text, told) in [
            ("/a /b\n/a/ /c", "line 2 is not honoured: line 1 is for the same address"),
            ("/* /x\n/a /b", "line 2 is not honoured: line 1 is for every address"),
            ("/a /a/\n/a /c", ""),
            ("/a x=1 /b\n/a /c", ""),
            ("/* /x\n/a /b 301!", ""),
            ("/* /de 302 Language=de\n/* /en", ""),
        ] {
            let (_, sentences) = parsed(text);
            match told {
                "" => assert!(sentences.is_empty(), "{text}: {sentences:?}"),
                told => assert!(sentences[0].contains(told), "{text}: {sentences:?}"),
            }
        }
    }

    #[test]
    fn what_an_author_may_not_know_is_told() {
        for (line, note) in [
            ("/about /x", "the site has a file at /about, which is shown instead; write 301! to"),
            ("/x /missing.html 404", "the site has no file at /missing.html"),
            ("/ /us 302! Country=us", "only where the operator gave the edge a GeoIP file"),
        ] {
            let (rules, told) = parsed(line);
            assert_eq!(rules.len(), 1);
            assert!(told.len() == 1 && told[0].contains(note), "{told:?}");
        }
        assert_eq!(parsed("/about /x 301!\n/y /404.html 404").1, [""; 0]);
    }

    #[test]
    fn of_rules_with_the_same_source_the_one_with_more_parameters_comes_first() {
        let (rules, _) = parsed("/p a=:a /one/:a\n/q /x\n/p a=:a b=:b /two/:a/:b");
        let to: Vec<_> = rules.iter().filter_map(|r| r.to.as_deref()).collect();
        assert_eq!(to, ["/two/:a/:b", "/x", "/one/:a"]);
    }

    #[test]
    fn rules_are_bounded_and_those_beyond_are_told() {
        let many: String = (0..=MAX_PATTERNS).map(|i| format!("/{i}/* /x\n")).collect();
        let (rules, told) = parsed(&many);
        assert_eq!(rules.len(), MAX_PATTERNS);
        assert!(told.len() == 1 && told[0].contains("line 501") && told[0].contains("500 rules"), "{told:?}");
    }
}
