//! What a person sees when the platform is up.

use std::fmt::Write as _;
use std::net::SocketAddr;

use console::Style;
use sandbox::Level;
use url::Url;

use super::platform::Platform;
use super::remember::Remembered;
use super::state::State;
use crate::config::{API_VARIABLE, TOKEN_VARIABLE};
use crate::output;
use crate::plane::sites_url;
use crate::settings::Settings;

/// Prints the banner on stdout and warnings on stderr. That nobody reads them is no reason to stop.
pub fn show(settings: &Settings, state: &State, platform: &Platform, dashboard: &Url, remembered: &Remembered) {
    let bold = Style::new().bold();
    let sandbox = platform.sandbox();
    let port = platform.http_url().port_or_known_default().unwrap_or(80);
    let secure_port = platform.https_url().port_or_known_default().unwrap_or(443);
    let sites =
        sites_url(&format!("project.{}", settings.base_domain), port).map_or_else(|_| String::new(), String::from);
    let secure = match platform.ca_certificate() {
        Some(path) => {
            let secure = secure_url(&sites, secure_port).replacen("project.", "<project>.", 1);
            format!("{secure}\n            without warnings where {} is trusted", path.display())
        }
        None => "no certificates: the key of their authority can't be opened".to_owned(),
    };
    let rows = [
        (
            "Dashboard",
            format!("{dashboard}\n            opens once, within 15 minutes; `astrocloud login-link` makes another"),
        ),
        ("Sites", sites.replacen("project.", "<project>.", 1)),
        ("API", platform.api_url().to_string()),
        ("HTTPS", secure),
        ("DNS", dns(platform.dns())),
        ("Isolation", sandbox.level().to_string()),
        ("State", state.path().display().to_string()),
    ];
    let mut text = format!("{}\n\n", bold.apply_to(format!("AstroCloud {} is up", env!("CARGO_PKG_VERSION"))));
    for (name, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12}{value}");
    }
    let _ = write!(text, "\nDeploy something: {}", bold.apply_to(format!("{} deploy .", program())));
    let _ = output::line(&text);
    tell_remembered(remembered, state);
    warn(sandbox.level(), sandbox.findings());
}

/// Where the DNS server answers.
fn dns(addresses: &[SocketAddr]) -> String {
    match addresses {
        [] => "off; the setting dns.listen turns it on".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// A site's URL over HTTPS.
fn secure_url(site: &str, port: u16) -> String {
    let Ok(mut url) = Url::parse(site) else { return String::new() };
    // Both are allowed for every URL with a host.
    let _ = url.set_scheme("https");
    let _ = url.set_port(Some(port));
    url.into()
}

/// How the command line is called here: by its name when a shell finds it, else by its path.
fn program() -> String {
    const NAME: &str = "astrocloud";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(NAME).is_file());
    match std::env::current_exe() {
        Ok(own) if !found => own.display().to_string(),
        _ => NAME.to_owned(),
    }
}

fn tell_remembered(remembered: &Remembered, state: &State) {
    let token = state.path().join("api-token");
    let by_hand =
        format!("to talk to this platform, set {API_VARIABLE} and {TOKEN_VARIABLE} (it is in {})", token.display());
    match remembered {
        Remembered::Done => {}
        Remembered::Instead(other) => {
            output::say(&format!("The command line talks to this platform now, no longer to {other}"))
        }
        Remembered::Kept(other) => output::say(&format!("The command line stays logged in to {other}: {by_hand}")),
        Remembered::Failed(why) => output::warning(&format!("the command line is not logged in: {why}; {by_hand}")),
    }
}

/// Says loudly what the sandbox lacks.
fn warn(level: Level, findings: &[String]) {
    let weak = matches!(level, Level::Landlock | Level::None);
    if weak {
        let frame = "!".repeat(100);
        output::say(&format!(
            "\n{}\nBUILDS AND APPS ARE NOT FULLY SHUT IN: {level}.\nDeploy only what you trust, or install bubblewrap.",
            output::bad().apply_to(&frame)
        ));
        findings.iter().for_each(|finding| output::say(&format!("  - {finding}")));
        output::say(&output::bad().apply_to(frame).to_string());
    } else if !findings.is_empty() {
        output::warning("the sandbox works, with less than it could have:");
        findings.iter().for_each(|finding| output::say(&format!("  - {finding}")));
    }
}
