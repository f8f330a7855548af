//! The command line: one module a command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::Client;
use crate::{config, control_plane_role, deployer_role, edge_role, exit, up};

mod backup;
mod cancel;
mod certificates;
mod db;
mod deploy;
mod deployments;
mod domains;
mod env;
mod gc;
mod input;
mod login;
mod login_link;
mod logs;
mod open;
mod policy;
mod print_config;
mod project;
mod projects;
mod purge;
mod queue;
mod records;
mod redeploy;
mod removal;
mod rollback;
mod setup;
mod source;
mod trust;
mod usage;
mod watch;
mod zones;

/// From a folder, an archive or a repository to a live site.
#[derive(Debug, Parser)]
#[command(name = "astrocloud", version, arg_required_else_help = true, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the whole platform in this process
    Up(Box<up::Up>),
    /// Run an edge alone, for a platform that runs elsewhere
    Edge(Box<edge_role::EdgeRole>),
    /// Run a control plane alone, one of several
    ControlPlane(Box<control_plane_role::ControlPlaneRole>),
    /// Run a deployer alone, for control planes that run elsewhere
    Deployer(Box<deployer_role::DeployerRole>),
    /// Print the platform's settings with their defaults
    Config(print_config::PrintConfig),
    /// Make ready what the platform needs outside: the object store's container
    Setup(setup::Setup),
    /// The database: its schema, and moving to Postgres
    #[command(subcommand)]
    Db(db::Db),
    /// Write all of a platform to a folder
    Backup(backup::Backup),
    /// Make a platform of a backup
    Restore(backup::Restore),
    /// Remember a platform and its token
    Login(login::Login),
    /// Make a link that logs a browser in, once
    LoginLink(login_link::LoginLink),
    /// Deploy a folder, a ZIP archive or a git repository
    Deploy(Box<deploy::Deploy>),
    /// List a project's deployments, newest first
    Deployments(deployments::Deployments),
    /// Show what a build or an app said
    Logs(logs::Logs),
    /// Make an earlier deployment live
    Rollback(rollback::Rollback),
    /// Build a deployment's source again, with the project's present settings and variables
    Redeploy(redeploy::Redeploy),
    /// Stop a deployment that has not ended
    Cancel(cancel::Cancel),
    /// Custom domains
    Domains(Box<domains::Domains>),
    /// A project's environment variables
    Env(env::Env),
    /// How a project's visitors are treated
    Policy(policy::Policy),
    /// Make the edges forget kept answers of a project's app
    Purge(purge::Purge),
    /// The job queue, and deployments that were given up
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Count a project's visits
    Usage(usage::Usage),
    /// Certificates of authorities
    Certificates(certificates::Certificates),
    /// Make this machine trust the development CA
    Trust(trust::Trust),
    /// Projects
    Projects(projects::Projects),
    /// Domains whose DNS the platform answers
    Zones(zones::Zones),
    /// A zone's records
    Records(records::Records),
    /// Remove from the object store what no deployment needs any more
    Gc(gc::Gc),
    /// Open a project's site in the browser
    Open(open::Open),
}

/// Parses the arguments, runs the command and gives the exit code.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(e) => exit::report(&e),
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Up(up) => up::run(*up),
        Command::Edge(edge) => edge_role::run(*edge),
        Command::ControlPlane(plane) => control_plane_role::run(*plane),
        Command::Deployer(deployer) => deployer_role::run(*deployer),
        Command::Config(print) => print_config::run(&print),
        Command::Setup(setup) => setup::run(&setup),
        Command::Db(db) => db::run(&db),
        Command::Backup(backup) => backup::back_up(&backup),
        Command::Restore(restore) => backup::restore(&restore),
        command => {
            // A client waits for one thing at a time: further threads would only make it start later.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let code = runtime.block_on(Box::pin(call(command)));
            // A read of stdin or of a file that hangs must not hold the program.
            runtime.shutdown_background();
            code
        }
    }
}

async fn call(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Login(login) => return login::run(login).await,
        // Their arguments are checked before a login is asked for.
        Command::Deploy(deploy) => return deploy::run(*deploy).await,
        Command::Trust(trust) => return trust::run(trust).await,
        _ => {}
    }
    let client = client()?;
    match command {
        Command::Up(_)
        | Command::Edge(_)
        | Command::ControlPlane(_)
        | Command::Deployer(_)
        | Command::Config(_)
        | Command::Setup(_)
        | Command::Db(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Login(_)
        | Command::Deploy(_)
        | Command::Trust(_) => Ok(exit::USAGE),
        Command::LoginLink(link) => login_link::run(&link, &client).await,
        Command::Deployments(list) => deployments::run(list, &client).await,
        Command::Logs(logs) => logs::run(logs, &client).await,
        Command::Rollback(rollback) => rollback::run(rollback, &client).await,
        Command::Redeploy(redeploy) => redeploy::run(redeploy, &client).await,
        Command::Cancel(cancel) => cancel::run(&cancel, &client).await,
        Command::Domains(domains) => Box::pin(domains::run(*domains, &client)).await,
        Command::Env(env) => env::run(env, &client).await,
        Command::Policy(policy) => policy::run(policy, &client).await,
        Command::Purge(purge) => purge::run(purge, &client).await,
        Command::Queue(queue) => queue::run(queue, &client).await,
        Command::Usage(usage) => usage::run(usage, &client).await,
        Command::Certificates(certificates) => certificates::run(certificates, &client).await,
        Command::Projects(projects) => projects::run(projects, &client).await,
        Command::Zones(zones) => zones::run(zones, &client).await,
        Command::Records(records) => records::run(records, &client).await,
        Command::Gc(gc) => gc::run(gc, &client).await,
        Command::Open(open) => open::run(open, &client).await,
    }
}

/// A client of the platform that one is logged in to.
fn client() -> anyhow::Result<Client> {
    Ok(Client::new(config::login()?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_show_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands().flat_map(|c| {
            let leaves: Vec<_> = c.get_subcommands().cloned().collect();
            if leaves.is_empty() { vec![c.clone()] } else { leaves }
        }) {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("astrocloud "), "`{}` shows no example", sub.get_name());
            let json = sub.get_arguments().any(|arg| arg.get_id() == "json");
            assert!(
                json || ["up", "edge", "control-plane", "deployer"].contains(&sub.get_name()),
                "`{}` has no --json",
                sub.get_name()
            );
        }
    }

    #[test]
    fn the_contract_of_deploy_and_up_parses() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for line in [
            "astrocloud deploy . --project shop --type static --root-dir web --install-command true --build-command make \
             --output-dir out --branch main --env A=1 --env B= --json",
            "astrocloud deploy https://host/repo.git --type node --start-command node --health-path /healthz",
            "astrocloud up --data-dir d --http 127.0.0.1:0 --https 127.0.0.1:0 --api 127.0.0.1:0 --base-domain localhost \
             --ready-file f",
            "astrocloud rollback --project shop",
            "astrocloud rollback dpl_01arz3ndektsv4rrffq69g5fav --project shop --json",
            "astrocloud logs -f --runtime --project shop",
            "astrocloud policy set - --merge --project shop --json",
            "astrocloud purge --tag a --project shop",
            "astrocloud zones add example.com --from - --template google-workspace --dnssec",
            "astrocloud zones dnssec example.com off --ds-gone",
            "astrocloud zones undo example.com 7 --json",
            "astrocloud records set example.com @ A 192.0.2.7 192.0.2.8 --ttl 60 --note why",
            "astrocloud records rm example.com www",
            "astrocloud edge --control-plane http://127.0.0.1:8081 --token-file t --store file:///objects --data-dir d --http \
             127.0.0.1:0 --https 127.0.0.1:0 --admin 127.0.0.1:0 --ready-file f",
        ] {
            Cli::try_parse_from(words(line)).unwrap();
        }
        for (line, hint) in [
            ("astrocloud deploy . --project My_Shop", "my-shop"),
            ("astrocloud deploy . --type php", "static, node"),
            ("astrocloud deploy . --env NOVALUE", "NAME=VALUE"),
            ("astrocloud deploy . --root-dir ../web", "apps/web"),
            ("astrocloud deploy . --root-dir /web", "apps/web"),
            ("astrocloud deploy . --health-path health", "/health"),
            ("astrocloud rollback latest", "dpl_"),
            ("astrocloud up --http 8080", "127.0.0.1:8080"),
            ("astrocloud purge --project shop", "--everything"),
            ("astrocloud purge --everything --tag a", "--tag"),
            ("astrocloud edge --control-plane 127.0.0.1:8081", "http://"),
        ] {
            let error = Cli::try_parse_from(words(line)).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(exit::USAGE), "{line}");
            assert!(error.to_string().contains(hint), "{error}");
        }
    }
}
