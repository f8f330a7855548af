//! Why a project cannot be built as it is, and what its developer can do about it.

/// A project that cannot be planned. Every message says what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The source folder itself cannot be read.
    #[error("the source folder cannot be read ({0}); upload it again")]
    SourceUnreadable(std::io::Error),
    /// A file that decides the build exists but cannot be read.
    #[error("{path} cannot be read ({error}); check that it is an ordinary file with read permission")]
    FileUnreadable {
        /// Relative to the source.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file that decides the build is a link to somewhere else.
    #[error(
        "{path} is not an ordinary file inside the project (a link that leaves it, or a special file); replace it by a real file"
    )]
    FileOutside {
        /// Relative to the source.
        path: String,
    },
    /// A file that decides the build is larger than anything real.
    #[error("{path} is larger than {limit_kib} KiB, which no real one is; make it smaller")]
    FileTooLarge {
        /// Relative to the source.
        path: String,
        /// The limit in KiB.
        limit_kib: u64,
    },
    /// A file that decides the build is not text.
    #[error("{path} is not UTF-8 text; save it as UTF-8")]
    NotText {
        /// Relative to the source.
        path: String,
    },
    /// package.json (or angular.json) is not valid JSON.
    #[error("{path} is not valid JSON: line {line}, column {column}: {message}")]
    InvalidJson {
        /// Relative to the source.
        path: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser expected, and a hint where there is one.
        message: String,
    },
    /// The root folder is absolute or climbs out.
    #[error("the root directory {given:?} leaves the project; give a folder inside it, such as \"apps/web\"")]
    RootDirOutside {
        /// As the developer wrote it.
        given: String,
    },
    /// The root folder does not exist.
    #[error("the root directory {given:?} does not exist in the project; {found}")]
    RootDirMissing {
        /// As the developer wrote it.
        given: String,
        /// Which folders exist.
        found: String,
    },
    /// The output folder is absolute or climbs out.
    #[error(
        "the output directory {given:?} leaves the project; give a folder inside it, relative to the app's folder, such as \"dist\""
    )]
    OutputDirOutside {
        /// As the developer wrote it.
        given: String,
    },
    /// The output folder does not exist, and no build would create it.
    #[error(
        "the output directory {given:?} does not exist and there is no build command that could create it; {found}"
    )]
    OutputDirMissing {
        /// As the developer wrote it.
        given: String,
        /// Which folders exist.
        found: String,
    },
    /// `packageManager` names something unknown.
    #[error(
        "\"packageManager\": {value:?} in {path} is not a package manager known here; use npm, pnpm, yarn or bun with a version, such as \"pnpm@10.4.1\""
    )]
    UnknownPackageManager {
        /// Relative to the source.
        path: String,
        /// As written.
        value: String,
    },
    /// A wish for a Node version that cannot be understood.
    #[error(
        "{origin} asks for Node {value:?}, which is not a version, a range or an alias known here; write for example \"22\", \">=20.9\" or \"lts/jod\""
    )]
    BadNodeVersion {
        /// Where the wish stands.
        origin: String,
        /// As written.
        value: String,
    },
    /// A wish for a Node version that does not exist.
    #[error(
        "{origin} asks for Node {value:?}, and no Node from {oldest} to {newest} satisfies that; correct the range"
    )]
    NoSuchNode {
        /// Where the wish stands.
        origin: String,
        /// As written.
        value: String,
        /// Lowest known major.
        oldest: u64,
        /// Highest known major.
        newest: u64,
    },
    /// A wish for a Node version that this host cannot satisfy.
    #[error(
        "{origin} asks for Node {value:?}, {host} and this platform is set up not to fetch others; widen the range or ask the operator to allow fetching Node"
    )]
    NodeUnavailable {
        /// Where the wish stands.
        origin: String,
        /// As written.
        value: String,
        /// What the host has, as a clause.
        host: String,
    },
    /// SvelteKit with an adapter for another platform.
    #[error(
        "this SvelteKit project uses {adapter}, which cannot produce a site for this platform; install @sveltejs/adapter-static (or @sveltejs/adapter-node for a server) and use it in svelte.config.js"
    )]
    SvelteKitAdapter {
        /// Package name of the adapter, or a description.
        adapter: String,
    },
    /// Astro in server mode without the Node adapter.
    #[error(
        "this Astro project renders on a server but {problem}; run `npx astro add node` (mode \"standalone\"), or remove `output: 'server'` for a static site"
    )]
    AstroAdapter {
        /// What is wrong with the adapter.
        problem: String,
    },
    /// A static site was asked for, but this framework builds a server.
    #[error("type \"static\" was asked for, but this {framework} project builds a server; {advice}")]
    BuildsServer {
        /// The framework's name.
        framework: String,
        /// What to change.
        advice: String,
    },
    /// A server was asked for (or found), but nothing says how to start it.
    #[error("nothing says how to start the server; add a \"start\" script to {path} or give a start command")]
    NoStart {
        /// The package.json concerned.
        path: String,
    },
    /// Nothing that can be deployed was found.
    #[error(
        "nothing to deploy was found in {place}: {looked}; add one of them, or name the app's folder as root directory"
    )]
    NothingToDeploy {
        /// The folder, as a person would say it.
        place: String,
        /// What was looked for and what is there.
        looked: String,
    },
    /// Several apps, none named.
    #[error("the project holds several apps ({candidates}); name one as root directory")]
    SeveralApps {
        /// Folders, comma separated.
        candidates: String,
    },
    /// The build left no output folder.
    #[error(
        "the build left no output: looked for {looked}; {found}. Set the output directory to the folder that your build writes"
    )]
    NoOutput {
        /// Candidates, comma separated.
        looked: String,
        /// Which folders exist.
        found: String,
    },
    /// The output folder is a link that leaves the project.
    #[error("the output directory {given:?} is a link that leaves the project; let the build write into a real folder")]
    OutputOutside {
        /// Relative to the app's folder.
        given: String,
    },
}

impl Refusal {
    /// Is it the framework's set-up that does not fit, rather than the files themselves?
    pub(crate) fn is_about_framework(&self) -> bool {
        matches!(self, Self::SvelteKitAdapter { .. } | Self::AstroAdapter { .. } | Self::BuildsServer { .. })
    }

    /// A stable word for programs; messages may change, these do not.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::SourceUnreadable(_) => "source_unreadable",
            Self::FileUnreadable { .. } => "file_unreadable",
            Self::FileOutside { .. } => "file_outside",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::NotText { .. } => "not_text",
            Self::InvalidJson { .. } => "invalid_json",
            Self::RootDirOutside { .. } => "root_dir_outside",
            Self::RootDirMissing { .. } => "root_dir_missing",
            Self::OutputDirOutside { .. } => "output_dir_outside",
            Self::OutputDirMissing { .. } => "output_dir_missing",
            Self::UnknownPackageManager { .. } => "unknown_package_manager",
            Self::BadNodeVersion { .. } => "bad_node_version",
            Self::NoSuchNode { .. } => "no_such_node",
            Self::NodeUnavailable { .. } => "node_unavailable",
            Self::SvelteKitAdapter { .. } => "sveltekit_adapter",
            Self::AstroAdapter { .. } => "astro_adapter",
            Self::BuildsServer { .. } => "builds_server",
            Self::NoStart { .. } => "no_start",
            Self::NothingToDeploy { .. } => "nothing_to_deploy",
            Self::SeveralApps { .. } => "several_apps",
            Self::NoOutput { .. } => "no_output",
            Self::OutputOutside { .. } => "output_outside",
        }
    }
}
