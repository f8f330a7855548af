//! `astrocloud domains`.

use clap::{Args, Subcommand};
use common::domain::DomainName;
use common::domain::api::{Domain, DomainChange, DomainRedirect, NewDomain, RedirectStatus};
use common::name::ProjectName;
use common::policy::Hsts;

use super::project::ProjectArg;
use crate::client::Client;
use crate::exit::{self, Usage};
use crate::output::{self, Format};

mod check;
mod show;
mod wait;

const EXAMPLES: &str = "\
Examples:
  astrocloud domains add shop.example.com --project shop --wait
  astrocloud domains add example.com --pair --project shop
  astrocloud domains show shop.example.com
  astrocloud domains ls --project shop";
const LS_EXAMPLES: &str = "\
Examples:
  astrocloud domains ls --project shop
  astrocloud domains ls --json | jq -r '.[] | select(.hostname.state != \"active\") | .name'";
const ADD_EXAMPLES: &str = "\
Examples:
  astrocloud domains add shop.example.com --project shop
  astrocloud domains add example.com --pair --project shop --wait
  astrocloud domains add '*.shop.example.com' --project shop --set-records
  astrocloud domains add old.example.com --redirect-to shop.example.com --project shop

It prints the DNS records to set where the domain was registered. --wait stays until visitors get it over HTTPS.";
const SHOW_EXAMPLES: &str = "\
Examples:
  astrocloud domains show shop.example.com
  astrocloud domains show bücher.example --json | jq .hostname";
const CHECK_EXAMPLES: &str = "\
Examples:
  astrocloud domains check shop.example.com
  astrocloud domains check shop.example.com --json | jq -r '.findings[].code'

It looks at the registration, the name servers, signatures, the records, who may issue certificates and what answers,
and names each fault with the record that mends it. Exit code 1: the domain does not work.";
const SET_EXAMPLES: &str = "\
Examples:
  astrocloud domains set shop.example.com --https-redirect on --hsts 31536000
  astrocloud domains set www.example.com --redirect-to example.com --redirect-status 301
  astrocloud domains set www.example.com --no-redirect
  astrocloud domains set shop.example.com --https-redirect policy --hsts policy

`policy` leaves it to the project's policy.";
const TRANSFER_EXAMPLES: &str = "\
Examples:
  astrocloud domains transfer shop.example.com --to new-shop

Domains that lead to it go along. At every moment visitors get one of the two projects.";
const RM_EXAMPLES: &str = "\
Examples:
  astrocloud domains rm shop.example.com";
const SUSPEND_EXAMPLES: &str = "\
Examples:
  astrocloud domains suspend shop.example.com --reason 'Phishing was reported.'";
const RESUME_EXAMPLES: &str = "\
Examples:
  astrocloud domains resume shop.example.com";

/// What to do with domains.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Domains {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List a project's domains
    #[command(after_help = LS_EXAMPLES, visible_alias = "list")]
    Ls {
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
    /// Attach a domain to a project
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Its name, in Unicode or as the DNS has it; `*.` in front for every host one label below
        name: DomainName,
        /// Attach `www.` of a registered name too, or the reverse; that one leads to this one
        #[arg(long, conflicts_with = "redirect_to")]
        pair: bool,
        #[command(flatten)]
        redirect: Redirect,
        /// Set its records, for a domain whose zone is held here (`astrocloud zones`)
        #[arg(long)]
        set_records: bool,
        /// Stay until visitors get it over HTTPS
        #[arg(long, short)]
        wait: bool,
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
    /// Show a domain: its records, where it is, and why
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its name
        name: DomainName,
        #[command(flatten)]
        format: Format,
    },
    /// Look at a domain now, and name what is wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Its name
        name: DomainName,
        #[command(flatten)]
        format: Format,
    },
    /// Change what a domain's visitors meet
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// Its name
        name: DomainName,
        #[command(flatten)]
        redirect: Redirect,
        /// Lead visitors nowhere else
        #[arg(long, conflicts_with = "redirect_to")]
        no_redirect: bool,
        /// Whether plain HTTP is led to HTTPS: `on`, `off` or `policy`
        #[arg(long, value_name = "WORD", value_parser = switch)]
        https_redirect: Option<Switch<bool>>,
        /// Seconds of `Strict-Transport-Security`, or `policy`
        #[arg(long, value_name = "SECONDS", value_parser = hsts)]
        hsts: Option<Switch<Hsts>>,
        #[command(flatten)]
        format: Format,
    },
    /// Move a domain to another project, with no gap
    #[command(after_help = TRANSFER_EXAMPLES)]
    Transfer {
        /// Its name
        name: DomainName,
        /// The project that it is to show
        #[arg(long, value_name = "PROJECT")]
        to: ProjectName,
        #[command(flatten)]
        format: Format,
    },
    /// Detach a domain: it stops answering at once
    #[command(after_help = RM_EXAMPLES, visible_alias = "remove")]
    Rm {
        /// Its name
        name: DomainName,
        #[command(flatten)]
        format: Format,
    },
    /// Stop a domain, as the operator
    #[command(after_help = SUSPEND_EXAMPLES)]
    Suspend {
        /// Its name
        name: DomainName,
        /// Why, as its owner is told
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        format: Format,
    },
    /// Let a stopped domain go on
    #[command(after_help = RESUME_EXAMPLES)]
    Resume {
        /// Its name
        name: DomainName,
        #[command(flatten)]
        format: Format,
    },
}

/// Where visitors are led.
#[derive(Args, Clone, Debug)]
struct Redirect {
    /// Lead visitors to another domain of the project; path and query stay
    #[arg(long, value_name = "NAME")]
    redirect_to: Option<DomainName>,
    /// Status of that answer: 308, or 301
    #[arg(long, value_name = "STATUS", value_parser = status, requires = "redirect_to")]
    redirect_status: Option<RedirectStatus>,
}

impl Redirect {
    fn given(self) -> Option<DomainRedirect> {
        let status = self.redirect_status.unwrap_or_default();
        self.redirect_to.map(|to| DomainRedirect { to, status })
    }
}

/// A setting of a domain, or the project's.
#[derive(Clone, Copy, Debug)]
struct Switch<T>(Option<T>);

fn switch(text: &str) -> Result<Switch<bool>, String> {
    match text {
        "on" => Ok(Switch(Some(true))),
        "off" => Ok(Switch(Some(false))),
        "policy" => Ok(Switch(None)),
        _ => Err("say on, off or policy".to_owned()),
    }
}

fn hsts(text: &str) -> Result<Switch<Hsts>, String> {
    if text == "policy" {
        return Ok(Switch(None));
    }
    let max_age_s = text.parse().map_err(|_| "say a number of seconds, or policy".to_owned())?;
    Ok(Switch(Some(Hsts { max_age_s, include_subdomains: false, preload: false })))
}

fn status(text: &str) -> Result<RedirectStatus, String> {
    let number: u16 = text.parse().map_err(|_| "say 301 or 308".to_owned())?;
    RedirectStatus::try_from(number).map_err(|e| e.to_string())
}

/// Does it.
pub async fn run(domains: Domains, client: &Client) -> anyhow::Result<u8> {
    let (domain, format, said) = match domains.action {
        Action::Ls { project, format } => {
            let project = project.name(client).await?;
            show::list(&project, client.domains(&project).await?, format)?;
            return Ok(exit::DONE);
        }
        Action::Add { name, pair, redirect, set_records, wait, project, format } => {
            let new = NewDomain { name, pair, redirect: redirect.given(), https_redirect: None, hsts: None };
            let project = project.name(client).await?;
            return add(client, &project, &new, set_records, wait, format).await;
        }
        Action::Transfer { name, to, format } => {
            let moved = client.transfer_domain(&name, &to).await?;
            output::say(&format!("Visitors of {} get {to} now", names(&moved)));
            if format.json {
                output::json(&moved)?;
            }
            return Ok(exit::DONE);
        }
        Action::Show { name, format } => (client.domain(&name).await?, format, None),
        Action::Check { name, format } => return check::run(client, &name, format).await,
        Action::Set { name, redirect, no_redirect, https_redirect, hsts, format } => {
            let change = DomainChange {
                redirect: redirect.given().map(Some).or(no_redirect.then_some(None)),
                https_redirect: https_redirect.map(|switch| switch.0),
                hsts: hsts.map(|switch| switch.0),
            };
            if change.redirect.is_none() && change.https_redirect.is_none() && change.hsts.is_none() {
                return Err(Usage::new("say what to change: see `astrocloud domains set --help`").into());
            }
            (client.change_domain(&name, &change).await?, format, Some("Changed"))
        }
        Action::Suspend { name, reason, format } => {
            (client.suspend_domain(&name, &reason).await?, format, Some("Stopped"))
        }
        Action::Resume { name, format } => (client.resume_domain(&name).await?, format, Some("Let go on")),
        Action::Rm { name, format } => {
            let removed = client.remove_domain(&name).await?;
            if format.json {
                output::json(&removed)?;
            }
            output::say(&format!("Removed {}", show::both(&removed)));
            return Ok(exit::DONE);
        }
    };
    if let Some(said) = said {
        output::say(&format!("{said} {}", show::both(&domain)));
    }
    show::one(&domain, format)?;
    Ok(exit::DONE)
}

async fn add(
    client: &Client,
    project: &ProjectName,
    new: &NewDomain,
    set_records: bool,
    wait: bool,
    format: Format,
) -> anyhow::Result<u8> {
    let mut attached = client.attach_domain(project, new).await?;
    output::say(&format!("Attached {} to {project}", names(&attached)));
    if set_records {
        for domain in &mut attached {
            *domain = client.set_domain_records(&domain.name).await?;
        }
        output::say("Their records stand in the zone held here");
    }
    if !wait {
        if format.json {
            output::json(&attached)?;
        } else {
            for domain in &attached {
                show::one(domain, format)?;
            }
        }
        return Ok(exit::DONE);
    }
    attached.iter().for_each(show::say_records);
    let names: Vec<DomainName> = attached.into_iter().map(|domain| domain.name).collect();
    wait::until_they_work(client, &names, format).await
}

fn names(domains: &[Domain]) -> String {
    domains.iter().map(show::both).collect::<Vec<_>>().join(" and ")
}
