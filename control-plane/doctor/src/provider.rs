//! DNS providers, told by the names of their servers.

use crate::report::Provider;

/// Ends of name servers' names, the provider's name, and where records are set there. A `*` stands for any letters of
/// one label, as providers number their servers.
const PROVIDERS: [(&str, &str, &str); 27] = [
    (
        "ns.cloudflare.com",
        "Cloudflare",
        "In the dashboard: the domain, then DNS, Records. Keep the cloud grey (DNS only).",
    ),
    ("awsdns-*", "Amazon Route 53", "In the console: Route 53, Hosted zones, the domain, Create record."),
    ("domaincontrol.com", "GoDaddy", "In your account: Domain Portfolio, the domain, DNS, Add New Record."),
    ("registrar-servers.com", "Namecheap", "In the Domain List: Manage, Advanced DNS, Add New Record."),
    ("azure-dns.*", "Azure DNS", "In the portal: DNS zones, the domain, Record sets, Add."),
    ("googledomains.com", "Google Cloud DNS", "In the console: Network services, Cloud DNS, the zone, Add standard."),
    ("digitalocean.com", "DigitalOcean", "In the control panel: Networking, Domains, the domain."),
    ("linode.com", "Akamai Cloud (Linode)", "In Cloud Manager: Domains, the domain."),
    ("hetzner.com", "Hetzner", "In the console: DNS, the zone, Add record."),
    ("hetzner.de", "Hetzner", "In the console: DNS, the zone, Add record."),
    ("gandi.net", "Gandi", "In your account: Domain, the domain, DNS Records, Add record."),
    ("ovh.net", "OVHcloud", "In the control panel: Web Cloud, Domain names, the domain, DNS zone, Add an entry."),
    ("ui-dns.*", "IONOS", "In your account: Domains & SSL, the domain, DNS, Add record."),
    ("strato.*", "STRATO", "In the customer login: Domains, the gear beside the domain, DNS."),
    ("inwx.*", "INWX", "In your account: Nameserver, the domain, Add record."),
    ("dnsimple.com", "DNSimple", "In your account: the domain, DNS, Manage, Add."),
    ("dnsimple-edge.*", "DNSimple", "In your account: the domain, DNS, Manage, Add."),
    ("nsone.net", "NS1", "In the portal: Zones, the zone, Add record."),
    ("porkbun.com", "Porkbun", "In Domain Management: Details, DNS Records, Edit."),
    ("name.com", "Name.com", "In your account: My Domains, the domain, Manage DNS Records."),
    ("hover.com", "Hover", "In the control panel: the domain, DNS, Add a record."),
    ("squarespacedns.com", "Squarespace", "In your account: Domains, the domain, DNS, Custom records."),
    ("wixdns.net", "Wix", "In your account: Domains, the domain's menu, Manage DNS records."),
    ("vercel-dns.com", "Vercel", "In the dashboard: Domains, the domain, DNS Records, Add."),
    ("dreamhost.com", "DreamHost", "In the panel: Websites, Manage Websites, the domain, DNS, Add record."),
    ("worldnic.com", "Network Solutions", "In your account: Domains, the domain, Advanced tools, Manage DNS records."),
    ("he.net", "Hurricane Electric", "At dns.he.net: the domain's pencil, then New and the record's type."),
];

/// Parts of name servers' names that registrars give to domains that ran out or are held back.
const PARKED: [&str; 5] =
    ["pendingrenewaldeletion", "suspended-domain", "verification-hold", "expired", "expirenotification"];

/// The provider of a zone's name servers: of all of them, or it would be a guess.
pub(crate) fn of(servers: &[String]) -> Option<Provider> {
    let mut found = servers
        .iter()
        .map(|server| PROVIDERS.iter().find(|(end, ..)| ends_with(server, end)).map(|(_, name, hint)| (*name, *hint)));
    let (name, hint) = found.next()??;
    found
        .all(|other| other.is_some_and(|(known, _)| known == name))
        .then(|| Provider { name: name.to_owned(), hint: hint.to_owned() })
}

/// Whether a name server's name says that the domain ran out or is held back.
pub(crate) fn parked(server: &str) -> bool {
    PARKED.iter().any(|part| server.contains(part))
}

fn ends_with(server: &str, end: &str) -> bool {
    let Some((start, _)) = end.split_once('*') else {
        return server.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    };
    // `awsdns-12.co.uk`, `azure-dns.info`: the part before the star begins a label.
    server.split_once(start).is_some_and(|(before, _)| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(servers: &[&str]) -> Option<String> {
        of(&servers.iter().map(|server| (*server).to_owned()).collect::<Vec<_>>()).map(|provider| provider.name)
    }

    #[test]
    fn a_provider_is_known_by_all_its_servers() {
        assert_eq!(name(&["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"]).as_deref(), Some("Cloudflare"));
        assert_eq!(name(&["ns-1.awsdns-12.co.uk", "ns-2.awsdns-01.com"]).as_deref(), Some("Amazon Route 53"));
        assert_eq!(name(&["ns1-01.azure-dns.com", "ns2-01.azure-dns.net"]).as_deref(), Some("Azure DNS"));
        assert_eq!(name(&["ns1.name.com"]).as_deref(), Some("Name.com"));
        assert_eq!(name(&["ns1.myname.com"]), None);
        assert_eq!(name(&["ns1.name.com", "ns.example.net"]), None);
        assert_eq!(name(&[]), None);
        assert!(parked("ns1.pendingrenewaldeletion.com") && !parked("ns1.name.com"));
    }
}
