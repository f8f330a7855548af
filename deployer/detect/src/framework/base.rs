//! Sites that were made for a folder of another host (`https://someone.example/weather/`), as pages beside a
//! repository are: built for the root, because that is where they are served.

use super::Look;
use crate::evidence::choices;
use crate::plan::Notes;

/// The path that `key` of a configuration may put the site under.
pub(super) fn configured(config: &str, key: &str) -> Option<String> {
    choices(config, key).iter().find_map(|text| url_path(text))
}

/// The path of a URL or path when it is more than the root.
pub(super) fn url_path(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None if url.starts_with('/') => url,
        None => "",
    };
    let path = path.trim_matches('/');
    (!path.is_empty()).then(|| format!("/{path}/"))
}

/// Says that the build was moved to the root.
pub(super) fn tell_moved(setting: &str, path: &str, how: &str, notes: &mut Notes) {
    notes
        .warn(format!("{setting} is made for a site under {path}, but it is served at the root: building with {how}."));
}

/// Says that the site will not work at the root, and what to change.
pub(super) fn tell_unmoved(setting: &str, path: &str, advice: &str, notes: &mut Notes) {
    notes.warn(format!(
        "{setting} makes the build expect to be served under {path}, but it is served at the root: its scripts and styles would not be found. {advice}"
    ));
}

impl Look<'_> {
    /// The command that builds for the root with an option of `program`, when the configuration asks for another path;
    /// `None` leaves the build as it is.
    pub(super) fn build_at_root(&self, program: &str, config: &str, file: &str, notes: &mut Notes) -> Option<String> {
        const AT_ROOT: &str = "--base=/";
        let flag = self.building.iter().find_map(|command| command.option(&["--base"]));
        let path = flag.and_then(url_path).or_else(|| configured(config, "base").filter(|_| flag.is_none()))?;
        let setting = format!("`base` in {}", if flag.is_some() { "the build script" } else { file });
        let build = self.build_with(program, AT_ROOT).filter(|_| flag.is_none());
        match build {
            Some(_) => tell_moved(&setting, &path, AT_ROOT, notes),
            None => tell_unmoved(&setting, &path, "Remove `base`.", notes),
        }
        build
    }

    /// The command that builds, with an option for `program`; `None` when the option would not reach it.
    fn build_with(&self, program: &str, option: &str) -> Option<String> {
        if self.own_build {
            return None;
        }
        let Some(script) = self.build_script else {
            return Some(self.tool.run_program(&format!("{program} {option}")));
        };
        // What is put at the end of a script reaches its last command, and that only if the script ends plainly.
        let (_, rest) = self.app.script(script)?.rsplit_once(program)?;
        let plain = !rest.contains(['"', '\'', '`', '&', '|', ';', '#', ')', '\n']) && !rest.contains(" -- ");
        (plain && (rest.is_empty() || rest.starts_with(' '))).then(|| self.tool.run_script_with(script, option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_beyond_the_root_is_found_in_literals_and_in_choices_between_them() {
        let path = |config| configured(config, "base");
        assert_eq!(path("export default { base: '/repo/', plugins: [] }").as_deref(), Some("/repo/"));
        assert_eq!(path("base: 'https://someone.example/repo'").as_deref(), Some("/repo/"));
        assert_eq!(path("base: env.NODE_ENV === 'production' ? '/repo/' : '/',").as_deref(), Some("/repo/"));
        for config in ["base: '/'", "base: './', x: '/repo/'", "base: ''", "base: process.env.BASE", "database: '/x/'"]
        {
            assert_eq!(path(config), None, "{config}");
        }
    }
}
