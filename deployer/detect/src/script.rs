//! What the scripts of package.json run, by simple evidence.

use std::collections::BTreeMap;

/// How deep scripts that call scripts are followed.
const MAX_DEPTH: usize = 6;
/// Most commands collected from one script; real ones have a handful.
const MAX_COMMANDS: usize = 64;
/// Longest script looked at, in bytes.
const MAX_SCRIPT_BYTES: usize = 16 * 1024;

/// One simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// File name of the program, without its folder.
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// Assignments before it, also those of cross-env.
    pub(crate) env: Vec<(String, String)>,
}

impl Command {
    pub(crate) fn first(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// Is it `program sub`?
    pub(crate) fn is(&self, program: &str, sub: &str) -> bool {
        self.program == program && self.first() == sub
    }

    /// The value of an option in `--name value` or `--name=value`.
    pub(crate) fn option(&self, names: &[&str]) -> Option<&str> {
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            for name in names {
                if arg == name {
                    return args.next().map(String::as_str).filter(|value| !value.starts_with('-'));
                }
                if let Some(value) = arg.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                    return Some(value);
                }
            }
        }
        None
    }

    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Arguments that are no options.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-'))
    }
}

/// The commands that a shell line comes to, calls of other scripts followed.
pub(crate) fn commands(line: &str, scripts: &BTreeMap<String, String>) -> Vec<Command> {
    let mut found = Vec::new();
    collect(line, scripts, 0, &mut found);
    found
}

fn collect(line: &str, scripts: &BTreeMap<String, String>, depth: usize, found: &mut Vec<Command>) {
    if depth > MAX_DEPTH || line.len() > MAX_SCRIPT_BYTES {
        return;
    }
    for words in split(line) {
        if found.len() >= MAX_COMMANDS {
            return;
        }
        let Some(command) = simple(words) else { continue };
        let called = called_scripts(&command, scripts);
        if called.is_empty() {
            found.push(command);
        } else {
            for line in called {
                collect(&line, scripts, depth + 1, found);
            }
        }
    }
}

/// Shell lines that the command runs: other scripts, or whole lines given to a parallel runner.
fn called_scripts(command: &Command, scripts: &BTreeMap<String, String>) -> Vec<String> {
    let script = |name: &str| scripts.get(name).cloned();
    let by_pattern = |pattern: &str| -> Vec<String> {
        match pattern.strip_suffix('*') {
            Some(prefix) => {
                scripts.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, line)| line.clone()).collect()
            }
            None => script(pattern).into_iter().collect(),
        }
    };
    match command.program.as_str() {
        "npm" | "pnpm" | "yarn" | "bun" => {
            let mut words = command.words();
            match words.next() {
                Some("run" | "run-script") => words.next().and_then(script).into_iter().collect(),
                Some(name @ ("start" | "test" | "build")) => script(name).into_iter().collect(),
                Some(name) if command.program != "npm" => script(name).into_iter().collect(),
                _ => Vec::new(),
            }
        }
        "run-s" | "run-p" | "npm-run-all" | "npm-run-all2" => command.words().flat_map(by_pattern).collect(),
        "concurrently" => command
            .words()
            .filter(|word| word.contains(' ') || word.starts_with("npm:"))
            .flat_map(|word| match word.strip_prefix("npm:") {
                Some(name) => by_pattern(name),
                None => vec![word.to_owned()],
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Strips assignments and wrappers (`cross-env`, `npx`, `pnpm exec` …) off a command.
fn simple(mut words: Vec<String>) -> Option<Command> {
    let mut env = Vec::new();
    words.reverse();
    while let Some(word) = words.pop() {
        if let Some((name, value)) = assignment(&word) {
            env.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let program = word.rsplit('/').next().unwrap_or(&word).to_owned();
        let program = program.strip_suffix(".cmd").unwrap_or(&program).to_owned();
        let next = words.last().map(String::as_str).unwrap_or_default();
        match program.as_str() {
            "cross-env" | "cross-env-shell" | "npx" | "bunx" | "exec" | "env" | "time" | "command" => {
                while words.last().is_some_and(|word| word.starts_with('-')) {
                    words.pop();
                }
                continue;
            }
            "dotenv" | "env-cmd" | "dotenvx" => {
                // Its own options end at `--`, or else at the first word that is neither an option
                // nor an option's value.
                if let Some(dashes) = words.iter().rposition(|word| word == "--") {
                    words.truncate(dashes);
                } else {
                    while words.last().is_some_and(|word| word.starts_with('-')) {
                        words.pop();
                        words.pop();
                    }
                }
                continue;
            }
            "npm" | "pnpm" | "yarn" | "bun" if matches!(next, "exec" | "dlx" | "x") => {
                words.pop();
                while words.last().is_some_and(|word| word.starts_with('-')) {
                    words.pop();
                }
                continue;
            }
            "bun" if next == "--bun" => {
                words.pop();
                continue;
            }
            _ => {}
        }
        words.reverse();
        // `node node_modules/vite/bin/vite.js build` and `node --max-old-space-size=4096 node_modules/.bin/vite build`
        if program == "node"
            && let Some(at) = words.iter().position(|word| word.contains("node_modules/"))
        {
            let file = words.get(at).and_then(|word| word.rsplit('/').next()).unwrap_or_default();
            let file = file.trim_end_matches(".js").trim_end_matches(".mjs");
            let name = if file == "ng" || file == "vite" || !file.is_empty() { file } else { "node" };
            return Some(Command { program: name.to_owned(), args: words.split_off(at + 1), env });
        }
        return Some(Command { program, args: words, env });
    }
    None
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some((name, value))
}

/// Splits a shell line into commands and words: quotes, backslashes, `&&`, `||`, `;`, `|`, `&`.
fn split(line: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                while let Some(inner) = chars.next() {
                    match inner {
                        _ if inner == c => break,
                        '\\' if c == '"' => text.extend(chars.next()),
                        _ => text.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            // `2>&1` is no separator.
            '&' if word.as_ref().is_some_and(|word| word.ends_with('>')) => {
                word.get_or_insert_default().push(c);
            }
            '&' | '|' | ';' | '\n' | '(' | ')' => {
                words.extend(word.take());
                if !words.is_empty() {
                    all.push(std::mem::take(&mut words));
                }
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.take());
    if !words.is_empty() {
        all.push(words);
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(line: &str, scripts: &[(&str, &str)]) -> Vec<String> {
        let scripts = scripts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        commands(line, &scripts)
            .into_iter()
            .map(|command| format!("{} {}", command.program, command.args.join(" ")).trim().to_owned())
            .collect()
    }

    #[test]
    fn wrappers_and_nested_scripts_are_seen_through() {
        assert_eq!(
            run("cross-env NODE_ENV=production npx --yes vite build --outDir 'my site'", &[]),
            ["vite build --outDir my site"]
        );
        assert_eq!(run("tsc -b && npm run bundle", &[("bundle", "vite build")]), ["tsc -b", "vite build"]);
        assert_eq!(run("run-p type-check \"build-only {@}\" --", &[("type-check", "vue-tsc")]), ["vue-tsc"]);
        assert_eq!(run("run-s build:*", &[("build:a", "a"), ("build:b", "b")]), ["a", "b"]);
        assert_eq!(run("node --max-old-space-size=4096 node_modules/vite/bin/vite.js build", &[]), ["vite build"]);
        assert_eq!(run("dotenv -e .env -- next build", &[]), ["next build"]);
        assert_eq!(run("yarn exec ng build", &[]), ["ng build"]);
    }

    #[test]
    fn scripts_that_call_each_other_end() {
        assert!(run("npm run a", &[("a", "npm run b"), ("b", "npm run a")]).is_empty());
        let many: String = "npm run a && ".repeat(40) + "x";
        assert!(run("npm run a", &[("a", &many)]).len() <= MAX_COMMANDS);
    }

    #[test]
    fn options_are_found_in_both_notations() {
        let found = commands("BUILD_PATH=./web vite build --outDir=a --mode b", &BTreeMap::new());
        assert_eq!(found[0].option(&["--outDir"]), Some("a"));
        assert_eq!(found[0].option(&["--mode"]), Some("b"));
        assert_eq!(found[0].env("BUILD_PATH"), Some("./web"));
    }
}
