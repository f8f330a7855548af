//! A CDN that stands in front of a name: which one, and whether visitors come through it to here.

use std::net::IpAddr;

use crate::{
    Doctor,
    cdn::{self, Cdn},
    examine::VISITS_MAX,
    host::Host,
    judge::leads_to_itself,
    observation::{Head, Visit},
};

/// What stands in front of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// The CDN, and how one knows; none for a server that nobody knows, which passes visitors on to here.
    pub cdn: Option<(&'static str, String)>,
    /// Where its visitors end up.
    pub passes: Passes,
    /// How it is taken out of the way.
    pub off: &'static str,
    /// How it is made to fetch over HTTPS.
    pub strict: &'static str,
}

/// Where visitors of what stands in front end up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Here.
    Here,
    /// Nowhere: it fetches over HTTP and is told to use HTTPS, again and again.
    Loop,
    /// Elsewhere, or nobody looked.
    Elsewhere,
}

impl Front {
    /// What the DNS alone says: the name leads through these CNAME records, in lower case and without the root's dot, to
    /// these addresses.
    #[must_use]
    pub fn by_dns(cnames: &[String], addresses: &[IpAddr]) -> Option<Self> {
        let by_name = cnames.iter().find_map(|name| Some((cdn::by_name(name)?, format!("the CNAME leads to {name}"))));
        let by_address =
            || addresses.iter().find_map(|at| Some((cdn::by_address(*at)?, format!("{at} is one of its addresses"))));
        by_name.or_else(by_address).map(|(cdn, how)| Self::of(cdn, how))
    }

    fn of(cdn: &'static Cdn, how: String) -> Self {
        Self { cdn: Some((cdn.name, how)), passes: Passes::Elsewhere, off: cdn.off, strict: cdn.strict }
    }
}

impl Doctor {
    /// What stands in front of a host: what the DNS says, and what its addresses answer. `header` is the field of answers
    /// that come from here. None when that is nothing known, and does not lead here.
    pub async fn front(&self, host: &str, cnames: &[String], addresses: &[IpAddr], header: &str) -> Option<Front> {
        let known = Front::by_dns(cnames, addresses);
        let Ok((host, _)) = Host::read(host) else { return known };
        let visited = host.visited();
        let may_visit = addresses.iter().copied().filter(|address| self.may_visit(*address, &[]));
        let visits = may_visit.take(VISITS_MAX).map(|address| self.web.visit(address, &visited));
        let visits = futures::future::join_all(visits).await;
        judge(&host, known, &visits, header)
    }
}

fn judge(host: &Host, known: Option<Front>, visits: &[Visit], header: &str) -> Option<Front> {
    let secure: Vec<&Head> = visits.iter().filter_map(|visit| visit.secure.as_ref().ok()?.head.as_ref().ok()).collect();
    let mut heads = secure.iter().copied().chain(visits.iter().filter_map(|visit| visit.plain.as_ref().ok()));
    let passes = match () {
        () if secure.iter().any(|head| leads_to_itself(host, head)) => Passes::Loop,
        () if heads.clone().any(|head| head.field(header).is_some()) => Passes::Here,
        () => Passes::Elsewhere,
    };
    let known =
        known.or_else(|| heads.find_map(cdn::by_head).map(|cdn| Front::of(cdn, "its fields are in the answer".into())));
    match (known, passes) {
        (Some(known), passes) => Some(Front { passes, ..known }),
        // A redirect to itself by a server that nobody knows may be that server's own.
        (None, Passes::Here) => Some(Front { cdn: None, passes, off: cdn::OFF, strict: cdn::STRICT }),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::observation::{Certificate, Secure, Unreached};

    fn visit(status: u16, fields: &[(&str, &str)]) -> Visit {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let head = Ok(Head { status, fields });
        let secure = Ok(Secure { certificate: Certificate::default(), head });
        Visit { address: "104.21.3.4".parse().unwrap(), plain: Err(Unreached::Timeout), secure }
    }

    #[test]
    fn what_stands_in_front_is_told_by_the_dns_and_by_its_answers() {
        let (host, _) = Host::read("www.shop.example").unwrap();
        let told = |dns: Option<Front>, visit: Visit| {
            let front = judge(&host, dns, &[visit], "x-ours");
            front.map(|front| (front.cdn.map(|(name, _)| name), front.passes))
        };
        let cloudflare = || Front::by_dns(&[], &["104.21.3.4".parse().unwrap()]);
        let here = [("x-ours", "d1"), ("cf-ray", "1")];
        let circle = [("location", "https://www.shop.example/")];
        for (dns, visit, expected) in [
            (cloudflare(), visit(200, &here), Some((Some("Cloudflare"), Passes::Here))),
            (cloudflare(), visit(301, &circle), Some((Some("Cloudflare"), Passes::Loop))),
            (cloudflare(), visit(200, &[]), Some((Some("Cloudflare"), Passes::Elsewhere))),
            (None, visit(200, &here), Some((Some("Cloudflare"), Passes::Here))),
            (None, visit(200, &[("x-ours", "d1")]), Some((None, Passes::Here))),
            (None, visit(301, &circle), None),
            (None, visit(200, &[]), None),
        ] {
            assert_eq!(told(dns, visit), expected);
        }
        assert!(Front::by_dns(&["d1.cloudfront.net".to_owned()], &[]).is_some());
        assert!(Front::by_dns(&["shop.example.net".to_owned()], &["192.0.2.1".parse().unwrap()]).is_none());
    }
}
