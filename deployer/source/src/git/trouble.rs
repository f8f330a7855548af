//! What git's complaints mean. They are in English, because it runs in the C locale.

/// Lines of git's complaint that are passed on, at most.
const LINES: usize = 3;
/// Characters of one of them, at most.
const LINE: usize = 300;

/// What a complaint means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The host can't be reached, or is in trouble; with what happened.
    Unreachable(String),
    /// The host can't prove who it is.
    Tls,
    /// There is nothing, or nothing for us.
    NotFound,
    /// Something answers, but not as git.
    NotARepository,
    /// It has no such branch or commit, or does not give it out by its id.
    NoSuchRef,
    /// Anything else.
    Other,
}

impl Trouble {
    /// Whether it may pass.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Finds the meaning of what git said on stderr.
    pub(super) fn of(said: &str) -> Self {
        // Neither what the server adds nor an address tells what happened, and both can have any words in them.
        let lines = said.lines().filter(|line| !line.starts_with("remote:"));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).filter(|word| !word.contains("://")).collect();
        let said = words.join(" ");
        let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
        if has(&["couldn't find remote ref", "not found in upstream", "not our ref", "unadvertised object"]) {
            return Self::NoSuchRef;
        }
        if has(&["Could not resolve host", "Could not resolve proxy"]) {
            return Self::Unreachable("its host's name is not known".into());
        }
        if has(&["onnection refused", "Failed to connect", "ould not connect", "Couldn't connect"]) {
            return Self::Unreachable("its host does not take the connection".into());
        }
        if let Some(status) = http_status(&said) {
            return match status {
                401 | 403 | 404 | 410 => Self::NotFound,
                429 | 500..=599 => Self::Unreachable(format!("its host answers with HTTP status {status}")),
                _ => Self::Other,
            };
        }
        if has(&["could not read Username", "could not read Password", "Authentication failed", "repository not found"])
        {
            return Self::NotFound;
        }
        if has(&["is this a git repository?", "invalid server response", "unable to update url base"]) {
            return Self::NotARepository;
        }
        if has(&["timed out", "too slow", "Timeout was reached"]) {
            return Self::Unreachable("its host does not answer".into());
        }
        // Before what else is said of TLS, over which most connections break.
        let broken = [
            "Empty reply",
            "Recv failure",
            "Send failure",
            "recv error",
            "reset by peer",
            "non-properly terminated",
            "SSL_ERROR_SYSCALL",
            "unexpected eof",
            "unreachable",
            "unexpected disconnect",
            "early EOF",
            "hung up unexpectedly",
        ];
        if has(&broken) {
            return Self::Unreachable("the connection to its host breaks".into());
        }
        if has(&["SSL", "TLS", "certificate"]) {
            return Self::Tls;
        }
        if has(&["RPC failed"]) {
            return Self::Unreachable("the connection to its host breaks".into());
        }
        Self::Other
    }
}

/// The status in `The requested URL returned error: 503`, which can be followed by its reason.
fn http_status(said: &str) -> Option<u16> {
    let (_, after) = said.split_once("returned error: ")?;
    after.get(..3)?.parse().ok()
}

/// The lines of what git said that tell why, as part of a sentence. `folder` is where it worked, which tells nothing.
pub(super) fn gist(said: &str, folder: &str) -> String {
    let said = said.replace(folder, "");
    let why = |line: &str| {
        let own = ["fatal: ", "error: "].iter().find_map(|word| line.strip_prefix(word));
        own.or_else(|| line.starts_with("remote: ").then_some(line)).map(str::to_owned)
    };
    let mut lines: Vec<String> = Vec::new();
    for line in said.lines().filter_map(why) {
        if lines.len() < LINES && !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        lines.extend(said.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES).map(str::to_owned));
    }
    let lines: Vec<String> = lines.iter().map(|line| line.chars().take(LINE).collect()).collect();
    match lines.join("; ").trim_end_matches('.') {
        "" => "it did not say why".into(),
        gist => gist.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_git_are_understood() {
        let unable = |what: &str| format!("fatal: unable to access 'https://h/r.git/': {what}");
        let cases = [
            (unable("Could not resolve host: h"), Trouble::Unreachable("its host's name is not known".into())),
            (
                unable("Failed to connect to h port 443 after 0 ms: Couldn't connect to server"),
                Trouble::Unreachable("its host does not take the connection".into()),
            ),
            (
                unable("The requested URL returned error: 503"),
                Trouble::Unreachable("its host answers with HTTP status 503".into()),
            ),
            (unable("The requested URL returned error: 403"), Trouble::NotFound),
            (
                unable("gnutls_handshake() failed: The TLS connection was non-properly terminated."),
                Trouble::Unreachable("the connection to its host breaks".into()),
            ),
            (unable("SSL certificate problem: self-signed certificate"), Trouble::Tls),
            (unable("server certificate verification failed. CAfile: none CRLfile: none"), Trouble::Tls),
            ("remote: TLS not found\nfatal: repository 'https://h/SSL.git/' not found".into(), Trouble::NotFound),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled".into(), Trouble::NotFound),
            ("fatal: Authentication failed for 'https://h/r.git/'".into(), Trouble::NotFound),
            ("fatal: https://h/r.git/info/refs not valid: is this a git repository?".into(), Trouble::NotARepository),
            ("fatal: Remote branch TLS not found in upstream origin".into(), Trouble::NoSuchRef),
            ("fatal: couldn't find remote ref refs/heads/x".into(), Trouble::NoSuchRef),
            ("error: Server does not allow request for unadvertised object 1a".into(), Trouble::NoSuchRef),
            ("fatal: remote error: upload-pack: not our ref 1a".into(), Trouble::NoSuchRef),
            ("fatal: unable to checkout working tree".into(), Trouble::Other),
        ];
        for (said, meaning) in cases {
            assert_eq!(Trouble::of(&said), meaning, "{said}");
        }
    }

    #[test]
    fn the_gist_is_what_went_wrong_without_the_rest() {
        assert_eq!(
            gist("Cloning into 'x'...\nerror: no /w/tree/a\nfatal: b\nerror: no /w/tree/a\nfatal: c.\n", "/w/tree/"),
            "no a; b; c"
        );
        assert_eq!(gist("something\n", "/w"), "something");
        assert_eq!(gist("", "/w"), "it did not say why");
    }
}
